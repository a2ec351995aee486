"""The whole table of a reader: every line of it asked, and shown with intervals beside what it aims at.

    python bench/table.py ask --model reader --data ../shared/eval --made made --share work --out a.jsonl
    python bench/table.py show *.jsonl

`python bench/reading.py --all` does both in one process. `ask` goes through LINES in their order, a few
questions at a time, and writes every answer. Processes that name the same folder with --share divide the work
among them; what one has taken is never asked again, so a run that was broken off goes on, less the AT_ONCE
questions at most that each process had in hand (`n` tells). `--made` is the folder that made.py wrote.
`show` measures the answers, so it needs no model.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import licence_tables
import long_texts
import made
import questions as qs
import rows
from development import development_sets
from table_shown import shown

from xgen.errors import XgenError

if TYPE_CHECKING:
    from xgen.read.reader import Reader

AT_ONCE = 16  # questions of a text that one process takes
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Line:
    """Questions of one kind, asked in one way. `at_most` bounds the questions of a set."""

    name: str
    sets: tuple[str, ...]
    row: str = "alone"
    read: str = "whole"
    quote: bool = False
    at_most: int | None = None
    window: int | None = None
    tokens: int = rows.ANSWER_TOKENS


EN = ("xquad.en",)
LATIN = ("xquad.de", "xquad.es", "xquad.ru", "xquad.ro")
OTHER = ("xquad.zh", "jaquad", "squad_it", "drcd", "cmrc2018")
LONG = ("covid_qa", "fairytaleqa")
SUMMED_UP = ("squality.asked", "qmsum.asked", "squality", "qmsum")
LAST = 2048
LINES = (
    Line("alone", EN),
    Line("8K", EN, "hidden8k"),
    Line("alone, quoted", EN, read="select", quote=True),
    Line("alone, selected", EN, read="select"),
    Line("another paragraph", EN, "beside"),
    Line("out of 8K", EN, "out8k", at_most=500),
    Line("8K, selected", EN, "hidden8k", read="select"),
    Line("2K, selected", EN, "hidden2k", read="select"),
    Line("4K, selected", EN, "hidden4k", read="select"),
    Line("licence tables", ("licences",), "licences", tokens=rows.LIST_TOKENS),
    Line("other languages", LATIN, at_most=500),
    Line("further languages", OTHER, at_most=500),
    Line("chat", (), "chat", tokens=160),
    Line("plain text", (), "plain"),
    Line("another paragraph, selected", EN, "beside", read="select", at_most=400),
    Line("out of 8K, selected", EN, "out8k", read="select", at_most=400),
    Line("needles", ("needles",), "needle"),
    Line("long texts", LONG, "long", read="head", at_most=424, window=8192, tokens=64),
    Line("long texts, last 2K", LONG, "long", read="tail", at_most=424, window=LAST, tokens=64),
    Line("summaries", SUMMED_UP, "summary", read="head", at_most=64, window=8192),
    Line("summaries, last 2K", SUMMED_UP, "summary", read="tail", at_most=64, window=LAST),
    Line("short summaries", ("scitldr",), "summary", read="head", at_most=100, window=8192),
    Line("8K, selected, quoted", EN, "hidden8k", read="select", quote=True),
    Line("alone, whole, quoted", EN, quote=True),
    Line("8K, whole, quoted", EN, "hidden8k", quote=True),
)
"""What matters most comes first: where the time ends, whole lines are there."""

Unit = tuple[str, Callable[["Reader"], Iterator[dict[str, Any]]]]  # the set, and what asks


def units(line: Line, options: argparse.Namespace, count: qs.CountTokens) -> Iterator[Unit]:
    """The work of a line in small pieces, the same in every process."""
    limit = min((n for n in (line.at_most, options.limit) if n is not None), default=None)
    if line.row in ("chat", "plain"):
        texts = (
            [("", request) for request in long_texts.REQUESTS] if line.row == "chat" else plain_texts(options)
        )
        said = long_texts.reply if line.row == "chat" else long_texts.loss
        for name, text in texts[:limit]:
            yield name or "chat", partial(said, text=text, tokens=line.tokens)
    for name in line.sets:
        about = {t.id: (t.names, sorted(t.free)) for t in _tables(options)} if line.row == "licences" else {}
        if line.row == "summary":
            for task in long_texts.tasks(options.data, name, limit):
                yield name, partial(long_texts.summary, line=line, task=task)
            continue
        if line.row == "long":
            cases = long_texts.cases(options.data / f"{name}.jsonl.gz", limit)
        else:
            cases = cases_of(line, name, options, limit, count)
        for case in cases:
            for begin in range(0, len(case.asked), AT_ONCE):
                few = replace(case, asked=case.asked[begin : begin + AT_ONCE])
                yield name, partial(answers, line=line, case=few, about=about)


def cases_of(
    line: Line, name: str, options: argparse.Namespace, limit: int | None, count: qs.CountTokens
) -> Sequence[qs.Case]:
    """The texts of a set as the line puts them; of the made ones, those of --made."""
    if line.row == "licences":
        return rows.licence_row(options.made / "licences.jsonl" if options.made else None).cases[:limit]
    if line.row == "needle":
        if options.made:
            return _needles(options.made)[:limit]
        pool = qs.load(options.data / "xquad.en.jsonl.gz")[0].paragraphs
        return [c for length in qs.LENGTHS_TOKENS for c in rows.needle_row(pool, length, count)[0].cases]
    (found,) = qs.load(options.data / f"{name}.jsonl.gz")
    golds = qs.take([qs.answerable(p) for p in found.paragraphs], limit)
    if line.row == "alone":
        return qs.alone(golds)
    if line.row == "beside":
        return _first(qs.beside(found.paragraphs), limit)
    target = qs.LENGTHS_TOKENS[line.row[-2:]] - qs.RESERVE_TOKENS
    if line.row.startswith("out"):
        return qs.taken_out(found.paragraphs, golds, target, count)[0]
    return qs.hidden(found.paragraphs, golds, target, count)


def _first(cases: Sequence[qs.Case], limit: int | None) -> list[qs.Case]:
    """Cases drawn by hash until they hold about `limit` questions."""
    drawn = sorted(cases, key=lambda case: qs.by_hash("beside", case.text))
    kept, n = list[qs.Case](), 0
    for case in drawn:
        if limit is not None and n >= limit:
            break
        kept.append(case)
        n += len(case.asked)
    return kept


def _tables(options: argparse.Namespace) -> Sequence[licence_tables.LicenceTable]:
    if options.made:
        return made.read_tables(options.made / "licences.jsonl")
    return licence_tables.tables()


def _needles(folder: Path) -> list[qs.Case]:
    """The texts of made.py, each question with the depth that its file states."""
    (found,) = qs.load(folder / "needles.jsonl")
    texts = map(json.loads, (folder / "needles.jsonl").read_text("utf-8").splitlines())
    depths = {q["id"]: q["depth"] for text in texts for q in text["questions"]}
    return [
        replace(case, asked=tuple(replace(a, depth=depths[a.question.id]) for a in case.asked))
        for case in qs.alone(found.paragraphs)
    ]


def answers(
    reader: "Reader", line: Line, case: qs.Case, about: dict[str, tuple[Sequence[str], Sequence[str]]]
) -> Iterator[dict[str, Any]]:
    """The reader's answers to a few questions on a text."""
    method = rows.by_reader(reader, line.read, line.quote, line.window)  # type: ignore[arg-type]
    for asked, given in zip(case.asked, method.ask(case, line.tokens), strict=True):
        yield {
            "id": asked.question.id,
            "lang": case.lang,
            "document": asked.paragraph,
            "depth": asked.depth,
            "question": asked.question.text,
            "gold": [g.text for g in asked.question.golds],
            **asdict(given),
            **dict(zip(("names", "free"), about.get(asked.paragraph, ()), strict=False)),
        }


def plain_texts(options: argparse.Namespace) -> list[tuple[str, str]]:
    """Plain text that was held out: development documents, and this project's pages."""
    if not options.dev.exists():
        return []
    found = []
    for one in development_sets(options.dev):
        some = one.paragraphs[: 60 if one.lang == "en" else 10]
        found += [("en" if one.lang == "en" else "other languages", p.text) for p in some]
    names = ("tour", "cli", "decisions")
    return found + [("project", (ROOT / "docs" / f"{n}.md").read_text("utf-8")[:8000]) for n in names]


def taken(folder: Path | None, line: str, number: int) -> bool:
    """Whether somebody else has this piece of work; if not, it is ours now."""
    if folder is None:
        return False
    try:
        os.close(os.open(folder / f"{line}.{number}", os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return True
    return False


def ask(options: argparse.Namespace, reader: "Reader", out: TextIO) -> None:
    """Write the answers to all that nobody else has taken; what cannot be asked is a line with a note."""
    if options.share:
        options.share.mkdir(parents=True, exist_ok=True)
    count = cache(lambda text: len(reader.bundle.tokenizer.encode(text)))
    for line in LINES:
        if options.lines and line.name not in options.lines:
            continue
        try:
            for number, (name, work) in enumerate(units(line, options, count)):
                if taken(options.share, line.name, number):
                    continue
                for found in work(reader):
                    out.write(json.dumps({"line": line.name, "set": name, **found}, ensure_ascii=False))
                    out.write("\n")
                out.flush()
        except (XgenError, qs.NotEnoughText) as reason:
            out.write(json.dumps({"line": line.name, "set": "", "note": str(reason)}) + "\n")
            out.flush()


def add_options(parser: argparse.ArgumentParser) -> None:
    """Those of `ask` that are not the model's."""
    parser.add_argument(
        "--made", type=Path, metavar="FOLDER", help="of made.py; else 20 tables, 8 needle texts"
    )
    parser.add_argument("--lines", help=f"with semicolons, of: {'; '.join(line.name for line in LINES)}")
    parser.add_argument("--share", type=Path, metavar="FOLDER", help="processes that name it divide the work")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(required=True, dest="verb")
    verb = verbs.add_parser("ask")
    for name in ("--model", "--adapter"):
        verb.add_argument(name, required=name == "--model")
    for name in ("--device", "--dtype", "--cache"):
        verb.add_argument(name, default="auto")
    verb.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    verb.add_argument("--dev", type=Path, default=ROOT / ".." / "shared" / "instruct", metavar="FOLDER")
    verb.add_argument("--limit", type=int, metavar="N", help="questions of each set at most")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE")
    add_options(verb)
    verb = verbs.add_parser("show")
    verb.add_argument("files", type=Path, nargs="+")
    verb.add_argument("--beside", type=Path, nargs="+", default=[], help="answers of its base")
    verb.add_argument("--out", type=Path, metavar="FILE", help="the table as JSON")
    options = parser.parse_args(arguments)
    if options.verb == "ask":
        options.lines = options.lines.split(";") if options.lines else []
    return options


def main(arguments: Sequence[str]) -> None:
    """See the module's words."""
    import xgen

    options = parse(arguments)
    if options.verb == "show":
        shown(options.files, options.beside, options.out)
        return
    reader = xgen.load(options.model, options.device, options.dtype, options.adapter, options.cache)
    with options.out.open("a", encoding="utf-8") as out:
        ask(options, reader, out)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except XgenError as error:
        sys.exit(str(error))
