"""Summaries by several methods against people's, at equal length: ROUGE with 95% intervals.

    python bench/summaries.py --data FOLDER --methods lead,graph --out bench/results/summaries.json
    python bench/summaries.py --data FOLDER --methods lead,graph,scored,free --model smollm2 --limit 5

FOLDER holds sets in the form that bench/questions.py describes, with questions of type "summary";
`scitldr`, `klexikon`, `squality` and `qmsum` are read, the last two also as sets of particular
questions (`squality.asked`). Every method gives as many words as the references have on average:
sentences until there are enough, in the document's order, the last one cut. ROUGE-1, -2 and -L
(F1, best of the references) by the library rouge-score, with Porter's stemmer in English; other
languages by whole words, since the library's own tokens are ASCII. With `--model` only documents
that fit into `--max-tokens` are drawn, so that all methods of a table have the same ones.

lead    the first sentences             parts   the first sentence of each of n equal parts
lexrank the graph's scores alone        cover   words covered, each less the oftener (Lin, Bilmes 2011)
graph   what `xgen read --summarize` does
scored  sentences that the model finds likeliest behind "A summary of the document:"
free    what the model writes, asked for a summary
"""

import argparse
import gzip
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from machine import commit, machine, now
from metrics import estimate
from questions import by_hash

from xgen.files import write_whole
from xgen.read.summarize import Candidate, Similarity, candidates, centrality, choose
from xgen.text.sentences import sentence_spans

if TYPE_CHECKING:
    from xgen.bundle import Bundle

ROOT = Path(__file__).parents[1]
SETS = ("scitldr", "klexikon", "squality", "qmsum", "squality.asked", "qmsum.asked")
GENERAL = {
    "",
    "What is the plot of the story?",
    "Summarize the whole meeting.",
    "Summarize the meeting",
    "Summarize the meeting.",
}
MEASURES = ("rouge1", "rouge2", "rougeL")
SCORED_AT_ONCE = 16  # sentences


@dataclass(frozen=True)
class Task:
    """A document to summarize (for `question`, unless empty) and what people wrote."""

    id: str
    lang: str
    text: str
    question: str
    references: tuple[str, ...]

    @property
    def n_words(self) -> int:
        """Words that every method has: the mean of the references."""
        return max(1, round(sum(len(r.split()) for r in self.references) / len(self.references)))


Picker = Callable[[Task, Sequence[Candidate], int], list[int]]  # indices of n sentences
Method = Callable[[Task], str]


# ---- tasks ----------------------------------------------------------------------------------------


def tasks(folder: Path, name: str, limit: int | None, fits: Callable[[str], bool]) -> list[Task]:
    """One task a document, drawn by hash of the document's id."""
    base, _, asked = name.partition(".")
    found = []
    with gzip.open(folder / f"{base}.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            questions = [q for q in row["questions"] if (q["question"] not in GENERAL) == bool(asked)]
            for question in sorted(questions, key=lambda q: by_hash("summaries", q["id"]))[:1]:
                references = tuple(answer["text"] for answer in question["answers"])
                about = question["question"] if asked else ""
                found.append(Task(row["id"], row["lang"], row["text"], about, references))
    drawn: list[Task] = []
    for task in sorted(found, key=lambda t: by_hash("summaries", t.id)):
        if limit is not None and len(drawn) == limit:
            break
        if fits(task.text):
            drawn.append(task)
    return drawn


# ---- methods that take sentences --------------------------------------------------------------------


def lead(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    return list(range(n))


def parts(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    return [len(sentences) * i // n for i in range(n)]


def lexrank(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    return np.argsort(-centrality(Similarity([s.terms for s in sentences])), kind="stable")[:n].tolist()


def graph(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    return choose(sentences, [n], task.question)


def graph_unasked(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    return choose(sentences, [n])


def cover(task: Task, sentences: Sequence[Candidate], n: int) -> list[int]:
    """Greedy: the most newly covered weight for the length; every repeat of a word counts half.

    A word weighs tf times idf, and nothing if it stands in one sentence only; a sentence's cost is
    its words to the power 0.3 (exponent and discount chosen on the development side).
    """
    occurs = [set(s.terms) for s in sentences]
    df = Counter(term for terms in occurs for term in terms)
    tf = Counter(term for s in sentences for term in s.terms)
    weight = {t: tf[t] * np.log((1 + len(sentences)) / df[t]) for t in df if df[t] > 1}
    left = set(range(len(sentences)))
    picked: list[int] = []
    while len(picked) < n:
        best = max(
            sorted(left),
            key=lambda i: sum(weight.get(t, 0.0) for t in occurs[i]) / max(1, len(sentences[i].terms)) ** 0.3,
        )
        picked.append(best)
        left.remove(best)
        for term in occurs[best]:
            if term in weight:
                weight[term] /= 2
    return picked


PICKERS: dict[str, Picker] = {
    "lead": lead,
    "parts": parts,
    "lexrank": lexrank,
    "cover": cover,
    "graph": graph,
    "graph-unasked": graph_unasked,
}


def extracting(pick: Picker) -> Method:
    """The method that takes the fewest sentences picked that have the words wanted."""

    def method(task: Task) -> str:
        sentences = candidates(task.text, sentence_spans(task.text))
        low, high = 1, len(sentences)
        while low < high:
            middle = (low + high) // 2
            if _n_words(task, sentences, pick(task, sentences, middle)) >= task.n_words:
                high = middle
            else:
                low = middle + 1
        return " ".join(
            task.text[sentences[i].start : sentences[i].end] for i in sorted(pick(task, sentences, low))
        )

    return method


def _n_words(task: Task, sentences: Sequence[Candidate], picked: Sequence[int]) -> int:
    return sum(len(task.text[sentences[i].start : sentences[i].end].split()) for i in picked)


# ---- methods that ask a model -----------------------------------------------------------------------


def _prompt(bundle: "Bundle", task: Task, opening: str) -> list[int]:
    from xgen.text.chat import Message

    wanted = task.question or "Summarize this document."
    length = f"Write about {task.n_words} words, in the language of the document."
    pieces = bundle.template.render([Message("user", f"{task.text}\n\n{wanted} {length}")])
    return bundle.tokenizer.encode_markup([*pieces, *bundle.template.reply_begun(opening)])


def scored(bundle: "Bundle") -> Method:
    """Sentences by their mean log-probability a token as the beginning of the model's own summary."""

    def order(task: Task, sentences: Sequence[Candidate]) -> list[int]:
        from xgen.engine.cache import Cache
        from xgen.engine.generate import prefill
        from xgen.engine.score import score

        ids = _prompt(bundle, task, "A summary of the document:")
        texts = [" " + " ".join(task.text[s.start : s.end].split()) for s in sentences]
        tokens = [bundle.tokenizer.encode(text) for text in texts]
        longest = max(map(len, tokens))
        cache = Cache.empty(bundle.model, len(ids) + longest * SCORED_AT_ONCE)
        logits = prefill(bundle.model, cache, ids)
        means: list[float] = []
        for first in range(0, len(tokens), SCORED_AT_ONCE):
            some = tokens[first : first + SCORED_AT_ONCE]
            totals = score(bundle.model, cache, logits, some)
            means += [total / len(of) for total, of in zip(totals, some, strict=True)]
        return sorted(range(len(means)), key=lambda i: -means[i])

    def method(task: Task) -> str:
        ordered = order(task, candidates(task.text, sentence_spans(task.text)))
        return extracting(lambda task, sentences, n: ordered[:n])(task)

    return method


def free(bundle: "Bundle") -> Method:
    """The model's own words, the likeliest token each time, until it ends or has the words wanted."""

    def method(task: Task) -> str:
        from xgen.engine.cache import Cache
        from xgen.engine.generate import generate, prefill
        from xgen.engine.sample import greedy

        ids = _prompt(bundle, task, "")
        most = 2 * task.n_words + 16
        cache = Cache.empty(bundle.model, len(ids) + most)
        logits = prefill(bundle.model, cache, ids)
        written = generate(bundle.model, cache, logits, greedy(bundle.hidden_ids), bundle.end_ids, most)
        return bundle.tokenizer.decode(list(written))

    return method


# ---- measuring --------------------------------------------------------------------------------------


class _WholeWords:
    """A tokenizer for rouge-score that keeps letters outside ASCII."""

    def tokenize(self, text: str) -> list[str]:
        return re.findall(r"\w+", text.lower())


def rouge(task: Task, summary: str) -> dict[str, float]:
    """F1 of each measure, 0 to 100, the best of the references."""
    from rouge_score.rouge_scorer import RougeScorer

    if task.lang == "en":
        scorer = RougeScorer(MEASURES, use_stemmer=True)
    else:
        scorer = RougeScorer(MEASURES, tokenizer=_WholeWords())
    scores = scorer.score_multi(task.references, summary)
    return {measure: 100 * scores[measure].fmeasure for measure in MEASURES}


def row(name: str, method_name: str, method: Method, some: Sequence[Task], written: Any) -> dict[str, Any]:
    """One line of the table; every summary goes to `written`, a file of JSON lines."""
    started = time.perf_counter()
    scores: list[dict[str, float]] = []
    lengths: list[int] = []
    for task in some:
        summary = " ".join(method(task).split()[: task.n_words])
        scores.append(rouge(task, summary))
        lengths.append(len(summary.split()))
        line = {"set": name, "method": method_name, "id": task.id, "summary": summary, **scores[-1]}
        written.write(json.dumps(line, ensure_ascii=False) + "\n")
        written.flush()
    intervals = {m: estimate([s[m] for s in scores], [t.id for t in some]) for m in MEASURES}
    return {
        "set": name,
        "method": method_name,
        "documents": len(some),
        "words": round(sum(lengths) / len(lengths), 1),
        **{m: [round(e.mean, 2), round(e.low, 2), round(e.high, 2)] for m, e in intervals.items()},
        "seconds": round(time.perf_counter() - started, 1),
    }


def _shown(line: dict[str, Any]) -> str:
    figures = "  ".join(f"{line[m][0]:5.1f} [{line[m][1]:4.1f}, {line[m][2]:4.1f}]" for m in MEASURES)
    return f"{line['set']:15} {line['method']:14} {line['documents']:4} x {line['words']:5} words  {figures}"


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--sets", default=",".join(SETS), metavar="NAME,...")
    parser.add_argument("--methods", default=",".join(PICKERS), metavar="NAME,...")
    parser.add_argument("--model", metavar="NAME", help="for the methods scored and free")
    parser.add_argument(
        "--max-tokens", type=int, default=6000, metavar="N", help="of a document, with --model"
    )
    parser.add_argument("--limit", type=int, metavar="N", help="documents of each set at most")
    parser.add_argument("--out", type=Path, default=ROOT / "bench" / "results" / "summaries.json")
    options = parser.parse_args(arguments)
    options.sets, options.methods = options.sets.split(","), options.methods.split(",")
    if unknown := set(options.sets) - set(SETS):
        parser.error(f"--sets: no such set: {', '.join(sorted(unknown))}; there are {', '.join(SETS)}")
    if unknown := set(options.methods) - set(PICKERS) - {"scored", "free"}:
        parser.error(f"--methods: no such method: {', '.join(sorted(unknown))}")
    if {"scored", "free"} & set(options.methods) and not options.model:
        parser.error("the methods scored and free need --model")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    import sys

    import torch

    options = parse(arguments)
    methods = {name: extracting(pick) for name, pick in PICKERS.items()}
    device, fits = torch.device("cpu"), lambda text: True
    if options.model:
        from xgen.bundle import load

        bundle = load(options.model)
        device = bundle.device
        methods |= {"scored": scored(bundle), "free": free(bundle)}
        fits = lambda text: len(bundle.tokenizer.encode(text)) <= options.max_tokens  # noqa: E731
    lines: list[dict[str, Any]] = []
    result = {
        "command": "python bench/summaries.py " + " ".join(sys.argv[1:] if arguments is None else arguments),
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(device),
        "model": options.model,
        "rows": lines,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    with options.out.with_suffix(".summaries.jsonl").open("w", encoding="utf-8") as written:
        for name in options.sets:
            some = tasks(options.data, name, options.limit, fits)
            for method_name in options.methods if some else []:
                lines.append(row(name, method_name, methods[method_name], some, written))
                print(_shown(lines[-1]), flush=True)
                write_whole(options.out, (json.dumps(result, ensure_ascii=False, indent=1) + "\n").encode())
    print(json.dumps(result, ensure_ascii=False))


if __name__ == "__main__":
    main()
