"""Sheets side by side are read one after the other, and tables row by row: pages drawn by reportlab."""

import io
import random
import re

import pytest
from reportlab.lib.pagesizes import A4
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from xgen.text.extract.pdf import extract
from xgen.text.extract.sheets import are_sheets

LABELS = ("Made by", "Year", "Terms", "Weight", "Colour", "Found in")
MAKERS = ("Orme", "Tay Ltd", "Lind and Sons", "Quist", "the Abbey of Rook")


def drawn(cells: list[tuple[float, float, str]], size: float = 9) -> str:
    """The text of a page with words at places, x and y in points."""
    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    canvas.setFont("Helvetica", size)
    for x, y, text in cells:
        canvas.drawString(x, y, text)
    canvas.save()
    return extract(file.getvalue(), "a.pdf").text


def grid(rows: list[tuple[str, ...]], xs: tuple[float, ...]) -> str:
    return drawn(
        [(x, 780 - 14 * i, text) for i, row in enumerate(rows) for x, text in zip(xs, row, strict=True)]
    )


@pytest.mark.parametrize("n_sheets", [2, 3, 4, 5, 7])
@pytest.mark.parametrize("n_columns", [2, 3])
@pytest.mark.parametrize("way", ["headed", "named in a line", "with a title", "with colons"])
def test_law_a_sheet_has_its_own_values_and_nobody_elses(n_sheets: int, n_columns: int, way: str) -> None:
    draw = random.Random(f"{n_sheets} {n_columns} {way}")
    labels = draw.sample(LABELS, 4)
    gap = 74 if n_columns == 3 else 110
    cells = (
        [(40.0, 810.0, "What grew in the garden of the house in that year")] if way == "with a title" else []
    )
    sheets: list[list[tuple[str, str]]] = []
    for number in range(n_sheets):
        x, y = 40 + 540 / n_columns * (number % n_columns), 760 - 110 * (number // n_columns)
        name = f"Plum-{number}"
        fields = [(label, f"{draw.choice(MAKERS)} {100 * number + i}") for i, label in enumerate(labels)]
        sheets.append([("", name), *fields])
        if way == "named in a line":
            fields = [("Name", name), *fields]
        else:
            cells.append((x, y + 14, name))
        for i, (label, value) in enumerate(fields):
            if way == "with colons":
                cells.append((x, y - 14 * i, f"{label}: {value}"))
            else:
                cells += [(x, y - 14 * i, label), (x + gap, y - 14 * i, value)]
    text = drawn(cells, size=7 if n_columns == 3 else 9)
    starts = {number: text.index(f"Plum-{number}") for number in range(n_sheets)}
    order = sorted(starts, key=lambda number: starts[number])
    for number, following in zip(order, [*order[1:], None], strict=True):
        part = text[starts[number] : starts[following] if following is not None else None]
        for label, value in sheets[number][1:]:
            assert re.search(rf"{label}(?: \| |: ){re.escape(value)}$", part, re.MULTILINE), text


TABLES = {
    "plain": [("Plum", "Maker", "Terms"), ("P1", "Orme", "free"), ("P2", "Tay", "no sale"),
              ("P3", "Lind", "free")],
    "timetable": [("Mon", "Tue", "Wed"), ("Maths", "Art", "Maths"), ("Art", "Maths", "Physics"),
                  ("Physics", "Physics", "Art"), ("Sport", "Maths", "Sport")],
    "columns alike": [("Name", "A ok", "B ok"), ("one", "yes", "yes"), ("two", "no", "no"),
                      ("three", "yes", "no")],
    "properties": [("Name", "Ada Lind", "Born"), ("City", "Oslo", "Country"), ("Work", "nurse", "Since")],
    "numbers": [("1", "2", "1"), ("3", "4", "3"), ("5", "6", "5")],
}  # fmt: skip
PAIRS = {
    "matches": [("Orme", "2", "Tay", "1"), ("Lind", "0", "Orme", "3"), ("Tay", "1", "Lind", "4")],
    "journeys": [("Orme", "10:05", "Tay", "12:10"), ("Tay", "11:40", "Orme", "13:45"),
                 ("Orme", "14:00", "Tay", "16:05")],
    "successors": [("Ada", "1901", "Ben", "1911"), ("Ben", "1911", "Cyr", "1920"),
                   ("Cyr", "1920", "Dora", "1934")],
    "steps": [("Wet", "0.5", "Wet", "0.6"), ("Wet", "0.4", "Dry", "0.3"), ("Dry", "0.2", "Wet", "0.1"),
              ("Dry", "0.8", "Dry", "0.9")],
}  # fmt: skip


@pytest.mark.parametrize("name", TABLES)
def test_a_table_stays_row_by_row(name: str) -> None:
    rows = TABLES[name]
    assert grid(rows, (40, 200, 360)).split("\n") == [" | ".join(row) for row in rows]


@pytest.mark.parametrize("name", PAIRS)
def test_a_table_of_pairs_stays_row_by_row(name: str) -> None:
    """The same names at the left of both halves, never level or several in succession: a line is one fact."""
    rows = PAIRS[name]
    assert grid(rows, (40, 160, 300, 420)).split("\n") == [" | ".join(row) for row in rows]


def test_heads_that_come_twice_above_other_numbers_are_one_table() -> None:
    rows = [
        ("Model", "P", "R", "P", "R"),
        ("A", "1.0", "2.0", "3.0", "4.0"),
        ("B", "1.5", "2.5", "3.5", "4.5"),
    ]
    assert grid(rows, (40, 140, 240, 340, 440)).split("\n") == [" | ".join(row) for row in rows]


def test_a_folded_table_is_read_half_by_half() -> None:
    rows = [("Item", "Price", "Item", "Price"), ("Lamp", "20", "Rug", "35"), ("Desk", "190", "Vase", "9"),
            ("Chair", "49", "Tray", "12")]  # fmt: skip
    text = grid(rows, (40, 160, 300, 420))
    halves = ["\n".join(" | ".join(row[i : i + 2]) for row in rows) for i in (0, 2)]
    assert text == "\n\n".join(halves)


def test_what_are_sheets() -> None:
    one = [["Plum"], ["Year", "1999"], ["Terms", "free"]]
    other = [["Pear"], ["Year", "2004"], ["Terms", "no sale"]]
    assert are_sheets(one, other)
    assert are_sheets([*one, []], [*other, ["Weight", "3 kg"]])
    assert are_sheets([["Year: 1999"], ["Terms: free"]], [["Year: 2004"], ["Terms: no sale"]])
    assert not are_sheets(one, [["Pear"], ["Weight", "3 kg"], ["Colour", "red"]])
    assert not are_sheets([["A", "yes"], ["B", "no"]], [["yes", "A"], ["no", "B"]])
    assert not are_sheets([], [])


def test_a_cell_that_fills_its_column_does_not_run_into_the_next() -> None:
    """All columns begin at the same places; one word ends two points before the next column."""
    rows = [("Tree", "Found", "Guardian", "Since"), ("Oak", "by the lake", "Mr Tay", "1987"),
            ("Ash", "lane", "the Abbey", "1999"), ("Elm", "mmmmmmmmmmmmmmm", "Ms Orme", "1990"),
            ("Beech", "old mill", "Lind and Sons", "2010")]  # fmt: skip
    width = stringWidth(rows[3][1], "Helvetica", 9)
    text = grid(rows, (40, 140, 142 + width, 400))
    assert text.split("\n") == [" | ".join(row) for row in rows]
    ragged = grid([*rows[:3], ("Elm", "in the wood", "of Rook", "1990")], (40, 140, 142 + width, 400))
    assert ragged.split("\n")[3] == "Elm | in the wood | of Rook | 1990"
