"""A made document with its questions, and the blocks of text that it is put together from."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from string import Formatter
from typing import Any

GAP = "\n\n"
"""What stands between two blocks of a made document."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Asked:
    """A question of one of the kinds of data/questions.py; no `answer`: the document has none.

    `places` are the characters [start, end) that the answer rests on; an extractive answer is the one span.
    """

    question: str
    kind: str
    answer: str = ""
    places: tuple[Span, ...] = ()


@dataclass(frozen=True)
class Page:
    """A made document. `licence` is that of all the texts in it, `title` is shared by pages of one kin."""

    id: str
    language: str
    title: str
    text: str
    licence: str
    questions: tuple[Asked, ...]

    def line(self) -> str:
        """The page as a line of JSON, as data/questions.py has it; ValueError where an answer is amiss."""
        questions = []
        for number, asked in enumerate(self.questions):
            entry: dict[str, Any] = {"id": str(number), "question": asked.question, "type": asked.kind}
            entry["answers"] = [{"text": asked.answer}] if asked.answer else []
            if asked.kind == "extractive":
                ((start, end),) = asked.places
                if self.text[start:end] != asked.answer:
                    raise ValueError(f"{self.id}: {asked.answer!r} does not stand at {start}")
                entry["answers"][0]["start"] = start
            elif asked.places:
                entry["evidence"] = [list(place) for place in asked.places]
            if bool(asked.answer) == (asked.kind == "unanswerable"):
                raise ValueError(f"{self.id}: {asked.question!r} is {asked.kind} with {asked.answer!r}")
            questions.append(entry)
        table = {
            "id": self.id,
            "lang": self.language,
            "title": self.title,
            "licence": self.licence,
            "text": self.text,
            "questions": questions,
        }
        return json.dumps(table, ensure_ascii=False)


@dataclass(frozen=True)
class Block:
    """A stretch of text; `marks` say which characters [start, end) of it are the value of a key."""

    text: str
    marks: Mapping[Any, Span] = field(default_factory=dict)


def filled(pattern: str, values: Mapping[str, str], owner: object) -> Block:
    """`pattern` with its {slots} replaced; each is marked by (owner, slot). KeyError for an unknown slot."""
    text, marks = "", {}
    for before, slot, _, _ in Formatter().parse(pattern):
        text += before
        if slot is not None:
            marks[owner, slot] = (len(text), len(text) + len(values[slot]))
            text += values[slot]
    return Block(text, marks)


def slots(pattern: str) -> set[str]:
    """The names of the {slots} of a pattern."""
    return {slot for _, slot, _, _ in Formatter().parse(pattern) if slot is not None}


def joined(blocks: Iterable[Block], gap: str = GAP) -> Block:
    """Blocks one after another; of a key that several mark, the first one's place is kept."""
    text = ""
    marks: dict[Any, Span] = {}
    for number, block in enumerate(blocks):
        text += gap if number else ""
        for key, (start, end) in block.marks.items():
            marks.setdefault(key, (start + len(text), end + len(text)))
        text += block.text
    return Block(text, marks)


def common_licence(licences: Iterable[str]) -> str:
    """One line for the licences of several texts, each named once."""
    return "; ".join(sorted({licence for licence in licences if licence}))
