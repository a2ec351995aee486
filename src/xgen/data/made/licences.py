"""Tables of models and licences, in the layouts of layouts.py: which may be used commercially, may this one?

The licence of the code stands beside that of the weights, and the document says which of them decides. Either
a column says what is allowed, or a note says which licences forbid it, or the licence itself must be known.
"""

import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xgen.data.made.facts import OWN_LICENCE
from xgen.data.made.layouts import LAYOUTS, Table
from xgen.data.made.page import Asked, Block, Page, common_licence, joined
from xgen.data.made.texts import Filler, drawn_length

CHARACTERS = (2_000, 28_000)

FREE = ("Apache-2.0", "MIT", "BSD-3-Clause", "Apache License 2.0", "MIT License", "CC-BY-4.0", "CC0-1.0")
BOUND = (
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC BY-NC 4.0",
    "academic use only",
    "non-commercial licence",
    "evaluation only",
    "research licence, no commercial use",
)
STEMS = (
    "Amaryllis", "Borealis", "Cirrus", "Delphin", "Estuary", "Falcata", "Granite", "Halyard", "Isobar",
    "Jasper", "Kestrel", "Lumen", "Meridian", "Nimbus", "Obsidian", "Pelican", "Quartz", "Ravelin",
    "Solstice", "Tamarind", "Umbra", "Vireo", "Wisteria", "Xenia", "Yarrow", "Zephyr",
)  # fmt: skip
SIZES = ("0.5B", "1.3B", "2B", "6B", "8B", "12B", "20B", "40B", "70B")
ENDINGS = ("", "-chat", "-instruct", "-base", "-v2", "-32k", "-code", "-32k-chat")

NAME_HEADS = ("Name", "Model name", "Checkpoint", "Release")
LICENCE_HEADS = ("Weights licence", "Model licence", "Licence (weights)", "License of the model")
CODE_HEADS = ("Code licence", "Licence (code)", "Source code license")
USE_HEADS = ("Commercial use", "Commercial", "Usable in products", "For profit use")
USES = (("yes", "no"), ("allowed", "not allowed"), ("permitted", "forbidden"), ("✓", "✗"), ("Y", "N"))
WHICH = (
    "Which of the models can be used commercially?",
    "Which models are allowed in a commercial product?",
    "List the models whose licence permits commercial use.",
    "Which ones can a company build a paid service on?",
    "What models here are free for commercial use?",
)
WHICH_NOT = (
    "Which of the models can't be used commercially?",
    "Which models are off limits for commercial use?",
    "List the models whose licence forbids commercial use.",
)
MAY = (
    "Can {name} be used commercially?",
    "Is commercial use of {name} permitted?",
    "Does the licence of {name} allow commercial use?",
    "Are we allowed to sell a product that uses {name}?",
)
LICENCE_OF = (
    "What is the licence of {name}?",
    "Under which licence are the weights of {name} released?",
    "How is {name} licensed?",
)
CODE_OF = ("Under which licence is the code of {name}?", "What licence does the code of {name} have?")
CELL_OF = (
    "What does the table say about {name} under “{column}”?",
    "{column} of {name}?",
    "What is the {column} of {name}?",
)
OPENINGS = (
    "The following models are available.",
    "Overview of the checkpoints and the terms that they come under.",
    "All releases of the last three years, with their terms of use.",
    "Models compared in this report are listed below.",
)
DECIDES = (
    "What may be done with a model depends on the licence of the weights, not on that of the code.",
    "The weights have a licence of their own, and it is the one that counts for commercial use.",
    "Note that the code's licence does not cover the weights.",
)
NOTES = (
    "Licences marked NC, and those for academic, evaluation or research use, exclude commercial use.",
    "No commercial use is possible under NC, academic, research and evaluation terms.",
    "Terms that say NC, non-commercial, academic, evaluation or research forbid use in products.",
)


@dataclass(frozen=True)
class Models:
    """A table of models; `licence`, `code` and `use` are columns of it, `use` may be missing."""

    table: Table
    allowed: tuple[bool, ...]
    licence: int
    code: int
    use: int | None


@cache
def _words() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(files("xgen.data.made").joinpath("models.toml").read_text("utf-8"))


ENGLISH: dict[str, Sequence[str]] = {
    "which": WHICH,
    "which_not": WHICH_NOT,
    "may": MAY,
    "licence": LICENCE_OF,
    "code": CODE_OF,
    "cell": CELL_OF,
    "says": ("yes", "no"),
}
ASKED_IN = ("en", *_words())
"""Languages in which the tables are asked about; all of them are English."""


def pages(asking: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents in English with a table, asked about in the language `asking`."""
    words = ENGLISH if asking == "en" else _words()[asking]
    for number in range(n_pages):
        yield _page(asking, words, filler, number, seed)


def _page(asking: str, words: Mapping[str, Sequence[str]], filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"licences {asking} {number} {seed}")
    models = drawn_models(draw)
    layouts = [name for name in LAYOUTS if len(models.table.rows) <= 5 or name != "transposed"]
    table = LAYOUTS[draw.choice(layouts)](models.table, draw)
    lines = [draw.choice(OPENINGS)] if draw.random() < 0.7 else []
    after = [draw.choice(DECIDES)] if draw.random() < 0.8 else []
    if models.use is None and draw.random() < 0.6:
        after.append(draw.choice(NOTES))
    blocks = [*map(Block, lines), table, *([Block(" ".join(after))] if after else [])]
    licences = {OWN_LICENCE}
    if filler and draw.random() < 0.5:
        length = drawn_length("en", draw, CHARACTERS) - len(table.text)
        between, others = filler.draw(draw, length)
        licences |= others
        at = draw.randint(0, len(between))
        blocks = [*between[:at], *blocks, *between[at:]]
    page = joined(blocks)
    name = f"licences-{asking}-{number}"
    asked = tuple(_questions(words, models, page, draw))
    return Page(name, "en", name, page.text, common_licence(licences), asked)


def drawn_models(draw: random.Random) -> Models:
    """Three to nine models of which at least one may be used commercially and one may not."""
    n_rows = draw.randint(3, 9)
    stems = draw.sample(STEMS, draw.randint(2, 4))
    every = [f"{stem}-{size}{ending}" for stem in stems for size in SIZES for ending in ENDINGS]
    names = draw.sample(every, n_rows)
    n_free = draw.randint(1, n_rows - 1)
    allowed = [True] * n_free + [False] * (n_rows - n_free)
    draw.shuffle(allowed)
    yes, no = draw.choice(USES)
    free, bound = draw.sample(FREE, 3), draw.sample(BOUND, 3)
    columns: list[tuple[str, list[str]]] = [
        (draw.choice(LICENCE_HEADS), [draw.choice(free if may else bound) for may in allowed]),
        (draw.choice(CODE_HEADS), [draw.choice(FREE) for _ in names]),
    ]
    if has_use := draw.random() < 0.5:
        columns.append((draw.choice(USE_HEADS), [yes if may else no for may in allowed]))
    others = [
        ("Context", [str(draw.choice((1024, 2048, 4096, 16384, 32768))) for _ in names]),
        ("Tokens seen", [f"{draw.choice((0.2, 0.5, 0.6, 1.2, 3, 15))}T" for _ in names]),
        ("Year", [str(draw.randint(2021, 2026)) for _ in names]),
        ("Maker", [f"{draw.choice(STEMS)} Labs" for _ in names]),
    ]
    columns += draw.sample(others, draw.randint(0, 3))
    licence, code = columns[0][0], columns[1][0]
    use = columns[2][0] if has_use else None
    draw.shuffle(columns)
    heads = [head for head, _ in columns]
    rows = [[name, *(cells[i] for _, cells in columns)] for i, name in enumerate(names)]
    table = Table([draw.choice(NAME_HEADS), *heads], rows)
    place = {head: i for i, head in enumerate(heads, 1)}
    return Models(table, tuple(allowed), place[licence], place[code], place[use] if use else None)


def _questions(
    words: Mapping[str, Sequence[str]], models: Models, page: Block, draw: random.Random
) -> list[Asked]:
    rows = models.table.rows
    names = [row[0] for row in rows]
    asked: list[Asked] = []
    for which, wanted, n in (
        (words["which"], True, 2),
        (words["which_not"], False, draw.randint(0, 1)),
    ):
        right = [r for r, may in enumerate(models.allowed) if may is wanted]
        asked += [_set(pattern, right, names, page) for pattern in draw.sample(which, n)]
    for r in draw.sample(range(len(rows)), min(len(rows), 4)):
        answer = words["says"][0 if models.allowed[r] else 1]
        asked.append(
            Asked(
                draw.choice(words["may"]).format(name=names[r]), "yesno", answer, _place_of(page, r, models)
            )
        )
    for r, name in enumerate(names):
        columns: tuple[tuple[int, Sequence[str]], ...] = (
            (models.licence, words["licence"]),
            (models.code, words["code"]),
        )
        for column, patterns in columns:
            if (place := page.marks.get((r, column))) and draw.random() < 0.6:
                question = draw.choice(patterns).format(name=name)
                asked.append(Asked(question, "extractive", rows[r][column], (place,)))
        column = draw.randrange(1, len(models.table.head))
        is_other = "cell" in words and column not in (models.licence, models.code)
        if is_other and (place := page.marks.get((r, column))):
            question = draw.choice(words["cell"]).format(name=name, column=models.table.head[column])
            asked.append(Asked(question, "extractive", rows[r][column], (place,)))
    for _ in range(draw.randint(1, 3)):
        stem, size, ending = draw.choice(names).partition("-")[0], draw.choice(SIZES), draw.choice(ENDINGS)
        missing = f"{stem}-{size}{ending}"
        if not any(missing in name for name in names):
            pattern = draw.choice((*words["licence"], *words["may"]))
            asked.append(Asked(pattern.format(name=missing), "unanswerable"))
    draw.shuffle(asked)
    return asked


def _set(question: str, right: Sequence[int], names: Sequence[str], page: Block) -> Asked:
    places = [place for r in right if (place := page.marks.get((r, 0)))]
    return Asked(question, "free", ", ".join(names[r] for r in right), tuple(places))


def _place_of(page: Block, r: int, models: Models) -> tuple[tuple[int, int], ...]:
    column = models.licence if models.use is None else models.use
    place = page.marks.get((r, column))
    return (place,) if place else ()
