"""Tables of any kind, and which of their rows have a property: the reply goes through them one by one.

The property is a number above or below a value, a year, a word that stands there or does not; the other
columns are there to be mistaken for it. Absent: a column that the table does not have.
"""

import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from xgen.data.made.facts import OWN_LICENCE
from xgen.data.made.layouts import LAYOUTS, Table
from xgen.data.made.lists import KEYS, twin
from xgen.data.made.page import Asked, Block, Page, common_licence, joined
from xgen.data.made.texts import Filler, drawn_length
from xgen.data.made.words import asks_of, words_of
from xgen.text.rows import Entry, row_reply

CHARACTERS = (1_500, 30_000)
MOST_ROWS = 14
MOST_ASKED = 5
"""Questions about which rows there are, a table."""

_TWIN_SHARE = 0.3
_WIDE_LAYOUTS = ("transposed",)


@dataclass(frozen=True)
class Column:
    """A column: what it may be called and is called, its cells, and by what they are compared."""

    head: str
    words: Mapping[str, Any]
    cells: tuple[str, ...]
    values: tuple[float, ...] | tuple[str, ...]


@cache
def _words() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files("xgen.data.made").joinpath("tables.toml").read_text("utf-8"))


ASKED_IN = tuple(_words())


def pages(language: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents with a table or two, told and asked in `language`."""
    for number in range(n_pages):
        yield _page(language, filler, number, seed)


def _page(language: str, filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"tables {language} {number} {seed}")
    kinds = draw.sample(_words()[language]["kind"], len(_words()[language]["kind"]))
    tables = [drawn_columns(language, kinds[0], draw)]
    if len(kinds) > 1 and draw.random() < 0.25:
        tables.append(drawn_columns(language, kinds[1], draw))
    blocks = []
    for index, (names, columns) in enumerate(tables):
        block = written(names, asks_of(language)["heads"][0].capitalize(), columns, draw)
        blocks.append(Block(block.text, {(index, cell): place for cell, place in block.marks.items()}))
    text, licences = amid(blocks, filler, language, draw, 0.35)
    questions = []
    for index, (names, columns) in enumerate(tables):
        marks = {cell: place for (i, cell), place in text.marks.items() if i == index}
        page = Block(text.text, marks)
        questions += asked_of(language, kinds[index], names, columns, page, draw)
        questions += _looked_up(language, names, columns, page, draw)
    draw.shuffle(questions)
    name = f"tables-{language}-{number}"
    return Page(name, language, name, text.text, common_licence(licences), tuple(questions))


def amid(
    blocks: Sequence[Block], filler: Filler, language: str, draw: random.Random, share: float
) -> tuple[Block, set[str]]:
    """The blocks in their order, in a `share` of all cases apart and amid other text; all licences."""
    if not filler or draw.random() >= share:
        return joined(blocks), {OWN_LICENCE}
    length = drawn_length(language, draw, CHARACTERS) - sum(len(block.text) for block in blocks)
    between, licences = filler.draw(draw, length)
    places = sorted(draw.sample(range(len(between) + len(blocks)), len(blocks)))
    for place, block in zip(places, blocks, strict=True):
        between.insert(place, block)
    return joined(between), licences | {OWN_LICENCE}


def written(names: Sequence[str], head: str, columns: Sequence[Column], draw: random.Random) -> Block:
    """A table in a layout of layouts.py; its columns stand in another order than `columns` at times."""
    fit = [name for name in LAYOUTS if len(names) <= 5 or name not in _WIDE_LAYOUTS]
    rows = [[name, *(column.cells[r] for column in columns)] for r, name in enumerate(names)]
    return LAYOUTS[draw.choice(fit)](Table([head, *(column.head for column in columns)], rows), draw)


def drawn_columns(
    language: str, kind: Mapping[str, Any], draw: random.Random
) -> tuple[list[str], list[Column]]:
    """Names of two to MOST_ROWS rows, and two to five columns of the kind."""
    n_rows = draw.randint(2, MOST_ROWS)
    words = draw.sample(kind["columns"], draw.randint(2, min(5, len(kind["columns"]))))
    return names_of(language, kind, n_rows, draw), [drawn_column(each, n_rows, draw) for each in words]


def names_of(language: str, kind: Mapping[str, Any], n: int, draw: random.Random) -> list[str]:
    """Names of `n` rows: those of the kind, of people, or made ones, many of them near twins."""
    if "names" in kind:
        return draw.sample(kind["names"], n)
    make = KEYS[draw.choice(list(KEYS))]
    is_of_people = kind.get("people", language not in ("ja", "zh") and draw.random() < 0.4)
    known = words_of(language).names
    names: list[str] = []
    while len(names) < n:
        if is_of_people:
            family = draw.choice(known["family"])
            name = f"{family} et al." if kind.get("et_al") else f"{draw.choice(known['given'])} {family}"
        else:
            name = twin(draw.choice(names), draw) if names and draw.random() < _TWIN_SHARE else make(draw)
        if not any(name in other or other in name for other in names):
            names.append(name)
    return names


def drawn_column(words: Mapping[str, Any], n: int, draw: random.Random) -> Column:
    """A column of `n` cells by its words; a number of a year is one of few."""
    head = draw.choice(words["head"])
    if "values" in words:
        some = draw.sample(words["values"], draw.randint(2, len(words["values"])))
        cells = tuple(draw.choice(some) for _ in range(n))
        return Column(head, words, cells, cells)
    low, high = words["range"]
    n_steps = round((high - low) / words["step"])
    if words.get("year"):  # few years, so that several rows have the same
        low += draw.randint(0, max(0, n_steps - 6))
        n_steps = 6
    values = tuple(round(low + words["step"] * draw.randint(0, n_steps), 1) for _ in range(n))
    return Column(head, words, tuple(number_of(value, words, head) for value in values), values)


def number_of(value: float, words: Mapping[str, Any], head: str = "") -> str:
    """A number as a cell has it: without its unit where the head names that."""
    digits = f"{value:.1f}" if words["step"] < 1 else f"{value:.0f}"
    return digits + ("" if head.endswith(")") else words.get("unit", ""))


# ---- questions


def asked_of(
    language: str,
    kind: Mapping[str, Any],
    names: Sequence[str],
    columns: Sequence[Column],
    page: Block,
    draw: random.Random,
    places: Sequence[int] = (),
) -> list[Asked]:
    """Questions for the rows that have a property, and perhaps one about a column that is not there.

    `page` marks the cells of this table alone; `places` say which column of it each of `columns` is, where
    they are not all of it.
    """
    words = _words()[language]
    asked: list[Asked] = []
    every = [(c, column) for c, column in enumerate(columns) for _ in range(2)]
    for c, column in draw.sample(every, min(len(every), MOST_ASKED)):
        way, value, holds = _property(column, draw)
        own = column.words.get(way, ())
        pattern = draw.choice(own if own and draw.random() < 0.6 else words[way])
        question = pattern.format(rows=kind["rows"], column=column.head, value=value)
        if question not in {each.question for each in asked}:
            at = places[c] if places else c + 1
            asked.append(
                rows_asked(question, names, column.cells, holds, page, at, words["none"], way == "count")
            )
    heads = {column.words["head"][0] for column in columns}
    missing = [each for each in kind["columns"] if each["head"][0] not in heads]
    if missing and draw.random() < 0.4:
        column = drawn_column(draw.choice(missing), 3, draw)
        way, value, _ = _property(column, draw)
        question = draw.choice(words[way]).format(rows=kind["rows"], column=column.head, value=value)
        if column.head.casefold() not in page.text.casefold():
            asked.append(Asked(question, "unanswerable"))
    return asked


def rows_asked(
    question: str,
    names: Sequence[str],
    cells: Sequence[str],
    holds: Sequence[bool],
    page: Block,
    column: int,
    none: str,
    counted: bool = False,
    says: Sequence[str] = (),
) -> Asked:
    """A question whose reply goes through all rows, by the cells of a column, and rests on all of them.

    `says` is what a rule says of each row, if one does.
    """
    entries = [Entry(*each) for each in zip(names, cells, holds, says or [""] * len(names), strict=True)]
    places = [
        place for r in range(len(names)) for c in (0, column) if (place := page.marks.get((r, c))) is not None
    ]
    return Asked(question, "free", str(row_reply(entries, none, counted)), tuple(places))


def _property(column: Column, draw: random.Random) -> tuple[str, str, list[bool]]:
    """How a column is asked about, with what value, and which rows that holds for."""
    if "values" in column.words:
        way = draw.choice(("is", "is", "is", "not", "count"))
        there = sorted(set(map(str, column.values)))
        value = draw.choice(there if draw.random() < 0.92 else column.words["values"])
        return way, value, [(each == value) is not (way == "not") for each in column.values]
    numbers = [float(value) for value in column.values]
    if column.words.get("year") and draw.random() < 0.4:
        chosen = draw.choice(numbers)
        way = draw.choice(("is", "is", "count"))
        return way, number_of(chosen, column.words), [each == chosen for each in numbers]
    step = column.words["step"]
    chosen = draw.choice(numbers) + step * draw.choice((0, 0, -1, 1, 5, -5))
    chosen = round(max(chosen, column.words["range"][0]), 1)
    way = draw.choice(("more", "less"))
    holds = [each > chosen if way == "more" else each < chosen for each in numbers]
    return way, number_of(chosen, column.words), holds


def _looked_up(
    language: str, names: Sequence[str], columns: Sequence[Column], page: Block, draw: random.Random
) -> Iterator[Asked]:
    """A few questions for one cell or one row, which are answered in a word."""
    asks = asks_of(language)
    for r in draw.sample(range(len(names)), min(2, len(names))):
        c = draw.randrange(len(columns))
        column, place, key = columns[c], page.marks.get((r, c + 1)), page.marks.get((r, 0))
        values = {"row": names[r], "rows": asks["heads"][0], "column": column.head, "value": column.cells[r]}
        if place is not None and draw.random() < 0.6:
            question = draw.choice(asks["cell"]).format(**values)
            yield Asked(question, "extractive", column.cells[r], (place,))
        elif key is not None and column.cells.count(column.cells[r]) == 1:
            yield Asked(draw.choice(asks["row"]).format(**values), "extractive", names[r], (key,))
