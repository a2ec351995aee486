"""How well a model reads: the product's own reader on sets of questions, beside a reader without a model.

    python bench/reading.py --data questions.jsonl.gz --model qwen-0.5b
    python bench/reading.py --dev --rows alone,hidden8k --limit 100 --read select --quote

Rows: `alone` (the paragraph), `hidden2k|4k|8k` (at a random depth among others of its set),
`unanswerable` (2K without the paragraph, siblings kept; questions written as unanswerable beside, on
their own text), `needle` (2K, 4K, 8K by depth), `licences` (which models of a table may be used
commercially). Each is asked of the BM25 sentence, of the model alone (`whole`, free answer) and of
both (`select --quote`), or of the one way that --read and --quote name.

The form of the questions is in questions.py, of the scores in metrics.py. Beside the result, NAME.json,
stands NAME.answers.jsonl: every answer given, with its gold, score and F1. The last line printed is the
result as JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import licence_tables
import made
import needles
import questions as qs
from baseline import best_sentences
from development import development_sets
from machine import commit, machine, now
from metrics import estimate, score

from xgen.errors import XgenError
from xgen.files import write_whole
from xgen.text.document import Document

if TYPE_CHECKING:
    from xgen.read.reader import Reader
    from xgen.read.window import How

ROOT = Path(__file__).parents[1]
SETS_TO_CHOOSE_ON = ROOT / ".." / "shared" / "instruct"
OF_A_SET = ("alone", "hidden2k", "hidden4k", "hidden8k", "unanswerable")
ROWS = (*OF_A_SET, "needle", "licences")
ANSWER_TOKENS = 32
LIST_TOKENS = 96  # an answer that lists names

Measure = Callable[[qs.Asked, "Given"], dict[str, float]]


@dataclass(frozen=True)
class Given:
    """What a reader gave for one question; with `found` False it means "not in this document"."""

    answer: str | None
    found: bool = True
    score: float | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None

    @property
    def said(self) -> str | None:
        """The answer that a person sees, None for "not in this document"."""
        return self.answer if self.found else None


@dataclass(frozen=True)
class Row:
    """Cases of one kind from one set, and how an answer to them is measured."""

    set: str
    name: str
    cases: Sequence[qs.Case]
    measure: Measure
    note: str = ""
    answer_tokens: int = ANSWER_TOKENS


@dataclass(frozen=True)
class Method:
    """A way to answer: `ask(case, answer_tokens)` gives one answer a question, in their order."""

    name: str
    ask: Callable[[qs.Case, int], list[Given]]


# ---- ways to answer


def bm25(case: qs.Case, answer_tokens: int) -> list[Given]:
    """The sentence BM25 ranks first, whole: no token limit."""
    return [Given(sentence) for sentence in best_sentences(case.text, [a.question.text for a in case.asked])]


def by_reader(reader: "Reader", how: "How", quote: bool) -> Method:
    """The product: one document opened, all its questions asked in one batch."""

    def ask(case: qs.Case, answer_tokens: int) -> list[Given]:
        reading = reader.read(
            [Document(path="bench", text=case.text)],
            [a.question.text for a in case.asked],
            how=how,
            quote=quote,
            max_answer_tokens=answer_tokens,
            quiet=True,
        )
        return [Given(a.answer, a.found, a.score, a.prompt_tokens, a.answer_tokens) for a in reading.answers]

    return Method(f"{how} --quote" if quote else how, ask)


# ---- measures


def answered(lang: str) -> Measure:
    def measure(asked: qs.Asked, given: Given) -> dict[str, float]:
        scored = score(given.said, [g.text for g in asked.question.golds], lang)
        said = float(given.said is not None)
        return {"exact": scored.exact, "f1": scored.f1, "holds": scored.holds, "answered": said}

    return measure


def refused(asked: qs.Asked, given: Given) -> dict[str, float]:
    return {"refused": float(given.said is None)}


def needle_hit(asked: qs.Asked, given: Given) -> dict[str, float]:
    return {"hit": needles.hit(asked.question.golds[0].text, given.said)}


# ---- rows


def rows_of(found: qs.QuestionSet, name: str, limit: int | None, count: qs.CountTokens) -> list[Row]:
    """The rows that `name`, one of ROWS, makes of a set; raises NotEnoughText where it cannot be built."""
    pool = found.paragraphs
    golds = qs.take([qs.answerable(p) for p in pool], limit)
    measure = answered(found.lang)
    if name == "alone":
        return [Row(found.name, name, qs.alone(golds), measure)]
    if name.startswith("hidden"):
        target = qs.LENGTHS_TOKENS[name.removeprefix("hidden")] - qs.RESERVE_TOKENS
        return [Row(found.name, name, qs.hidden(pool, golds, target, count), measure)]
    cases, n_left_out = qs.taken_out(pool, golds, qs.LENGTHS_TOKENS["2k"] - qs.RESERVE_TOKENS, count)
    note = f"{n_left_out} questions left out: the gold answer's words stand elsewhere in the text"
    written = qs.alone(qs.take([qs.unanswerable(p) for p in pool], limit))
    return [
        Row(found.name, name, cases, refused, note if n_left_out else ""),
        Row(found.name, f"{name} as written", written, refused),
    ]


def needle_row(pool: Sequence[qs.Paragraph], length: str, count: qs.CountTokens) -> list[Row]:
    cases = needles.needle_cases(pool, qs.LENGTHS_TOKENS[length] - qs.RESERVE_TOKENS, count)
    return [Row("needles", f"needle{length}", cases, needle_hit)]


def licence_row(file: Path | None = None) -> Row:
    """Those of licence_tables.py, or those of a file that made.py wrote."""
    found = made.read_tables(file) if file else licence_tables.tables()
    tables = {table.id: table for table in found}
    cases = [
        qs.Case("en", t.text, (qs.Asked(qs.Question(t.id, t.question, ()), t.id, None),))
        for t in tables.values()
    ]

    def measure(asked: qs.Asked, given: Given) -> dict[str, float]:
        return licence_tables.measures(tables[asked.paragraph], given.said)

    return Row("licence tables", "licences", cases, measure, answer_tokens=LIST_TOKENS)


def all_rows(
    sets: Sequence[qs.QuestionSet], wanted: Sequence[str], limit: int | None, count: qs.CountTokens
) -> tuple[list[Row], list[str]]:
    """Every row wanted, and a sentence for each that cannot be built from these sets."""
    rows: list[Row] = []
    notes: list[str] = []

    def add(what: str, build: Callable[[], Iterable[Row]]) -> None:
        try:
            rows.extend(build())
        except qs.NotEnoughText as reason:
            notes.append(f"{what} is left out: {reason}.")

    for found in sets:
        for name in OF_A_SET:
            if name in wanted:
                add(f"{found.name} {name}", partial(rows_of, found, name, limit, count))
    if "needle" in wanted:
        english = next((s for s in sets if s.lang == "en"), None)
        if english is None:
            notes.append("needle is left out: it needs a set of English documents to hide numbers in.")
        else:
            for length in qs.LENGTHS_TOKENS:
                add(f"needle{length}", partial(needle_row, english.paragraphs, length, count))
    if "licences" in wanted:
        rows.append(licence_row())
    return [row for row in rows if row.cases], notes


# ---- running


def run(row: Row, method: Method, answers: TextIO) -> dict[str, Any]:
    """Ask all questions of a row; write each answer to `answers` and return the row of the result."""
    values: dict[str, list[float]] = {}
    documents, depths, prompts = [], [], []
    seconds = 0.0
    for case in row.cases:
        begun = time.perf_counter()
        given = method.ask(case, row.answer_tokens)
        seconds += time.perf_counter() - begun
        for asked, one in zip(case.asked, given, strict=True):
            measured = row.measure(asked, one)
            for name, value in measured.items():
                values.setdefault(name, []).append(value)
            documents.append(asked.paragraph)
            depths.append(asked.depth)
            prompts.append(one.prompt_tokens or 0)
            answers.write(_answer_line(row, method, asked, one, measured) + "\n")
    answers.flush()
    main = next(name for name in ("f1", "refused", "hit", "set_f1") if name in values)
    return {
        "set": row.set,
        "row": row.name,
        "method": method.name,
        "n_questions": len(documents),
        "n_documents": len(set(documents)),
        "n_texts": len(row.cases),
        "measures": {name: vars(estimate(each, documents)) for name, each in values.items()},
        "main": main,
        "by_depth": _by_depth(depths, values[main]),
        "prompt_tokens": round(sum(prompts) / len(prompts)),
        "seconds": round(seconds, 2),
        "note": row.note,
    }


def _answer_line(row: Row, method: Method, asked: qs.Asked, given: Given, measured: dict[str, float]) -> str:
    line = {
        "set": row.set,
        "row": row.name,
        "method": method.name,
        "id": asked.question.id,
        "document": asked.paragraph,
        "depth": asked.depth,
        "question": asked.question.text,
        "gold": [g.text for g in asked.question.golds],
        **vars(given),
        **measured,
    }
    return json.dumps(line, ensure_ascii=False)


def _by_depth(depths: Sequence[float | None], values: Sequence[float]) -> dict[str, list[float]]:
    """Mean and count of `values` at the nearest of the five depths 0, 0.25, ..., 1."""
    cells: dict[float, list[float]] = {}
    for depth, value in zip(depths, values, strict=True):
        if depth is not None:
            cells.setdefault(round(depth * 4) / 4, []).append(value)
    if len(cells) < 2:
        return {}
    return {str(d): [round(sum(v) / len(v), 4), len(v)] for d, v in sorted(cells.items())}


def table_line(result: dict[str, Any]) -> str:
    """One row for people: shares in percent, each mean with its 95% interval."""
    measures = "  ".join(
        f"{name} {100 * m['mean']:.1f} [{100 * m['low']:.1f}, {100 * m['high']:.1f}]"
        for name, m in result["measures"].items()
    )
    where = f"{result['set']:<16} {result['row']:<13} {result['method']:<16}"
    return f"{where} n {result['n_questions']:<5} {measures}  {result['seconds']:.0f} s"


def verdicts(results: Sequence[dict[str, Any]], both: str = "select --quote") -> list[str]:
    """A sentence for each row where the reader with model and ranking is not the best of its methods."""
    groups: dict[tuple[str, str], dict[str, float]] = {}
    for result in results:
        mean = result["measures"][result["main"]]["mean"]
        groups.setdefault((result["set"], result["row"]), {})[result["method"]] = mean
    sentences = []
    for (set_, row), means in groups.items():
        best = max(means, key=lambda method: means[method])
        if both in means and means[best] > means[both]:
            numbers = f"{100 * means[best]:.1f} against {100 * means[both]:.1f}"
            sentences.append(f"{set_} {row}: `{both}` is not the best, `{best}` is ({numbers}).")
    return sentences


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE_OR_FOLDER")
    parser.add_argument("--dev", type=Path, nargs="?", const=SETS_TO_CHOOSE_ON, metavar="FOLDER")
    parser.add_argument("--lang", help="of --dev, only these languages, with commas")
    parser.add_argument("--model", default="qwen-0.5b", metavar="NAME_OR_FOLDER")
    parser.add_argument("--adapter", metavar="FOLDER", help="a LoRA adapter of that model")
    parser.add_argument("--tables", type=Path, metavar="FILE", help="of made.py, for the row licences")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--cache", default="auto")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"with commas, of {', '.join(ROWS)}")
    parser.add_argument("--read", choices=("whole", "select"))
    parser.add_argument("--quote", action="store_true", help="with --read: answer by a quotation")
    parser.add_argument("--limit", type=int, metavar="N", help="questions of each set at most")
    parser.add_argument(
        "--part",
        type=part,
        metavar="K/N",
        help="every Nth text of a row, from the Kth on: for N processes",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: bench/results/reading-MODEL.json")
    options = parser.parse_args(arguments)
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"--rows: no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.quote and not options.read:
        parser.error("--quote goes with --read whole or --read select")
    return options


def part(words: str) -> slice:
    """Every Nth, from the Kth on, as `K/N` says; ValueError for anything else."""
    which, n = map(int, words.split("/"))
    if not 1 <= which <= n:
        raise ValueError(words)
    return slice(which - 1, None, n)


def main(arguments: Sequence[str]) -> None:
    import xgen

    options = parse(arguments)
    sets = [found for place in options.data for found in qs.load(place)]
    if options.dev:
        langs = options.lang.split(",") if options.lang else None
        sets += [s for s in development_sets(options.dev) if langs is None or s.lang in langs]
    reader = xgen.load(options.model, options.device, options.dtype, options.adapter, options.cache)
    rows, notes = all_rows(
        sets, options.rows, options.limit, cache(lambda text: len(reader.bundle.tokenizer.encode(text)))
    )
    if options.tables:
        rows = [licence_row(options.tables) if row.name == "licences" else row for row in rows]
    if options.part:
        rows = [replace(row, cases=row.cases[options.part]) for row in rows]
        rows = [row for row in rows if row.cases]
    if not sets:
        notes.append(
            "No questions were given: name some with --data (bench/questions.py says in which form)."
        )
    ways = [(options.read, options.quote)] if options.read else [("whole", False), ("select", True)]
    name = Path(options.adapter or options.model).name
    result: dict[str, Any] = {
        "command": " ".join(["python bench/reading.py", *arguments]),
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(reader.bundle.device),
        "model": name,
        "dtype": str(reader.bundle.dtype).removeprefix("torch."),
    }
    out = options.out or ROOT / "bench" / "results" / f"reading-{name}.json"
    run_all(rows, [Method("bm25", bm25), *(by_reader(reader, *way) for way in ways)], result, notes, out)
    for sentence in [*result["verdicts"], *notes]:
        print(sentence)
    print(json.dumps(result, ensure_ascii=False))


def run_all(
    rows: Sequence[Row], methods: Sequence[Method], result: dict[str, Any], notes: list[str], out: Path
) -> None:
    """Run every method on every row, adding to `result` and `notes`; `out` is whole after each."""
    done: list[dict[str, Any]] = []
    result.update(rows=done, notes=notes, verdicts=[])
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".answers.jsonl").open("w", encoding="utf-8") as answers:
        for row in rows:
            for method in methods:
                if method.name == "bm25" and row.measure is refused:
                    continue  # it has no way to say that there is no answer
                try:
                    done.append(run(row, method, answers))
                    print(table_line(done[-1]), flush=True)
                except XgenError as error:
                    notes.append(f"{row.set} {row.name} by {method.name} is left out: {error}")
                result["verdicts"] = verdicts(done)
                write_whole(out, json.dumps(result, ensure_ascii=False, indent=1).encode() + b"\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except XgenError as error:
        sys.exit(str(error))
