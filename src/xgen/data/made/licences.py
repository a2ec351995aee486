"""Tables of models and licences, in the layouts of layouts.py: which may be used commercially, may this one?

The licence of the code stands beside that of the weights, and the document says which of them decides. A
column says what is allowed, or a note says which licences forbid it, or a legend what a letter means, or the
licence itself must be known. Which models there are is answered row by row (text/rows.py).
"""

import random
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from xgen.data.made.layouts import LAYOUTS, Table
from xgen.data.made.page import Asked, Block, Page, common_licence, filled, joined
from xgen.data.made.tables import MOST_ROWS, amid, rows_asked
from xgen.data.made.texts import Filler

FREE = (
    "Apache-2.0", "MIT", "BSD-3-Clause", "Apache License 2.0", "MIT License", "CC-BY-4.0", "CC0-1.0",
    "MPL-2.0", "BSD-2-Clause", "CC-BY-SA-4.0", "BSL-1.0", "Apache 2.0", "CC BY 4.0", "public domain",
)  # fmt: skip
BOUND = (
    "CC-BY-NC-4.0",
    "CC-BY-NC-SA-4.0",
    "CC BY-NC 4.0",
    "academic use only",
    "non-commercial licence",
    "evaluation only",
    "research licence, no commercial use",
    "research only",
    "research only, no commercial use",
    "CC BY-NC-SA 4.0",
    "academic licence",
    "no commercial use",
    "non-commercial",
)
STEMS = (
    "Amaryllis", "Borealis", "Cirrus", "Delphin", "Estuary", "Falcata", "Granite", "Halyard", "Isobar",
    "Jasper", "Kestrel", "Lumen", "Meridian", "Nimbus", "Obsidian", "Pelican", "Quartz", "Ravelin",
    "Solstice", "Tamarind", "Umbra", "Vireo", "Wisteria", "Xenia", "Yarrow", "Zephyr",
)  # fmt: skip
SIZES = ("0.5B", "1.3B", "2B", "6B", "8B", "12B", "20B", "40B", "70B")
ENDINGS = ("", "-chat", "-instruct", "-base", "-v2", "-32k", "-code", "-32k-chat")

NAME_HEADS = ("Name", "Model name", "Checkpoint", "Release", "Model")
ONE_HEADS = ("Licence", "License", "Terms", "Licence terms")
"""Of a column that is the only one of licences."""

LICENCE_HEADS = ("Weights licence", "Model licence", "Licence (weights)", "License of the model")
CODE_HEADS = ("Code licence", "Licence (code)", "Source code license")
USE_HEADS = ("Commercial use", "Commercial", "Usable in products", "For profit use", "Commercial use allowed")
USES = (
    ("yes", "no"),
    ("allowed", "not allowed"),
    ("permitted", "forbidden"),
    ("✓", "✗"),
    ("Y", "N"),
    ("yes", "research only"),
)
WHICH = (
    "Which models can go into a product that is sold?",
    "Which of them are open to firms that sell what they build?",
    "Which models are not confined to unpaid use?",
    "Which of the models have terms without a ban on sales?",
    "Which models can we charge our customers for?",
    "What models are cleared for use in a paid service?",
    "Which of the models can be used commercially?",
    "Which models are allowed in a commercial product?",
    "List the models whose licence permits commercial use.",
    "Which ones can a company build a paid service on?",
    "What models here are free for commercial use?",
    "Which models can be used commercially?",
    "Which models may we put into a product that we sell?",
    "Which of them allow commercial use?",
    "Name all models that are cleared for commercial use.",
    "Which models can be part of a paid subscription?",
    "For which models do the terms leave room for business?",
    "Which ones may firms build paid apps on?",
)
HOW_MANY = (
    "How many models can go into a product that is sold?",
    "How many of them are open to paid services?",
    "How many of the models can be used commercially?",
    "How many models allow commercial use?",
)
WHICH_NOT = (
    "Which models must stay out of products that are sold?",
    "Which models are confined to unpaid use?",
    "Which of them keep a firm from charging money?",
    "With which models are sales ruled out?",
    "Which models cannot be part of a paid subscription?",
    "For which models do the terms leave no room for business?",
    "Which ones are closed to paid apps?",
    "Which of the models can't be used commercially?",
    "Which models are off limits for commercial use?",
    "List the models whose licence forbids commercial use.",
    "Which models are for research or other non-commercial purposes only?",
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
FORBIDDING = ("NC", "academic", "evaluation", "research", "non-commercial")
"""Words that licences have which exclude commercial use; `note` tells of them."""

MARKED = (
    "Licences marked {terms}",
    "Terms that say {terms}",
    "Models with {terms} terms",
    "Licences that speak of {terms} use",
    "All licences called {terms}",
    "Where a licence says {terms}, its models",
    "{terms}: models under such terms",
    "Models released as {terms}",
    "Those whose licence has the word {terms}",
)
FORBID = (
    "exclude commercial use",
    "rule out any product that is sold",
    "forbid use in products",
    "keep a firm from selling what it builds",
    "are no good for paid services",
    "do not go with commercial use",
    "stay out of everything that is sold",
    "leave no room for business",
    "are closed to firms",
    "go with unpaid work alone",
)
ALLOW = (
    "",
    "",
    " All others permit it.",
    " The rest is free for any use.",
    " Everything else can be used by firms, too.",
    " No other licence here does that.",
    " Those without such a word are open to business.",
)


LEGEND_MARKS = (
    ("A", "B"), ("1", "2"), ("open", "closed"), ("R", "P"), ("*", "**"), ("T3", "T7"), ("K", "M"),
    ("II", "IV"), ("green", "grey"), ("x1", "x2"), ("free", "bound"), ("C", "U"),
)  # fmt: skip
LEGENDS = (
    "Terms {free}: any use, also commercial. Terms {bound}: research and study only.",
    "{free}: may be used for any purpose. {bound}: may not be used commercially.",
    "“{free}” means that commercial use is allowed, “{bound}” that it is not.",
    "Legend: {free} = products may be built on it; {bound} = personal and academic use.",
    "{bound} no commercial use\n{free} commercial use permitted",
    "{bound}: no sale; {free}: sale allowed",
    "{free} – for firms and everybody else\n{bound} – for universities and private persons",
    "What is {bound} must stay out of products; what is {free} need not.",
    "Key: {bound} excludes whatever is sold, {free} excludes nothing.",
    "Use for gain is open with {free} and closed with {bound}.",
    "{free} stands for: paid services allowed. {bound} stands for: unpaid use alone.",
    "Only {free} lets a firm ask money for what it builds; {bound} does not.",
)
"""What letters or words say of a licence, and which of them stands for one that allows commercial use."""

SAYS = ("commercial use", "no commercial use")
"""What a reply says of a row's licence, where that is all there is to go by."""

GROUPED = (
    "{licence}: {names}",
    "{names} ({licence})",
    "* Under {licence}: {names}.",
    "The terms of {names} are: {licence}.",
    "Licensed as {licence} are {names}.",
)


@dataclass(frozen=True)
class Models:
    """A table of models; `licence` is a column of it, `code` and `use` may be missing.

    `legend` are the words that say what the licences' letters mean, "" where they speak for themselves.
    """

    table: Table
    allowed: tuple[bool, ...]
    licence: int
    code: int | None
    use: int | None
    legend: str = ""
    missing: tuple[str, ...] = ()
    """Names of the kind that are not in the table."""
    grouped: str = ""
    """How a licence's `{names}` are told, where there are lines of them instead of a table."""

    @property
    def deciding(self) -> int:
        """The column that says whether a model may be used commercially."""
        return self.licence if self.use is None else self.use


@cache
def _words() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(files("xgen.data.made").joinpath("models.toml").read_text("utf-8"))


ENGLISH: dict[str, Sequence[str]] = {
    "which": WHICH,
    "which_not": WHICH_NOT,
    "how_many": HOW_MANY,
    "may": MAY,
    "licence": LICENCE_OF,
    "code": CODE_OF,
    "cell": CELL_OF,
    "says": ("yes", "no"),
    "none": ("none",),
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
    layout = LAYOUTS[draw.choice(layouts)]
    table = _grouped(models) if models.grouped else layout(models.table, draw)
    lines = [draw.choice(OPENINGS)] if draw.random() < 0.7 else []
    after = [draw.choice(DECIDES)] if models.code is not None and draw.random() < 0.8 else []
    if models.use is None and not models.legend and draw.random() < 0.6:
        after.append(note(draw))
    notes = [models.legend] if models.legend else []
    notes += [" ".join(after)] if after else []
    if draw.random() < 0.2:
        lines, notes = [*lines, *notes], []
    table = joined([*map(Block, lines), table, *map(Block, notes)])
    page, licences = amid([table], filler, "en", draw, 0.35)
    name = f"licences-{asking}-{number}"
    asked = tuple(_questions(words, models, page, draw))
    return Page(name, "en", name, page.text, common_licence(licences), asked)


def drawn_models(draw: random.Random) -> Models:
    """Two to MOST_ROWS models; nearly always some may be used commercially and some may not."""
    n_rows = draw.randint(2, MOST_ROWS)
    names = model_names(n_rows + 2, draw)
    names, missing = names[:n_rows], tuple(names[n_rows:])
    n_free = draw.randint(1, n_rows - 1) if draw.random() < 0.93 else draw.choice((0, n_rows))
    allowed = [True] * n_free + [False] * (n_rows - n_free)
    draw.shuffle(allowed)
    rule = draw.choices(("use", "licence", "one", "legend"), (4, 4, 2, 2))[0]
    free, bound, legend = draw.sample(FREE, 3), draw.sample(BOUND, 3), ""
    if rule == "legend":
        free_mark, bound_mark = draw.sample(draw.choice(LEGEND_MARKS), 2)
        pattern = draw.choice(LEGENDS)
        free, bound, legend = [free_mark], [bound_mark], pattern.format(free=free_mark, bound=bound_mark)
    every_head: Sequence[str] = ONE_HEADS if rule in ("one", "legend") else LICENCE_HEADS
    columns: list[tuple[str, list[str]]] = [
        (draw.choice(every_head), [draw.choice(free if may else bound) for may in allowed])
    ]
    licence, code, use = columns[0][0], None, None
    if rule in ("use", "licence"):
        columns.append((code := draw.choice(CODE_HEADS), [draw.choice(FREE) for _ in names]))
    if rule == "use":
        yes, no = draw.choice(USES)
        columns.append((use := draw.choice(USE_HEADS), [yes if may else no for may in allowed]))
    others = [
        ("Context", [str(draw.choice((1024, 2048, 4096, 16384, 32768))) for _ in names]),
        ("Tokens seen", [f"{draw.choice((0.2, 0.5, 0.6, 1.2, 3, 15))}T" for _ in names]),
        ("Year", [str(draw.randint(2021, 2026)) for _ in names]),
        ("Maker", [f"{draw.choice(STEMS)} Labs" for _ in names]),
        ("Made from", [draw.choice(("scratch", "the base model", "instructions")) for _ in names]),
    ]
    columns += draw.sample(others, draw.randint(0, 3))
    draw.shuffle(columns)
    heads = [head for head, _ in columns]
    rows = [[name, *(cells[i] for _, cells in columns)] for i, name in enumerate(names)]
    place: dict[str | None, int] = {head: i for i, head in enumerate(heads, 1)}
    grouped = draw.choice(GROUPED) if rule == "one" and draw.random() < 0.5 else ""
    if grouped:
        rows = [[row[0], row[place[licence]]] for row in sorted(rows, key=lambda row: row[place[licence]])]
        heads, place = [licence], {licence: 1}
        allowed = [row[1] in free for row in rows]
    table = Table([draw.choice(NAME_HEADS), *heads], rows)
    return Models(
        table, tuple(allowed), place[licence], place.get(code), place.get(use), legend, missing, grouped
    )


def note(draw: random.Random) -> str:
    """A sentence, or two, that says which words in a licence exclude commercial use."""
    *terms, last = draw.sample(FORBIDDING, len(FORBIDDING))
    marked = draw.choice(MARKED).format(terms=f"{', '.join(terms)} or {last}")
    return f"{marked} {draw.choice(FORBID)}.{draw.choice(ALLOW)}"


def _grouped(models: Models) -> Block:
    """A line a licence, with the names of all models that come under it."""
    blocks = []
    for licence in dict.fromkeys(row[1] for row in models.table.rows):
        own = [(r, row[0]) for r, row in enumerate(models.table.rows) if row[1] == licence]
        names = joined([Block(name, {(r, 0): (0, len(name))}) for r, name in own], ", ")
        before, _, after = models.grouped.partition("{names}")
        line = joined(
            [filled(before, {"licence": licence}, 1), names, filled(after, {"licence": licence}, 1)], ""
        )
        place = line.marks[1, "licence"]
        blocks.append(Block(line.text, {**line.marks, **{(r, 1): place for r, _ in own}}))
    return joined(blocks, "\n")


def model_names(n: int, draw: random.Random) -> list[str]:
    """Names of models, most of them with a near twin; all in one way of naming."""
    stems = draw.sample(STEMS, draw.randint(1, 4))
    ways: tuple[Callable[[str, str, str], str], ...] = (
        lambda stem, size, ending: f"{stem}-{size}{ending}",
        lambda stem, size, ending: f"{stem}-{size}{ending}",
        lambda stem, size, ending: f"{stem} {size}{ending.replace('-', ' ')}",
        lambda stem, size, ending: f"{stem.lower()}-{size.lower()}{ending}",
        lambda stem, size, ending: f"{stem.lower()}-ai/{stem}{ending}-{size}",
        lambda stem, size, ending: f"{stem}{ending.title().replace('-', '')}_{size}",
    )
    way = draw.choice(ways)
    return draw.sample([way(stem, size, ending) for stem in stems for size in SIZES for ending in ENDINGS], n)


def _questions(
    words: Mapping[str, Sequence[str]], models: Models, page: Block, draw: random.Random
) -> list[Asked]:
    rows = models.table.rows
    names = [row[0] for row in rows]
    cells = [row[models.deciding] for row in rows]
    asked: list[Asked] = []
    for which, wanted, n in (
        ("which", True, 2),
        ("which_not", False, draw.randint(0, 1)),
        ("how_many", True, draw.randint(0, 1)),
    ):
        holds = [may is wanted for may in models.allowed]
        says = [] if models.use is not None else [SAYS[0 if may else 1] for may in models.allowed]
        none, counted = words["none"][0], which == "how_many"
        asked += [
            rows_asked(pattern, names, cells, holds, page, models.deciding, none, counted, says)
            for pattern in draw.sample(words[which], n)
        ]
    for r in draw.sample(range(len(rows)), min(len(rows), 3)):
        answer = words["says"][0 if models.allowed[r] else 1]
        place = page.marks.get((r, models.deciding))
        question = draw.choice(words["may"]).format(name=names[r])
        asked.append(Asked(question, "yesno", answer, (place,) if place else ()))
    for r in draw.sample(range(len(rows)), min(len(rows), 5)):
        name = names[r]
        columns = [(models.licence, words["licence"])]
        columns += [(models.code, words["code"])] if models.code is not None else []
        for column, patterns in columns:
            if (place := page.marks.get((r, column))) and draw.random() < 0.5:
                question = draw.choice(patterns).format(name=name)
                asked.append(Asked(question, "extractive", rows[r][column], (place,)))
        column = draw.randrange(1, len(models.table.head))
        is_other = "cell" in words and column not in (models.licence, models.code)
        if is_other and (place := page.marks.get((r, column))) and draw.random() < 0.5:
            question = draw.choice(words["cell"]).format(name=name, column=models.table.head[column])
            asked.append(Asked(question, "extractive", rows[r][column], (place,)))
    for missing in draw.sample(models.missing, draw.randint(0, 2)):
        if missing not in page.text:
            pattern = draw.choice((*words["licence"], *words["may"]))
            asked.append(Asked(pattern.format(name=missing), "unanswerable"))
    draw.shuffle(asked)
    return asked
