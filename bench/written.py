"""Questions that a model writes over licensed text, kept where a reader gives each the same answer.

    python bench/written.py pairs ../shared/instruct --out recipes/questions/pairs.jsonl
    xgen data build recipes/corpus-writer.toml
    xgen train recipes/writer.toml --out runs/writer
    xgen export qwen-1.5b writer --adapter runs/writer/adapter
    xgen export qwen-1.5b checker --adapter FOLDER_OF_READER_1.5B
    python bench/written.py write TEXTS.jsonl --model writer --out proposed.jsonl
    python bench/written.py check proposed.jsonl --model checker --out recipes/questions/written.jsonl.gz

`pairs` makes conversations of people's questions: a paragraph, and what people asked of it, each with its
answer. A model tuned on them writes the like in languages that people asked few in. `check` asks
the reader each question twice, as reading asks (in its own words, and for the quotation): a question stays
where its greedy reply is both times the answer that its writer had in mind (round trip: Alberti et al. 2019,
arXiv 1906.05416). Minutes on a GPU. TEXTS and what `check` writes are lines of
src/xgen/data/questions.py; every proposal that is not kept is counted by its reason.
"""

import argparse
import gzip
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from development import IDS
from questions import by_hash, load
from reading import part

from xgen.cli.wording import reading_words
from xgen.data.groups import Prompts
from xgen.data.pack import Row
from xgen.files import write_whole
from xgen.read.words import words
from xgen.text.chat import ChatTemplate, Message
from xgen.text.tokenizer import Tokenizer

LANGUAGES = {
    **{"ar": "Arabic", "ca": "Catalan", "de": "German", "en": "English", "es": "Spanish", "fa": "Persian"},
    **{"fr": "French", "it": "Italian", "ja": "Japanese", "no": "Norwegian", "pt": "Portuguese"},
    **{"ro": "Romanian", "ru": "Russian", "tr": "Turkish", "zh": "Chinese"},
}
# people's sets, and how many paragraphs of each: English is what the others learn the manner from
PEOPLE = {
    **{
        "squad_train_part": 6000,
        "squadshifts_wiki": 1600,
        "jaquad": 900,
        "cmrc2018_train": 1200,
        "piaf": 1600,
    },
    **{
        "faquad": 300,
        "viquiquad": 400,
        "squad_es_dist": 800,
        "squad_train_part_de": 200,
        "covid_ro": 200,
        "tydiqa": 1500,
    },
    **{"pquad": 500, "norquad": 300, "arcd": 300, "enelpi_tr": 300},
}
TEXT_CHARACTERS = (150, 3000)
ANSWER_CHARACTERS = 60
MOST_QUESTIONS = 8
ASKED_FOR = 6
SYSTEM = "You write questions about texts."
AT_ONCE = 384
MOST_TOKENS = 360
ROW_TOKENS = 4_096


def request(text: str, language: str, n_questions: int) -> str:
    """What the writer is asked; its reply has a line a question, "question | answer"."""
    return (
        f"{text}\n\nWrite {n_questions} questions in {LANGUAGES[language]} that this text answers, each on a "
        "line with its answer as it stands in the text: question | answer"
    )


def conversations(folder: Path) -> Iterator[dict[str, Any]]:
    """People's questions as what a writer is asked and replies; development documents are left out."""
    held_back = {
        document for documents in json.loads(IDS.read_text("utf-8")).values() for document in documents
    }
    low, high = TEXT_CHARACTERS
    for name, n_paragraphs in PEOPLE.items():
        drawn = [
            p
            for p in load(folder / f"{name}.jsonl.gz")[0].paragraphs
            if p.id not in held_back and p.lang in LANGUAGES and low <= len(p.text) <= high
        ]
        for p in sorted(drawn, key=lambda p: by_hash("written", p.id))[:n_paragraphs]:
            pairs = [(q.text.strip(), q.golds[0].text.strip()) for q in p.questions if q.golds]
            fitting = [
                pair for pair in pairs if len(pair[1]) <= ANSWER_CHARACTERS and "|" not in "".join(pair)
            ]
            asked = sorted(fitting[:MOST_QUESTIONS], key=lambda pair: p.text.find(pair[1]))
            if asked:
                lines = "\n".join(" ".join(f"{q} | {a}".split()) for q, a in asked)
                turns = (
                    ("system", SYSTEM),
                    ("user", request(p.text, p.lang, len(asked))),
                    ("assistant", lines),
                )
                yield {"id": p.id, "lang": p.lang, "messages": [{"role": r, "content": c} for r, c in turns]}


def proposals(reply: str, text: str) -> tuple[list[tuple[str, str]], Counter[str]]:
    """The questions of a writer's reply with their answers, and how many of its lines say none, by why."""
    found: dict[str, str] = {}
    lost: Counter[str] = Counter()
    for line in filter(str.strip, reply.splitlines()):
        question, bar, answer = (part.strip() for part in line.partition("|"))
        if not (bar and question and answer):
            lost["no question | answer"] += 1
        elif question in found:
            lost["twice"] += 1
        elif answer not in text:
            lost["the answer is not in the text"] += 1
        elif len(answer) > ANSWER_CHARACTERS:
            lost["a long answer"] += 1
        elif words(answer) == words(question) or answer.casefold() in question.casefold():
            lost["the question holds its answer"] += 1
        else:
            found[question] = answer
    return list(found.items()), lost


Replies = Callable[[Sequence[list[int]], int, bool], list[str]]
"""Replies to prompts of ids, of so many tokens at most, drawn or greedy; of one without end: whole lines."""


def write(
    texts: Sequence[dict[str, Any]], tokenizer: Tokenizer, template: ChatTemplate, replies: Replies
) -> Iterator[dict[str, Any]]:
    """`texts` with the questions that the writer proposes; told on stderr: what was none, by why."""
    asked = [
        tokenizer.encode_markup(
            template.render(
                [Message("system", SYSTEM), Message("user", request(t["text"], t["lang"], ASKED_FOR))]
            )
        )
        for t in texts
    ]
    lost: Counter[str] = Counter()
    for text, reply in zip(texts, replies(asked, MOST_TOKENS, True), strict=True):
        found, without = proposals(reply, text["text"])
        lost += without + Counter({"no whole line": int(not reply)})
        if found:
            questions = [
                {
                    "id": f"{text['id']}-{number}",
                    "question": question,
                    "type": "extractive",
                    "answers": [{"text": answer, "start": text["text"].find(answer)}],
                }
                for number, (question, answer) in enumerate(found)
            ]
            yield {**text, "questions": questions}
    print(f"no questions: {dict(lost)}", file=sys.stderr)


def check(
    texts: Sequence[dict[str, Any]], prompts: Prompts, holds: Callable[[Sequence[Row]], Iterator[list[bool]]]
) -> Iterator[dict[str, Any]]:
    """`texts` with those of their questions that the reader answers as their writer did, both times.

    Of the questions with one answer the first stays.
    `holds` says of each row and each of its parts whether all that is trained in it is what the reader
    would say itself, greedily.
    """
    rows, asked = rows_of([_group(text, prompts) for text in texts], ROW_TOKENS)
    kept: dict[int, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    for here, held in zip(asked, holds(rows), strict=True):
        at = 0
        for index in here:
            for question in texts[index]["questions"]:
                answer = question["answers"][0]["text"]
                freely, quoted = held[at : at + 2]
                at += 2
                is_kept = freely and quoted
                is_further = is_kept and answer in kept.get(index, {})
                why = "with an answer that another has" if is_further else "kept" if is_kept else "not kept"
                counts[why] += 1
                if is_kept and not is_further:
                    kept.setdefault(index, {})[answer] = question
    print(f"questions: {dict(counts)}", file=sys.stderr)
    yield from ({**texts[index], "questions": list(found.values())} for index, found in kept.items())


@dataclass(frozen=True)
class Group:
    """A document's prompt and what goes on from it: ids, and from where on they are a reply."""

    head: list[int]
    parts: list[tuple[list[int], int]]


def _group(text: dict[str, Any], prompts: Prompts) -> Group:
    parts = []
    for question in text["questions"]:
        for wording in (prompts.words.free, prompts.words.quote):
            asked = prompts.question_ids(wording, question["question"])
            reply = prompts.reply_ids(wording, question["answers"][0]["text"])
            parts.append((asked + reply, len(asked)))
    return Group(prompts.document_ids(text["text"]), parts)


def rows_of(groups: Sequence[Group], length: int) -> tuple[list[Row], list[list[int]]]:
    """Groups laid one after another into rows of `length` (data/pack.py), and which each row holds."""
    rows: list[Row] = []
    held: list[list[int]] = []
    at = length
    for index, group in enumerate(groups):
        size = len(group.head) + sum(len(ids) for ids, _ in group.parts)
        if size > length:
            raise ValueError(f"text {index} and its questions have {size} tokens; a row has {length}")
        if at + size > length:
            arrays = [np.full(length, fill, np.int32) for fill in (0, -1, -1, -1, 0)]
            rows.append(Row(*arrays))
            held.append([])
            at = segments = 0
        row, document = rows[-1], segments
        for number, (ids, n_prompt) in enumerate([(group.head, len(group.head)), *group.parts]):
            here = slice(at, at + len(ids))
            row.ids[here] = ids
            row.segment[here], row.context[here] = segments, document
            row.position[here] = np.arange(len(ids)) + (len(group.head) if number else 0)
            row.targets[at + n_prompt - 1 : at + len(ids) - 1] = ids[n_prompt:]
            segments += 1
            at += len(ids)
        held[-1].append(index)
    return rows, held


def greedy(folder: Path) -> Callable[[Sequence[Row]], Iterator[list[bool]]]:
    """`holds` of `check`, by the model in `folder`."""
    import torch

    from xgen.formats.folder import load_weights, read_shape
    from xgen.model.packed import attend_packed
    from xgen.model.transformer import Transformer
    from xgen.train.rows import batch_of
    from xgen.train.step import compile_layers

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    shape = read_shape(folder / "config.json")
    model = Transformer(shape, attend_packed)
    model.load_state_dict(load_weights(folder, shape), strict=True)
    model.to(device, torch.bfloat16)
    if device.type == "cuda":
        compile_layers(model)

    @torch.no_grad()
    def holds(rows: Sequence[Row]) -> Iterator[list[bool]]:
        for number, row in enumerate(rows):
            batch = batch_of([row], device)
            hidden_TM = model(batch.ids, batch.positions, mask=batch.packed)[0]
            trained = (batch.targets[0] >= 0).nonzero()[:, 0]
            right = torch.cat(
                [
                    model.logits(hidden_TM[some]).argmax(-1) == batch.targets[0][some]
                    for some in trained.split(512)
                ]
            )
            wrong = set(row.segment[trained[~right].cpu().numpy()].tolist())
            print(f"row {number + 1} of {len(rows)}", end="\r", file=sys.stderr)
            yield [part not in wrong for part in dict.fromkeys(row.segment[trained.cpu().numpy()].tolist())]

    return holds


def batched(model: Any, tokenizer: Tokenizer, ends: Sequence[int]) -> Replies:
    """`replies` by a model of `transformers`, the longest prompts first, told on stderr as it goes."""
    import torch

    @torch.inference_mode()
    def replies(prompts: Sequence[list[int]], most: int, is_drawn: bool) -> list[str]:
        order = sorted(range(len(prompts)), key=lambda i: -len(prompts[i]))
        said = [""] * len(prompts)
        drawn = {"temperature": 0.8, "top_p": 0.95, "top_k": 0} if is_drawn else {}
        for begin in range(0, len(order), AT_ONCE):
            some = order[begin : begin + AT_ONCE]
            longest = len(prompts[some[0]])
            ids = torch.full((len(some), longest), ends[0])
            for row, index in enumerate(some):
                ids[row, longest - len(prompts[index]) :] = torch.tensor(prompts[index])
            lengths = torch.tensor([len(prompts[i]) for i in some])
            mask = torch.arange(longest) >= longest - lengths[:, None]
            out = model.generate(
                input_ids=ids.to(model.device),
                attention_mask=mask.long().to(model.device),
                max_new_tokens=most,
                do_sample=is_drawn,
                eos_token_id=list(ends),
                pad_token_id=ends[0],
                **(drawn or {"temperature": None, "top_p": None, "top_k": None}),
            )
            for index, row in zip(some, out[:, longest:].tolist(), strict=True):
                stop = next((i for i, token in enumerate(row) if token in ends), None)
                reply = tokenizer.decode(row[:stop])
                said[index] = (reply if stop is not None else reply.rpartition("\n")[0]).strip()
            print(f"{begin + len(some)} of {len(order)}", end="\r", file=sys.stderr)
        return said

    return replies


def main(arguments: Sequence[str]) -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("pairs", "write", "check"))
    parser.add_argument("src", type=Path, help="pairs: a folder of question sets; else a file of texts")
    parser.add_argument("--model", type=Path, metavar="FOLDER", help="a model, its adapter merged")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", type=part, metavar="K/N", help="every Nth text, from the Kth on")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.what == "pairs":
        found = list(conversations(options.src))
    else:
        folder = options.model or parser.error(f"{options.what} needs --model")
        texts = list(_lines(options.src))[options.part or slice(None)]
        tokenizer, template = Tokenizer.from_folder(folder), ChatTemplate.from_folder(folder)
    if options.what == "check":
        found = list(check(texts, Prompts(tokenizer, template, reading_words()), greedy(folder)))
    if options.what == "write":
        import torch
        from transformers import AutoModelForCausalLM

        device = "cuda" if torch.cuda.is_available() else "cpu"
        torch.manual_seed(options.seed)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16).to(device).eval()
        ends = json.loads((folder / "generation_config.json").read_text("utf-8"))["eos_token_id"]
        replies = batched(model, tokenizer, ends if isinstance(ends, list) else [ends])
        found = list(write(texts, tokenizer, template, replies))
    data = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in found).encode()
    write_whole(options.out, gzip.compress(data, mtime=0) if options.out.suffix == ".gz" else data)
    n_questions = sum(len(line.get("questions", ())) for line in found)
    print(f"{options.out}: {len(found)} texts" + (f", {n_questions} questions" if n_questions else ""))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    data = path.read_bytes()
    for line in (gzip.decompress(data) if path.suffix == ".gz" else data).splitlines():
        yield json.loads(line)


if __name__ == "__main__":
    main(sys.argv[1:])
