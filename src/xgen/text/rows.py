"""Replies that go through the entries of a list or table, a line each, before they answer.

    - Jasper-6B: MIT → yes
    - Nimbus-2B: terms B ⇒ no commercial use → no
    Jasper-6B

A line has the entry's name, what decides as it stands in the document, what a rule says of that where one
does, and whether the entry is one of those asked for. The last line is the answer: their names, their number,
or a word that says "none". The marks are the same in every language, so that the form can be told from
ordinary words.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile

_START, _NAMED, _RULED, _JUDGED = "- ", ": ", " ⇒ ", " → "
_VERDICTS = {"yes": True, "no": False}


@dataclass(frozen=True)
class Entry:
    """A line of such a reply: a name, the deciding value, and whether the entry is one of those asked for.

    `says` is what a rule says of the value, "" without a rule: a step of its own between two others, each of
    which a small model can do.
    """

    name: str
    value: str
    holds: bool
    says: str = ""

    def __str__(self) -> str:
        said = f"{_RULED}{self.says}" if self.says else ""
        return f"{_START}{self.name}{_NAMED}{self.value}{said}{_JUDGED}{'yes' if self.holds else 'no'}"


@dataclass(frozen=True)
class RowReply:
    """A whole reply; `answer` is its last line, "" where the reply ends before it."""

    entries: tuple[Entry, ...]
    answer: str

    def __str__(self) -> str:
        return "\n".join([*map(str, self.entries), self.answer])

    @property
    def chosen(self) -> tuple[str, ...]:
        """The names of the entries that are asked for, in their order."""
        return tuple(entry.name for entry in self.entries if entry.holds)


def row_reply(entries: Sequence[Entry], none: str = "none", counted: bool = False) -> RowReply:
    """The reply of these entries: it ends with the names of those asked for, or with their number."""
    chosen = [entry.name for entry in entries if entry.holds]
    return RowReply(tuple(entries), str(len(chosen)) if counted else ", ".join(chosen) or none)


def begins_rows(text: str) -> bool:
    """Whether the first line of a text, or all there is of it, is an entry."""
    return _entry(text.lstrip().partition("\n")[0]) is not None


def parse_rows(text: str) -> RowReply | None:
    """The reply that a text is, None where its first line is no entry.

    Lines behind the list are the answer. A line of the list that is no entry, such as one that is cut, is
    left out.
    """
    lines = [line.strip() for line in text.strip().split("\n") if line.strip()]
    listed = [*takewhile(lambda line: f"{line} ".startswith(_START), lines)]
    if not listed or _entry(listed[0]) is None:
        return None
    entries = tuple(entry for line in listed if (entry := _entry(line)) is not None)
    return RowReply(entries, " ".join(lines[len(listed) :]))


def _entry(line: str) -> Entry | None:
    said, judged, verdict = line.strip().rpartition(_JUDGED)
    name, named, rest = said.removeprefix(_START).partition(_NAMED)
    if not (said.startswith(_START) and judged and named and name) or verdict not in _VERDICTS:
        return None
    value, _, says = rest.partition(_RULED)
    return Entry(name, value, _VERDICTS[verdict], says)
