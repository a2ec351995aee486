"""Each layout read back by another reader of its form; a cell's place holds the cell."""

import csv
import io
import json
import random
import re
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.made.layouts import LAYOUTS, WRAPPED_WIDTH, Table

Rows = list[list[str]]


def parted(mark: str) -> Callable[[str, Table], Rows]:
    def read(text: str, table: Table) -> Rows:
        lines = [re.sub(r"^[|*] | \|$", "", line) for line in text.split("\n")]
        head, *rows = [line.split(mark) for line in lines if not set(line) <= set("-| ")]
        assert head == list(table.head)
        return rows

    return read


def separated(mark: str) -> Callable[[str, Table], Rows]:
    def read(text: str, table: Table) -> Rows:
        head, *rows = list(csv.reader(io.StringIO(text), delimiter=mark))
        assert head == list(table.head)
        return rows

    return read


def aligned(text: str, table: Table) -> Rows:
    head, *rows = [re.split(r"\s{2,}", line) for line in text.split("\n")]
    assert head == list(table.head)
    return rows


def transposed(text: str, table: Table) -> Rows:
    lines = [re.split(r"\s{3,}", line) for line in text.split("\n")]
    assert [line[0] for line in lines] == list(table.head)
    return [list(column) for column in zip(*(line[1:] for line in lines), strict=True)]


def wrapped(text: str, table: Table) -> Rows:
    """Lines cut at the columns that the head shows; a row begins where the first column is filled."""
    rows: Rows = []
    for line in text.split("\n"):
        if not line.strip() or re.fullmatch(r"\d+", line):
            continue
        cells = [line[i * (WRAPPED_WIDTH + 2) :][: WRAPPED_WIDTH + 2].strip() for i in range(len(table.head))]
        if cells[0]:
            rows.append(cells)
        else:
            rows[-1] = [f"{old} {new}".strip() for old, new in zip(rows[-1], cells, strict=True)]
    return [row for row in rows if row[0] != table.head[0]]


def records(text: str, table: Table) -> Rows:
    found = [dict(line.split(": ", 1) for line in block.split("\n")) for block in text.split("\n\n")]
    return [[record[name] for name in table.head] for record in found]


def lines(text: str, table: Table) -> Rows:
    return [
        [part.split(": ", 1)[1] if i else part for i, part in enumerate(line.split("; "))]
        for line in text.split("\n")
    ]


def numbered(text: str, table: Table) -> Rows:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        name, *rest = line.removeprefix(f"{number}. ").split(", ")
        rows.append([name, *(p.removeprefix(h + " ") for h, p in zip(table.head[1:], rest, strict=True))])
    return rows


def bullets(text: str, table: Table) -> Rows:
    return [
        [part.split(": ", 1)[1] if i else part for i, part in enumerate(block.strip().split("\n  - "))]
        for block in re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    ]


def sections(text: str, table: Table) -> Rows:
    rows = []
    for block in text.split("\n\n"):
        first, *rest = block.split("\n")
        rows.append([first[1:-1], *(line.split(" = ", 1)[1] for line in rest)])
    return rows


def objects(text: str, table: Table) -> Rows:
    return [[json.loads(line)[name] for name in table.head] for line in text.split("\n")]


def cells(text: str, table: Table) -> Rows:
    every = [line for line in text.split("\n") if line]
    n = len(table.head)
    assert every[:n] == list(table.head)
    return [every[i : i + n] for i in range(n, len(every), n)]


def labelled(text: str, table: Table) -> Rows:
    every = [line for line in text.split("\n") if line]
    n = 2 * len(table.head)
    return [every[i + 1 : i + n : 2] for i in range(0, len(every), n)]


def sheets(opening: str, parting: str) -> Callable[[str, Table], Rows]:
    """Sheets that begin with a marked name; every label is followed by `parting` and its value."""

    def read(text: str, table: Table) -> Rows:
        rows = []
        for part in re.split(rf"^{re.escape(opening)}" if opening else r"\n\n", text, flags=re.MULTILINE):
            if not part.strip():
                continue
            name, *rest = [line.strip("|* \n-") for line in part.split("\n") if set(line) - set("|- ")]
            found = dict(line.split(parting, 1) for line in rest)
            rows.append([name.removeprefix("name: "), *(found[head].strip() for head in table.head[1:])])
        return rows

    return read


def sentences(text: str, table: Table) -> Rows:
    rows = []
    for line in text.split("\n"):
        name, *rest = line.removesuffix(".").split(". ")
        rows.append([name, *(part.split(": ", 1)[1] for part in rest)])
    return rows


READERS: dict[str, Callable[[str, Table], Rows]] = {
    "pipes": parted(" | "),
    "bare pipes": parted(" | "),
    "semicolons": separated(";"),
    "tabs": separated("\t"),
    "dashes": parted(" - "),
    "slashes": parted(" / "),
    "aligned": aligned,
    "wrapped": wrapped,
    "transposed": transposed,
    "records": records,
    "lines": lines,
    "numbered": numbered,
    "bullets": bullets,
    "sections": sections,
    "objects": objects,
    "cells": cells,
    "close cells": cells,
    "labelled cells": labelled,
    "quoted": separated(","),
    "dots": parted(" \u00b7 "),
    "cards": sheets("## ", " | "),
    "headings": sheets("### ", ":** "),
    "starred": sheets("**", ": "),
    "mappings": sheets("- name: ", ": "),
    "facts": sheets("", " | "),
    "sentences": sentences,
}

words = st.from_regex(r"[A-Z][a-z]{2,6}[0-9]{0,3}", fullmatch=True)
phrases = st.lists(words, min_size=1, max_size=4).map(" ".join)


@st.composite
def tables(draw: st.DrawFn) -> Table:
    n_rows, n_columns = draw(st.integers(1, 7)), draw(st.integers(2, 4))
    names = draw(st.lists(words, min_size=n_rows + n_columns, max_size=n_rows + n_columns, unique=True))
    rows = [[name, *(draw(phrases) for _ in range(n_columns - 1))] for name in names[:n_rows]]
    return Table([f"H{name}" for name in names[n_rows:]], rows)


@pytest.mark.parametrize("name", LAYOUTS)
@settings(max_examples=12, deadline=None)
@given(table=tables(), seed=st.integers(0, 99))
def test_law_another_reader_finds_every_cell(name: str, table: Table, seed: int) -> None:
    block = LAYOUTS[name](table, random.Random(seed))
    assert READERS[name](block.text, table) == [list(row) for row in table.rows]
    for (r, c), (start, end) in block.marks.items():
        assert block.text[start:end] == table.rows[r][c]
    broken = {(r, c) for r, row in enumerate(table.rows) for c, _ in enumerate(row)} - set(block.marks)
    assert not broken or name == "wrapped"
    assert all(len(table.rows[r][c]) > WRAPPED_WIDTH for r, c in broken)
