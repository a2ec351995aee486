"""Tables as documents show them once they are plain text: layouts that say where every cell stands.

A cell that a layout breaks over lines has no place, since no span of the text is its value.
"""

import json
import random
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xgen.data.made.page import Block, Span

WRAPPED_WIDTH = 16
"""Characters of a column whose cells are broken over lines."""

Cell = tuple[int, int]
"""(row, column) of a cell; the head is no row."""


@dataclass(frozen=True)
class Table:
    """Names of the columns, and rows of as many cells; the first column names the row."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


class _Writer:
    """Text that grows, and where the cells in it stand."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._marks: dict[Cell, Span] = {}

    def say(self, text: str, cell: Cell | None = None) -> None:
        if cell is not None:
            self._marks.setdefault(cell, (self._length, self._length + len(text)))
        self._parts.append(text)
        self._length += len(text)

    def block(self) -> Block:
        text = "".join(self._parts).rstrip("\n")
        return Block(text, {cell: place for cell, place in self._marks.items() if place[1] <= len(text)})


Layout = Callable[[Table, random.Random], Block]


def _between(mark: str, before: str = "", after: str = "", rule: str = "") -> Layout:
    """A line a row, the cells between marks; `rule` stands once a column under the head."""

    def layout(table: Table, draw: random.Random) -> Block:
        writer = _Writer()
        writer.say(before + mark.join(table.head) + after + "\n")
        if rule:
            writer.say(before + mark.join(rule for _ in table.head) + after + "\n")
        for r, row in enumerate(table.rows):
            writer.say(before)
            for c, cell in enumerate(row):
                writer.say(mark if c else "")
                writer.say(cell, (r, c))
            writer.say(after + "\n")
        return writer.block()

    return layout


def _aligned(table: Table, draw: random.Random) -> Block:
    widths = [max(map(len, column)) for column in zip(table.head, *table.rows, strict=True)]
    writer = _Writer()
    writer.say("  ".join(n.ljust(w) for n, w in zip(table.head, widths, strict=True)).rstrip() + "\n")
    for r, row in enumerate(table.rows):
        for c, (cell, width) in enumerate(zip(row, widths, strict=True)):
            writer.say(cell, (r, c))
            writer.say(" " * (width - len(cell) + 2) if c < len(row) - 1 else "")
        writer.say("\n")
    return writer.block()


def _transposed(table: Table, draw: random.Random) -> Block:
    """The rows are columns: each line is one property of all of them."""
    lines = [[name, *column] for name, *column in zip(table.head, *table.rows, strict=True)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    writer = _Writer()
    for c, line in enumerate(lines):
        for r, (cell, width) in enumerate(zip(line, widths, strict=True)):
            writer.say(cell, (r - 1, c) if r else None)
            writer.say(" " * (width - len(cell) + 3) if r < len(line) - 1 else "")
        writer.say("\n")
    return writer.block()


def _records(opening: str, label: str, closing: str, gap: str, named: bool = True) -> Layout:
    """A record a row: its name, then each label with its value; `named`: the name has its label, too."""

    def layout(table: Table, draw: random.Random) -> Block:
        writer = _Writer()
        for r, row in enumerate(table.rows):
            writer.say(opening.format(number=r + 1))
            for c, cell in enumerate(row):
                if c or named:
                    writer.say(label.format(name=table.head[c]))
                writer.say(cell, (r, c))
                writer.say(closing if c < len(row) - 1 else "")
            writer.say(gap)
        return writer.block()

    return layout


def _sections(table: Table, draw: random.Random) -> Block:
    """As a file of settings: the row's name in brackets, a setting a line."""
    writer = _Writer()
    for r, row in enumerate(table.rows):
        writer.say("[")
        writer.say(row[0], (r, 0))
        writer.say("]\n")
        for c, cell in enumerate(row[1:], 1):
            writer.say(f"{table.head[c].lower().replace(' ', '_')} = ")
            writer.say(cell, (r, c))
            writer.say("\n")
        writer.say("\n")
    return writer.block()


def _sheets(opening: str, below: str, label: str, closing: str) -> Layout:
    """A sheet a row: its name, what stands below that, then a label and its value a line or a sentence."""

    def layout(table: Table, draw: random.Random) -> Block:
        writer = _Writer()
        for r, row in enumerate(table.rows):
            writer.say(opening)
            writer.say(row[0], (r, 0))
            writer.say(below)
            for c, cell in enumerate(row[1:], 1):
                writer.say(label.format(name=table.head[c]))
                writer.say(cell, (r, c))
                writer.say(closing)
            writer.say("\n")
        return writer.block()

    return layout


def _objects(table: Table, draw: random.Random) -> Block:
    """An object of JSON a line."""
    writer = _Writer()
    for r, row in enumerate(table.rows):
        for c, cell in enumerate(row):
            quoted = json.dumps(cell, ensure_ascii=False)
            writer.say(("{" if c == 0 else ", ") + json.dumps(table.head[c], ensure_ascii=False) + ": ")
            if quoted[1:-1] == cell:
                writer.say('"')
                writer.say(cell, (r, c))
                writer.say('"')
            else:
                writer.say(quoted)
        writer.say("}\n")
    return writer.block()


def _cells(gap: str, labelled: bool) -> Layout:
    """A cell a line, as a page's table looks without its marks; the head first, or before every value."""

    def layout(table: Table, draw: random.Random) -> Block:
        writer = _Writer()
        if not labelled:
            writer.say("\n".join(table.head) + "\n" + gap)
        for r, row in enumerate(table.rows):
            for c, cell in enumerate(row):
                writer.say(f"{table.head[c]}\n" if labelled else "")
                writer.say(cell, (r, c))
                writer.say("\n")
            writer.say(gap)
        return writer.block()

    return layout


def _wrapped(table: Table, draw: random.Random) -> Block:
    """Columns of a page: long cells go on in the next line, the head comes again after some rows."""
    every = draw.randint(3, 6)
    writer = _Writer()
    for r, row in enumerate(table.rows):
        if r % every == 0:
            if r:
                writer.say(f"\n{draw.randint(2, 40)}\n\n")
            _wrapped_row(writer, table.head, None)
        _wrapped_row(writer, row, r)
    return writer.block()


def _wrapped_row(writer: _Writer, cells: Sequence[str], r: int | None) -> None:
    broken = [textwrap.wrap(cell, WRAPPED_WIDTH, break_on_hyphens=False) or [""] for cell in cells]
    widths = [max(WRAPPED_WIDTH, *map(len, lines)) for lines in broken]
    for line in range(max(map(len, broken))):
        for c, lines in enumerate(broken):
            part = lines[line] if line < len(lines) else ""
            writer.say(part, (r, c) if r is not None and len(lines) == 1 and line == 0 else None)
            writer.say(" " * (widths[c] - len(part) + 2) if c < len(broken) - 1 else "")
        writer.say("\n")


LAYOUTS: dict[str, Layout] = {
    "pipes": _between(" | ", "| ", " |", "---"),
    "bare pipes": _between(" | "),
    "semicolons": _between(";"),
    "tabs": _between("\t"),
    "dashes": _between(" - "),
    "slashes": _between(" / ", "* "),
    "aligned": _aligned,
    "wrapped": _wrapped,
    "transposed": _transposed,
    "records": _records("", "{name}: ", "\n", "\n\n"),
    "lines": _records("", "{name}: ", "; ", "\n", named=False),
    "numbered": _records("{number}. ", "{name} ", ", ", "\n", named=False),
    "bullets": _records("- ", "{name}: ", "\n  - ", "\n", named=False),
    "sections": _sections,
    "objects": _objects,
    "cells": _cells("\n", labelled=False),
    "close cells": _cells("", labelled=False),
    "labelled cells": _cells("\n", labelled=True),
    "quoted": _between('","', '"', '"'),
    "dots": _between(" \u00b7 "),
    "cards": _sheets("## ", "\n\n| | |\n|---|---|\n", "| {name} | ", " |\n"),
    "headings": _sheets("### ", "\n\n", "- **{name}:** ", "\n"),
    "starred": _sheets("**", "**\n", "* {name}: ", "\n"),
    "mappings": _sheets("- name: ", "\n", "  {name}: ", "\n"),
    "facts": _sheets("", "\n", "{name} | ", "\n"),
    "sentences": _sheets("", ".", " {name}: ", "."),
}
"""Those that made training questions are asked about; the made tests have others (bench/made.py)."""
