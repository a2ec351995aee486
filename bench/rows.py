"""Rows of questions for a reader: which texts, how each is answered, and how an answer is measured.

What reading.py and table.py ask; the texts are made by questions.py, needles.py and licence_tables.py.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import licence_tables
import made
import needles
import questions as qs
from baseline import best_sentences
from metrics import score

from xgen.read.words import holds
from xgen.text.document import Document

if TYPE_CHECKING:
    from xgen.read.answer import Answer
    from xgen.read.reader import Reader
    from xgen.read.window import How

OF_A_SET = ("alone", "hidden2k", "hidden4k", "hidden8k", "unanswerable")
ROWS = (*OF_A_SET, "needle", "licences")
ANSWER_TOKENS = 32
LIST_TOKENS = 96  # an answer that lists names

Measure = Callable[[qs.Asked, "Given"], dict[str, float]]


@dataclass(frozen=True)
class Given:
    """What a reader gave for one question; with `found` False it means "not in this document".

    `span` is what the evidence says where a free answer says something else, `span_share` the share of right
    answers that it is given with, and `stands` whether the words of that answer stand in the text.
    """

    answer: str | None
    found: bool = True
    score: float | None = None
    prompt_tokens: int | None = None
    answer_tokens: int | None = None
    span: str | None = None
    span_share: float | None = None
    stands: bool | None = None

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


def by_reader(reader: "Reader", how: "How", quote: bool, window: int | None = None) -> Method:
    """The product: one document opened, all its questions asked in one batch."""

    def ask(case: qs.Case, answer_tokens: int) -> list[Given]:
        reading = reader.read(
            [Document(path="bench", text=case.text)],
            [a.question.text for a in case.asked],
            how=how,
            quote=quote,
            window=window,
            max_answer_tokens=answer_tokens,
            quiet=True,
        )
        return [given(case.text, answer) for answer in reading.answers]

    return Method(f"{how} --quote" if quote else how, ask)


def given(text: str, answer: "Answer") -> Given:
    """What the product's answer to a question about `text` is for the measures."""
    plain = (answer.answer, answer.found, answer.score, answer.prompt_tokens, answer.answer_tokens)
    span = answer.evidence
    if span is None or answer.answer is None or holds(answer.answer, span.text):
        return Given(*plain)
    return Given(*plain, span.text, span.right_share, holds(text, answer.answer))


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
