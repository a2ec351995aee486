"""Twenty made-up tables of models and licences, and which models in them may be used commercially.

Five layouts, four tables each: pipe table, aligned columns, tabs, "key: value" records, and one
cell a line as an HTML table looks once its marks are gone. The names are made up, so that nothing can
be known by heart; the licences are real. In half of the tables a column says yes or no, in the other
half the reader must go by the licence, and a note says which kinds forbid commercial use.
"""

import random
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from itertools import cycle

from metrics import set_f1

from xgen.text.rows import parse_rows

N_TABLES = 20
QUESTIONS = (
    "Which of these models may be used commercially?",
    "Which models does their licence allow to be used in a commercial product?",
    "Name the models that a company may use commercially.",
    "Which of the models are not limited to research or non-commercial use?",
)
_FREE = ("Apache-2.0", "MIT", "BSD-3-Clause")
_BOUND = ("CC-BY-NC-4.0", "CC-BY-NC-SA-4.0", "research only", "non-commercial research licence")
_STEMS = ("Alder", "Basalt", "Cobalt", "Dunlin", "Ember", "Fulmar", "Gannet", "Heron", "Ibex", "Juniper")
_SIZES = ("1B", "3B", "7B", "13B", "34B")
_KINDS = ("", "-base", "-inst", "-8k-base", "-8k-inst")
_NOTE = 'A licence with "NC", "non-commercial" or "research" in its name does not allow commercial use.'
_Rows = list[dict[str, str]]


@dataclass(frozen=True)
class LicenceTable:
    """A document with one table; `free` are those of its `names` that may be used commercially."""

    id: str
    text: str
    question: str
    names: tuple[str, ...]
    free: frozenset[str]


def tables(n_tables: int = N_TABLES) -> list[LicenceTable]:
    """The tables, the same on every call."""
    layouts = cycle(LAYOUTS.items())
    return [_table(number, *next(layouts)) for number in range(n_tables)]


def names_in(answer: str, names: Collection[str]) -> set[str]:
    """Those of `names` that occur in `answer`, whatever their case; "Alder-7B" is not in "Alder-7B-inst".

    An answer that names a model only to say that it may not be used is counted as naming it; of a reply that
    goes through the rows of a table the last line is the answer.
    """
    reply = parse_rows(answer)
    said = answer if reply is None else reply.answer
    return {n for n in names if re.search(rf"(?<![\w-]){re.escape(n)}(?![\w-])", said, re.IGNORECASE)}


def measures(table: LicenceTable, answer: str | None) -> dict[str, float]:
    """F1 over the names in the answer, and whether they are exactly the right ones."""
    given = names_in(answer or "", table.names)
    return {"set_exact": float(given == table.free), "set_f1": set_f1(given, table.free)}


def _table(number: int, layout: str, render: Callable[[_Rows], str]) -> LicenceTable:
    draw = random.Random(f"licence table {number}")
    has_column = number // len(LAYOUTS) % 2 == 0
    n_rows = draw.randint(5, 9)
    n_free = draw.randint(1, n_rows - 2)
    licences = [draw.choice(_FREE) for _ in range(n_free)]
    licences += [draw.choice(_BOUND) for _ in range(n_rows - n_free)]
    draw.shuffle(licences)
    every = [f"{stem}-{size}{kind}" for stem in draw.sample(_STEMS, 3) for size in _SIZES for kind in _KINDS]
    names = draw.sample(every, n_rows)
    rows = []
    for name, licence in zip(names, licences, strict=True):
        row = {
            "Model": name,
            "Window (tokens)": str(draw.choice((2048, 4096, 8192, 32768))),
            "Training tokens": f"{draw.choice((0.3, 0.8, 1, 1.4, 1.5, 2))}T",
            "Released": f"20{draw.randint(22, 26)}-{draw.randint(1, 12):02}",
            "Licence of the code": draw.choice(_FREE),  # a distractor: it is the weights' licence that counts
            "Licence of the weights": licence,
        }
        if has_column:
            row["Commercial use"] = "yes" if licence in _FREE else "no"
        rows.append(row)
    head = "The table lists models with the licence of their code and the licence of their weights."
    rule = "Whether a model may be used commercially is decided by the licence of its weights."
    text = "\n\n".join([head, render(rows), rule if has_column else f"{rule} {_NOTE}"])
    free = frozenset(name for name, licence in zip(names, licences, strict=True) if licence in _FREE)
    question = QUESTIONS[number % len(QUESTIONS)]
    return LicenceTable(f"{number:02}-{layout}", text + "\n", question, tuple(names), free)


# ---- layouts


def _cells(rows: _Rows) -> list[list[str]]:
    return [list(rows[0]), *(list(row.values()) for row in rows)]


def _pipes(rows: _Rows) -> str:
    head, *body = [f"| {' | '.join(cells)} |" for cells in _cells(rows)]
    return "\n".join([head, "|" + "---|" * len(rows[0]), *body])


def _aligned(rows: _Rows) -> str:
    cells = _cells(rows)
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip() for line in cells
    )


def _tabs(rows: _Rows) -> str:
    return "\n".join("\t".join(line) for line in _cells(rows))


def _records(rows: _Rows) -> str:
    return "\n\n".join("\n".join(f"{key}: {value}" for key, value in row.items()) for row in rows)


def _cell_a_line(rows: _Rows) -> str:
    lines: Sequence[list[str]] = _cells(rows)
    return "\n\n".join("\n".join(line) for line in lines)


LAYOUTS: dict[str, Callable[[_Rows], str]] = {
    "pipes": _pipes,
    "aligned": _aligned,
    "tabs": _tabs,
    "records": _records,
    "cells": _cell_a_line,
}
