"""What a rule in words rests on: columns of codes, words, numbers, dates and marks, and conditions on them.

A column's entry in rules/LANG.toml says what it holds. A cell of words or codes has labels, by which a rule
may name it: the cell itself, the footnote mark behind it, or words that stand in it as NC does in CC BY-NC.
"""

import random
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from operator import ge, gt, le, lt
from typing import Any

from xgen.data.made.lists import KEYS
from xgen.data.made.tables import Column, drawn_column, number_of
from xgen.data.made.words import words_of

CODES = (
    tuple("ABCDEF"), tuple("KMQRTX"), tuple("PSUVWZ"), tuple("GHJLNY"), tuple("12345"), tuple("αβγδλ"),
    ("I", "II", "III", "IV", "V"), ("T1", "T2", "T3", "T4", "T5"), ("N4", "N7", "R2", "R9", "S1"),
    ("A1", "A2", "B1", "B2", "C1"), ("K0", "K10", "K20", "K30"), ("XA", "XB", "XC", "YA", "YB"),
    ("*", "**", "***", "****"), ("●", "○", "◐", "◆"), ("alba", "brio", "corda", "dolce", "forte"),
    ("NC", "BY", "SA", "PD"), ("gold", "silver", "bronze", "tin"), ("red", "amber", "green", "blue"),
    ("07", "11", "23", "42", "58"), ("P+", "P-", "Q+", "Q-"), ("ab", "cd", "ef", "gh", "ij"),
)  # fmt: skip
"""Terms that mean what a text says, whatever they mean elsewhere; besides them there are made words."""

MARKS = ("†", "‡", "*", "§", "#", "(a)", "(b)", "(x)", "^", "°°")
"""What stands behind a cell; no cell ends with one by itself."""

COMPARED: dict[str, Callable[[float, float], bool]] = {
    "more": gt,
    "least": ge,
    "less": lt,
    "most": le,
    "after": gt,
    "since": ge,
    "before": lt,
    "until": le,
}
"""The ways in which numbers, and dates as days, are compared with a bound."""

_NUMBER_WAYS, _DATE_WAYS = ("more", "least", "less", "most"), ("after", "since", "before", "until")


@dataclass(frozen=True)
class Ruled(Column):
    """A column that rules may speak of.

    `way` is how: is, marks or family, with the `labels` of each cell and all that might be named in `pool`;
    or number or date, by their values, which `show` writes.
    """

    way: str = "is"
    labels: tuple[frozenset[str], ...] = ()
    pool: tuple[str, ...] = ()
    show: Callable[[float], str] = str


@dataclass(frozen=True)
class Condition:
    """A condition on a column: its words, and by row whether it is met."""

    column: int
    clause: str
    met: tuple[bool, ...]


def drawn_columns(
    language: str, words: Mapping[str, Any], specs: Sequence[Mapping[str, Any]], n: int, draw: random.Random
) -> list[Ruled]:
    """Two to five columns of `n` rows, in any order; no two of them have the same codes."""
    some = draw.sample(specs, min(len(specs), draw.randint(2, 5)))
    codes = draw.sample(_alphabets(draw), len(some))
    return [_drawn(language, words, spec, own, n, draw) for spec, own in zip(some, codes, strict=True)]


def _alphabets(draw: random.Random) -> list[tuple[str, ...]]:
    made = tuple(dict.fromkeys(KEYS["word"](draw) for _ in range(5)))
    return [*CODES, made]


def _drawn(
    language: str,
    words: Mapping[str, Any],
    spec: Mapping[str, Any],
    codes: Sequence[str],
    n: int,
    draw: random.Random,
) -> Ruled:
    head = draw.choice(spec["head"])
    if "dates" in spec:
        low, high = (date(year, 1, 1).toordinal() for year in spec["dates"])
        days = tuple(draw.randint(low, high) for _ in range(n))
        show = _iso if draw.random() < 0.6 else _long(language)
        return Ruled(head, spec, tuple(map(show, days)), days, "date", show=show)
    if "range" in spec:
        column = drawn_column(spec, n, draw)
        values = tuple(float(value) for value in column.values)
        return Ruled(
            column.head, spec, column.cells, values, "number", show=lambda value: number_of(value, spec)
        )
    if "families" in spec:
        families = {**words["families"]["free"], **words["families"]["bound"]}
        some = [*draw.sample(list(words["families"]["free"]), draw.randint(1, 3))]
        some += draw.sample(list(words["families"]["bound"]), draw.randint(1, 4))
        cells = tuple(draw.choice(families[draw.choice(some)]) for _ in range(n))
        labels = tuple(frozenset(name for name in families if _named(name, cell)) for cell in cells)
        return Ruled(head, spec, cells, cells, "family", labels, tuple(families))
    pool = tuple(codes if "codes" in spec else spec["values"])
    some = draw.sample(pool, draw.randint(2, len(pool)))
    cells = tuple(draw.choice(some) for _ in range(n))
    return Ruled(head, spec, cells, cells, "is", tuple(frozenset([cell]) for cell in cells), pool)


def _named(name: str, cell: str) -> bool:
    """Whether the words of a licence have `name` among them."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", cell, re.ASCII) is not None


def _iso(day: float) -> str:
    return date.fromordinal(round(day)).isoformat()


def _long(language: str) -> Callable[[float], str]:
    def show(day: float) -> str:
        on = date.fromordinal(round(day))
        return words_of(language).date(on.year, on.month, on.day)

    return show


def marked(column: Ruled, draw: random.Random) -> Ruled:
    """The column with one of two footnote marks behind some of its cells; rules speak of the marks."""
    marks = tuple(draw.sample(MARKS, 2))
    chosen = [draw.choice((*marks, "")) for _ in column.cells]
    cells = tuple(cell + mark for cell, mark in zip(column.cells, chosen, strict=True))
    labels = tuple(frozenset([mark] if mark else []) for mark in chosen)
    return replace(column, cells=cells, values=cells, way="marks", labels=labels, pool=marks)


def drawn_condition(
    words: Mapping[str, Any],
    columns: Sequence[Ruled],
    c: int,
    draw: random.Random,
    named: Collection[str] = (),
    part: str = "clause",
) -> Condition:
    """A condition on column `c`: that it has one of the labels `named`, if any, else a drawn one.

    `part` of the words says how: a "bare" one does not name the column.
    """
    column = columns[c]
    if column.labels:
        way, some = column.way, list(named) or _some_labels(column, draw)
        met = tuple(not labels.isdisjoint(some) for labels in column.labels)
        bound = listed(words, some)
    else:
        way = draw.choice(_DATE_WAYS if column.way == "date" else _NUMBER_WAYS)
        numbers = [float(value) for value in column.values]
        value = _near(draw.choice(numbers), column, draw)
        met = tuple(COMPARED[way](each, value) for each in numbers)
        bound = column.show(value)
    pattern = draw.choice(words[part][way])
    return Condition(c, pattern.format(x=bound, head=column.head, **_names(column)), met)


def listed(words: Mapping[str, Any], some: Sequence[str]) -> str:
    """Labels in a row, the last one behind "or"."""
    return str(words["or"]).join([*([words["comma"].join(some[:-1])] if some[1:] else []), some[-1]])


def _names(column: Ruled) -> dict[str, str]:
    return {"noun": column.words["noun"], "verb": column.words.get("verb", "")}


def _some_labels(column: Ruled, draw: random.Random) -> list[str]:
    """One to three labels, most of them such as stand in the column, and at times none of those."""
    there = sorted(set().union(*column.labels))
    others = [label for label in column.pool if label not in there]
    n = draw.randint(1, max(1, min(3, len(there) - 1)))
    some = draw.sample(there, min(n, len(there))) if draw.random() < 0.94 or not others else []
    if others and (not some or draw.random() < 0.3):
        some.append(draw.choice(others))
    return draw.sample(some, len(some))


def _near(value: float, column: Ruled, draw: random.Random) -> float:
    """A bound: the value itself, or one that is a little more or less."""
    if column.way == "date":
        return value + draw.choice((0, 0, 0, 1, -1, 30, -45, 200))
    lowest, step = float(column.words["range"][0]), float(column.words["step"])
    return max(lowest, value + step * draw.choice((0, 0, 0, 1, -1, 3, -4)))
