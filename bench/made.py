"""Made tests, written to files: licence tables in layouts never trained on, needles by depth and length.

    python bench/made.py OUT --texts paragraphs.jsonl.gz --model qwen-0.5b

OUT/licences.jsonl has 200 tables, 40 a layout, each asked which models may be used commercially, for one
model's licence, and for that of a model that is not in it. Two layouts are drawn as PDF (`pip install
".[dev]"`) and read back by our own extraction. OUT/needles.jsonl has 100 texts a length of the paragraphs in
--texts, told and asked as needles.py does: 100 questions a depth. Without --texts there are no needles.

Layouts, names, headings, sentences and questions have nothing in common with those of the made training
questions (src/xgen/data/made; tests/bench/test_made.py). The form is that of questions.py, with more keys:
`kind`, `layout`, `names` (all models), and for each question of the type "free" the right `names`; for
needles `length` and `depth`.
"""

import argparse
import io
import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import needles
import questions as qs
from licence_tables import LicenceTable

from xgen.files import write_whole

N_TABLES = 200
N_NEEDLE_TEXTS = 100
STEMS = ("Alder", "Basalt", "Cobalt", "Dunlin", "Ember", "Fulmar", "Gannet", "Heron", "Ibex", "Juniper")
SIZES = ("1B", "3B", "7B", "13B", "34B")
ENDINGS = ("", "-pt", "-sft", "-4k-pt", "-8k-sft")
FREE = ("Apache-2.0", "MIT", "BSD-3-Clause", "ISC", "PostgreSQL licence")
BOUND = ("CC-BY-NC-4.0", "for research purposes", "not for profit", "trial terms", "CC-BY-NC-ND-4.0")
NOTE = "Whatever is marked NC, for research purposes, not for profit or trial must not be used commercially."
RULE = "Whether a model may be used commercially is decided by the terms of its parameters."
HEADS = {
    "name": "System",
    "weights": "Terms of the parameters",
    "code": "Terms of the programs",
    "use": "May earn money",
    "window": "Window",
    "date": "Published",
}
QUESTIONS = (
    "Which of these models may be used commercially?",
    "Name the models that may earn money.",
    "With which of the models may a company do business?",
    "Which models are not limited to research or to use without profit?",
)
LICENCE_OF = "What are the terms of the parameters of {name}?"

Rows = list[dict[str, str]]


@dataclass(frozen=True)
class Made:
    """A table as text; `free` are those of its `names` that may be used commercially, in its order."""

    id: str
    layout: str
    text: str
    rows: Rows
    free: tuple[str, ...]
    asked: str

    @property
    def names(self) -> tuple[str, ...]:
        """All models, in the table's order."""
        return tuple(row[HEADS["name"]] for row in self.rows)

    def line(self) -> dict[str, Any]:
        """The table as a line of a file."""
        chosen = random.Random(self.id)
        row = chosen.choice(self.rows)
        terms = row[HEADS["weights"]]
        missing = next(name for name in _names(chosen, 40) if not any(name in known for known in self.names))
        lookup: dict[str, Any] = {"type": "free", "answers": [{"text": terms}], "names": []}
        if self.text.count(terms) == 1:
            lookup = {"type": "extractive", "answers": [{"text": terms, "start": self.text.index(terms)}]}
        free = {"type": "free", "answers": [{"text": ", ".join(self.free)}], "names": list(self.free)}
        name = row[HEADS["name"]]
        return {
            "id": self.id,
            "lang": "en",
            "title": self.id,
            "kind": "licences",
            "layout": self.layout,
            "names": list(self.names),
            "text": self.text,
            "questions": [
                {"id": f"{self.id}-which", "question": self.asked, **free},
                {"id": f"{self.id}-terms", "question": LICENCE_OF.format(name=name), **lookup},
                {
                    "id": f"{self.id}-missing",
                    "question": LICENCE_OF.format(name=missing),
                    "type": "unanswerable",
                    "answers": [],
                },
            ],
        }


def tables(n_tables: int = N_TABLES) -> list[Made]:
    """The tables, the same on every call; layouts take turns."""
    layouts = list(LAYOUTS.items())
    return [_table(number, *layouts[number % len(layouts)]) for number in range(n_tables)]


def read_tables(path: Path) -> list[LicenceTable]:
    """The tables of a file that this script wrote, each with its first question."""
    found = []
    for line in path.read_text("utf-8").splitlines():
        row = json.loads(line)
        which = row["questions"][0]
        names = tuple(row["names"])
        found.append(
            LicenceTable(row["id"], row["text"], which["question"], names, frozenset(which["names"]))
        )
    return found


def _names(draw: random.Random, n: int) -> list[str]:
    every = [f"{stem}-{size}{ending}" for stem in STEMS for size in SIZES for ending in ENDINGS]
    return draw.sample(every, n)


def _table(number: int, layout: str, render: Callable[[Rows], str]) -> Made:
    draw = random.Random(f"made licence table {number}")
    has_column = number // len(LAYOUTS) % 2 == 0
    n_rows = draw.randint(4, 9)
    n_free = draw.randint(1, n_rows - 1)
    terms = [draw.choice(FREE) for _ in range(n_free)] + [draw.choice(BOUND) for _ in range(n_rows - n_free)]
    draw.shuffle(terms)
    rows: Rows = []
    for name, own in zip(_names(draw, n_rows), terms, strict=True):
        row = {
            HEADS["name"]: name,
            HEADS["window"]: str(draw.choice((2048, 4096, 8192, 32768))),
            HEADS["code"]: draw.choice(FREE),  # a distractor
            HEADS["weights"]: own,
            HEADS["date"]: f"20{draw.randint(22, 26)}-{draw.randint(1, 12):02}",
        }
        if has_column:
            row[HEADS["use"]] = "may" if own in FREE else "may not"
        rows.append(row)
    text = "\n\n".join([render(rows).strip("\n"), RULE if has_column else f"{RULE} {NOTE}"])
    free = tuple(row[HEADS["name"]] for row, own in zip(rows, terms, strict=True) if own in FREE)
    asked = QUESTIONS[number // len(LAYOUTS) % len(QUESTIONS)]
    return Made(f"licences-{number:03}", layout, text + "\n", rows, free, asked)


# ---- layouts


def _grid(rows: Rows) -> str:
    """A table of reStructuredText."""
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rules = ["+" + "+".join(mark * (width + 2) for width in widths) + "+" for mark in "-="]
    said = [
        "|" + "|".join(f" {c.ljust(w)} " for c, w in zip(line, widths, strict=True)) + "|" for line in lines
    ]
    body = [part for line in said[1:] for part in (line, rules[0])]
    return "\n".join([rules[0], said[0], rules[1], *body])


def _tabular(rows: Rows) -> str:
    """The source of a table of LaTeX."""
    lines = [" & ".join(cells) + r" \\" for cells in (list(rows[0]), *(list(row.values()) for row in rows))]
    columns = "l" * len(rows[0])
    start = f"\\begin{{tabular}}{{{columns}}}\n\\hline"
    return "\n".join([start, lines[0], r"\hline", *lines[1:], r"\hline", r"\end{tabular}"])


def _leaders(rows: Rows) -> str:
    """A sheet a model: its name underlined, then what it has behind dots."""
    sheets = []
    for row in rows:
        name, *others = row.items()
        lines = [f"{key} {'.' * (40 - len(key))} {value}" for key, value in others]
        sheets.append("\n".join([name[1], "~" * len(name[1]), *lines]))
    return "\n\n".join(sheets)


def _extracted(data: bytes) -> str:
    from xgen.text.extract.pdf import extract

    return extract(data, "table.pdf").text


def _pdf_columns(rows: Rows) -> str:
    """A ruled table over pages of a PDF: cells are broken over lines, the head is on each page."""
    from reportlab.lib.pagesizes import A5, landscape
    from reportlab.lib.styles import ParagraphStyle
    from reportlab.platypus import Paragraph, SimpleDocTemplate, Table, TableStyle

    style = ParagraphStyle("cell", fontName="Helvetica", fontSize=8, leading=10, splitLongWords=0)
    cells = [
        [Paragraph(cell, style) for cell in line] for line in ([*rows[0]], *(row.values() for row in rows))
    ]
    file = io.BytesIO()
    document = SimpleDocTemplate(file, pagesize=landscape(A5), invariant=1)
    table = Table(cells, colWidths=[440 / len(rows[0])] * len(rows[0]), repeatRows=1)
    table.setStyle(TableStyle([("GRID", (0, 0), (-1, -1), 0.5, "black")]))
    document.build([table])
    return _extracted(file.getvalue())


def _pdf_sheets(rows: Rows) -> str:
    """A sheet a model, two side by side on a page of a PDF: labels on the left, their values on the right."""
    from reportlab.lib.pagesizes import A4
    from reportlab.pdfgen.canvas import Canvas

    file = io.BytesIO()
    canvas = Canvas(file, pagesize=A4, invariant=1)
    for number, row in enumerate(rows):
        column, line = number % 2, number // 2 % 3
        x, y = 40 + 270 * column, 780 - 240 * line
        if number and number % 6 == 0:
            canvas.showPage()
        for i, (key, value) in enumerate(row.items()):
            canvas.setFont("Helvetica-Bold" if i == 0 else "Helvetica", 9)
            canvas.drawString(x, y - 16 * i, key)
            canvas.drawString(x + 118, y - 16 * i, value)
    canvas.save()
    return _extracted(file.getvalue())


LAYOUTS: dict[str, Callable[[Rows], str]] = {
    "grid": _grid,
    "tabular": _tabular,
    "leaders": _leaders,
    "pdf columns": _pdf_columns,
    "pdf sheets": _pdf_sheets,
}


# ---- needles


def needle_lines(
    pool: Sequence[qs.Paragraph], count: qs.CountTokens, n_texts: int = N_NEEDLE_TEXTS
) -> Iterator[dict[str, Any]]:
    """`n_texts` texts a length of questions.py, each with a needle at every depth of needles.py."""
    for length, n_tokens in qs.LENGTHS_TOKENS.items():
        cases = needles.needle_cases(pool, n_tokens - qs.RESERVE_TOKENS, count, n_texts)
        for number, case in enumerate(cases):
            asked = [
                {
                    "id": f"{length}-{each.question.id}",
                    "question": each.question.text,
                    "type": "extractive",
                    "answers": [{"text": g.text, "start": g.start} for g in each.question.golds],
                    "depth": each.depth,
                }
                for each in case.asked
            ]
            name = f"needles-{length}-{number:03}"
            about = {"id": name, "lang": "en", "title": name, "kind": "needles", "length": length}
            yield about | {"text": case.text, "questions": asked}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--texts", type=Path, help="a set of questions whose paragraphs hide the needles")
    parser.add_argument("--model", default="qwen-0.5b", help="whose tokens are counted")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    _write(args.out / "licences.jsonl", (table.line() for table in tables()))
    if args.texts:
        from xgen.files import model_folder
        from xgen.text.tokenizer import Tokenizer

        tokenizer = Tokenizer.from_folder(model_folder(args.model))
        (found,) = qs.load(args.texts)
        count = cache(lambda text: len(tokenizer.encode(text)))
        _write(args.out / "needles.jsonl", needle_lines(found.paragraphs, count))


def _write(path: Path, lines: Iterator[dict[str, Any]]) -> None:
    text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    write_whole(path, text.encode())
    print(f"{path}: {text.count(chr(10))} documents")


if __name__ == "__main__":
    main()
