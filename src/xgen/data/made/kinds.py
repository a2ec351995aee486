"""The kinds of made questions, and their files: OUT/KIND-LANGUAGE.jsonl.gz, each by itself to be weighed."""

import gzip
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from xgen.data.made import facts, families, licences, lists, named, papers, rules, siblings, spans, tables
from xgen.data.made.page import Page
from xgen.data.made.texts import Filler, Text
from xgen.data.made.words import ASKING, LANGUAGES
from xgen.files import write_whole

KINDS = (
    "facts",
    "families",
    "foreign",
    "licences",
    "lists",
    "named",
    "papers",
    "rules",
    "siblings",
    "spans",
    "tables",
)
"""`foreign` are facts told in one language and asked about in another, `papers` those of two documents."""


@dataclass(frozen=True)
class Written:
    """A file that was written."""

    path: Path
    kind: str
    language: str
    n_pages: int
    n_questions: int
    n_absent: int
    n_characters: int


def languages_of(kind: str) -> tuple[str, ...]:
    """The languages that a kind can be made in; none: any that has questions of people's."""
    if kind in ("facts", "foreign", "papers"):
        return LANGUAGES
    if kind == "named":
        return named.languages()
    return {
        "licences": licences.ASKED_IN,
        "rules": rules.RULED_IN,
        "tables": tables.ASKED_IN,
        "families": ("en",),
        "siblings": (),
    }.get(kind, ASKING)


def pages_of(
    kind: str, language: str, every: Mapping[str, Sequence[Text]], n_pages: int, seed: int
) -> Iterator[Page]:
    """Pages of a kind in a language, at most `n_pages`, of the texts of `every` language."""
    texts = every.get(language, ())
    filler = Filler(texts)
    match kind:
        case "facts":
            yield from facts.pages(language, language, filler, n_pages, seed)
        case "families":
            yield from families.pages(filler, n_pages, seed)
        case "foreign":
            others = [other for other in LANGUAGES if other != language]
            asking = ["en"] * len(others) if language != "en" else others
            share = -(-n_pages // len(others))
            for other in dict.fromkeys(asking):
                n = n_pages if language != "en" else share
                yield from facts.pages(language, other, filler, n, seed)
        case "licences":
            yield from licences.pages(language, Filler(every.get("en", ())), n_pages, seed)
        case "lists":
            yield from lists.pages(language, filler, n_pages, seed)
        case "named":
            yield from named.pages(language, texts, every.get("en", ()), n_pages, seed)
        case "papers":
            yield from papers.pages(language, filler, n_pages, seed)
        case "rules":
            yield from rules.pages(language, filler, n_pages, seed)
        case "siblings":
            yield from siblings.pages(language, texts, n_pages, seed)
        case "spans":
            yield from spans.pages(language, texts, n_pages, seed)
        case "tables":
            yield from tables.pages(language, filler, n_pages, seed)
        case _:
            raise ValueError(f"there are no questions of the kind {kind}")


def write_kind(
    kind: str, language: str, every: Mapping[str, Sequence[Text]], n_pages: int, seed: int, folder: Path
) -> Written | None:
    """Write the pages of a kind and a language, whole or not at all; None where there are none.

    The same texts, number and seed give the same bytes.
    """
    path = folder / f"{kind}-{language}.jsonl.gz"
    n = n_questions = n_absent = n_characters = 0
    lines = []
    for page in pages_of(kind, language, every, n_pages, seed):
        if not page.questions:
            continue
        lines.append(page.line())
        n += 1
        n_questions += len(page.questions)
        n_absent += sum(asked.kind == "unanswerable" for asked in page.questions)
        n_characters += len(page.text)
    if not lines:
        return None
    data = "".join(f"{line}\n" for line in lines).encode()
    write_whole(path, gzip.compress(data, mtime=0))
    return Written(path, kind, language, n, n_questions, n_absent, n_characters)
