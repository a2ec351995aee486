"""Articles about a family of models: what its members are, and under which licences they come.

The licence of a member is told in running text, in a table of the family's properties, or in the table of its
members; what is asked about is called by its part ("the chat model") or its name. A note about the code, or
about what others say, has the wrong licence.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xgen.data.made.layouts import LAYOUTS, Table
from xgen.data.made.licences import FREE, HOW_MANY, LICENCE_OF, MAY, SAYS, STEMS, WHICH, WHICH_NOT
from xgen.data.made.page import Asked, Block, Page, Span, common_licence, filled, joined
from xgen.data.made.tables import amid
from xgen.data.made.texts import Filler
from xgen.text.rows import Entry, row_reply

PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "base": (("base model",), ("base model", "pretrained model", "base version")),
    "chat": (("chat model", "conversation model"), ("chat model", "chat version", "chat variant")),
    "it": (("instruction model", "instruction-tuned model"), ("instruct model", "instruction model")),
    "tuned": (("tuned model", "assistant"), ("tuned model", "assistant", "tuned version")),
    "coder": (("code model", "model for programmers"), ("code model", "coding variant")),
    "math": (("maths model",), ("maths model", "model for mathematics")),
    "embed": (("embedding model",), ("embedding model", "model for embeddings")),
    "vision": (("vision model",), ("vision model", "model that sees pictures")),
}
"""Endings of members' names: what a document calls such a member, and what a question does."""
TALKING = ("chat", "it", "tuned")
"""Endings of members that nobody could tell apart by what they are called: a family has one of them."""

FREE_TOLD = (
    "The {part} comes under the {licence} licence, so companies may build on it.",
    "For the {part} the licence is {licence}; commercial use is fine.",
    "Anyone can use the {part} in a product, since it is licensed as {licence}.",
    "{licence} holds for the {part}.",
)
BOUND_TOLD = {
    "research only": (
        "The {part} is another matter: {licence}, and no products.",
        "For the {part} the terms are {licence}.",
        "Whoever takes the {part} is bound to terms that say {licence}.",
    ),
    "CC-BY-NC-4.0": (
        "The {part} carries {licence} instead, which rules out business use.",
        "{licence} applies to the {part}, so it stays out of products.",
    ),
    "academic use only": (
        "The {part} is offered for {licence}.",
        "Terms differ for the {part}: {licence}.",
    ),
    "non-commercial": ("The {part} is strictly {licence}.", "With the {part} all use must be {licence}."),
    "evaluation only": (
        "The {part} may be downloaded for {licence}.",
        "The {part}'s page says {licence}.",
    ),
}
APART = (
    "The {part} is an exception. Its page says: {licence}.",
    "It is otherwise with the {part}. Whoever downloads it agrees to terms that read {licence}.",
    "This does not hold for the {part}, which is {licence}.",
    "Not so the {part}: its terms are {licence}.",
    "The {part} may not go into products; it is {licence}.",
)
"""How a member that is not free is set against the others, whatever its licence."""

NOT_ITS = (
    "A reader asked in {month} to have it marked {wrong}; so far nobody did.",
    "Some sites show {wrong} for it all the same, by mistake.",
    "It has often been listed as {wrong}, and that is an error.",
    "That it is {wrong} has been claimed, but its makers never said so.",
)
"""What follows about such a member, with a licence that it does not have."""

TOGETHER = (
    "{parts} may go into products: they are {licence}.",
    "{parts} come under {licence} and may be sold with what is built on them.",
    "{licence} is the licence of {parts}.",
)
"""How several free members are told at once."""

OPENINGS = (
    "{family} is a line of language models that {maker} put online in {year}. It has {number} members.",
    "In {year} {maker} opened {number} models of one family, {family}, and described them in a report.",
    "{maker} is the maker of {family}, {number} models that came out in {year}.",
)
WRONG = (
    "The training code is a separate matter; it is published under {wrong}.",
    "Some directories list everything in the family as {wrong}, which is not so.",
    "The tokenizer's files are {wrong}, like the scripts.",
    "A pull request suggested {wrong} for all of it and was never merged.",
)
PROPERTIES = (
    ("maker", "{maker}"),
    ("first release", "{year}"),
    ("training data", "{tokens} trillion tokens"),
    ("layers", "{layers}"),
    ("longest input", "{window} tokens"),
)
LICENCE_LABELS = ("licence, {part}", "licence of the {part}", "terms ({part})")
LICENCE_OF_PART = (
    "Which licence covers the {part}?",
    "What are the licence terms of the {part}?",
    "Under which licence was the {part} published?",
    "How is the {part} licensed?",
    "Under what licence does the {part} come?",
)
MAY_PART = (
    "May the {part} be used commercially?",
    "Can the {part} be part of a commercial product?",
    "Is commercial use of the {part} allowed?",
)
OTHERS = (
    ("maker", ("Who made {family}?", "Who is the maker of {family}?")),
    ("year", ("When did {family} come out?", "In which year was {family} published?")),
)
MOST_MEMBERS = 5  # fewer than there are parts


@dataclass(frozen=True)
class Member:
    """A model of a family; `part` is what the document calls it, `asked` what a question does."""

    name: str
    part: str
    asked: str
    licence: str
    is_free: bool


def pages(filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` articles in English."""
    for number in range(n_pages):
        yield _page(filler, number, seed)


def _page(filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"families {number} {seed}")
    family = f"{draw.choice(STEMS)}-{draw.choice(('2', '3', '6B', '8B', '12B', 'XL'))}"
    members = drawn_members(family, draw)
    values = {
        "family": family,
        "maker": f"{draw.choice(('Northgate', 'Calder', 'Oriel', 'Tallis', 'Westmoor'))} "
        f"{draw.choice(('Labs', 'Research', 'University', 'Institute', 'AI'))}",
        "year": str(draw.randint(2019, 2026)),
        "number": str(len(members)),
        "tokens": str(draw.choice((0.4, 1.1, 2.5, 6, 9))),
        "layers": str(draw.choice((16, 24, 28, 40, 48))),
        "window": str(draw.choice((1024, 4096, 16384, 65536))),
    }
    table = _members_table(members, draw)
    told = _told(members, draw)
    parts = [
        filled(draw.choice(OPENINGS), values, "family"),
        table,
        joined([Block("## Licences"), joined(told, " ")]),
    ]
    if draw.random() < 0.6:
        parts.insert(1, _properties(members, values, draw))
    if draw.random() < 0.4:
        parts.append(_licence_table(members, draw))
    if draw.random() < 0.3:
        parts = [parts[0], *draw.sample(parts[1:], len(parts) - 1)]
    text, licences = amid(parts, filler, "en", draw, 0.5)
    name = f"families-en-{number}"
    asked = [*_asked(members, text, draw), *_others(values, text, draw)]
    draw.shuffle(asked)
    return Page(name, "en", name, text.text, common_licence(licences), tuple(asked))


def drawn_members(family: str, draw: random.Random) -> list[Member]:
    """Two to MOST_MEMBERS members of different parts; the base is free more often than what is tuned."""
    others = draw.sample(sorted(set(PARTS) - set(TALKING) - {"base"}), draw.randint(0, MOST_MEMBERS - 2))
    endings = draw.sample(["base", draw.choice(TALKING), *others], 2 + len(others))
    bound, free = draw.choice(sorted(BOUND_TOLD)), draw.choice(FREE)
    members = []
    for ending in endings:
        is_free = draw.random() < (0.75 if ending == "base" else 0.45)
        called, asked = PARTS[ending]
        name = f"{family}-{ending}"
        members.append(
            Member(name, draw.choice(called), draw.choice(asked), free if is_free else bound, is_free)
        )
    return members


def _told(members: Sequence[Member], draw: random.Random) -> list[Block]:
    """Sentences with the licence of every member, and some with one that is not theirs."""
    wrong = draw.choice([licence for licence in FREE if licence not in {m.licence for m in members}])
    free = [i for i, member in enumerate(members) if member.is_free]
    is_together = len(free) > 1 and draw.random() < 0.5
    told = [[_told_together(members, free, draw)]] if is_together else []
    for i, member in enumerate(members):
        values = {"part": member.part, "licence": member.licence}
        if member.is_free:
            told += [] if is_together else [[filled(draw.choice(FREE_TOLD), values, i)]]
            continue
        is_apart = draw.random() < 0.5
        told.append([filled(draw.choice(APART if is_apart else BOUND_TOLD[member.licence]), values, i)])
        if draw.random() < 0.4:
            month = draw.choice(("May", "the autumn", "2025", "an open letter"))
            told[-1].append(Block(draw.choice(NOT_ITS).format(month=month, wrong=wrong)))
    if draw.random() < 0.6:
        told.append([Block(draw.choice(WRONG).format(wrong=wrong))])
    if draw.random() < 0.3:
        told = draw.sample(told, len(told))
    return [block for blocks in told for block in blocks]


def _told_together(members: Sequence[Member], free: Sequence[int], draw: random.Random) -> Block:
    """One sentence for all free members."""
    names = [f"the {members[i].part}" for i in free]
    parts = f"{', '.join(names[:-1])} and {names[-1]}"
    block = filled(draw.choice(TOGETHER), {"parts": parts, "licence": members[free[0]].licence}, "free")
    place = block.marks["free", "licence"]
    text = f"T{block.text[1:]}" if block.text.startswith("the ") else block.text
    return Block(text, {(i, "licence"): place for i in free})


def _members_table(members: Sequence[Member], draw: random.Random) -> Block:
    """What the members are, without their licences, as their names are known from it alone."""
    fit = sorted(set(LAYOUTS) - {"transposed", "wrapped"})
    tokens = [str(draw.choice((1024, 4096, 16384, 65536))) for _ in members]
    made = [draw.choice(("from scratch", "from another member", "on dialogues")) for _ in members]
    rows = [[m.name, t, how, m.part] for m, t, how in zip(members, tokens, made, strict=True)]
    table = Table(["Member", "Longest input", "Trained", "What it is"], rows)
    block = LAYOUTS[draw.choice(fit)](table, draw)
    return Block(block.text, {("name", r): place for (r, c), place in block.marks.items() if c == 0})


def _properties(members: Sequence[Member], values: dict[str, str], draw: random.Random) -> Block:
    """Labels and values, the licences among them."""
    label = draw.choice(LICENCE_LABELS)
    rows = [[key, value.format(**values)] for key, value in draw.sample(PROPERTIES, 3)]
    rows += [[label.format(part=member.part), member.licence] for member in members]
    names = ("pipes", "bare pipes", "aligned", "semicolons", "tabs")
    table = Table([draw.choice(("Property", "What")), draw.choice(("Value", "Answer"))], rows)
    return Block(LAYOUTS[draw.choice(names)](table, draw).text)


def _licence_table(members: Sequence[Member], draw: random.Random) -> Block:
    """The members' licences once more, beside that of what is no model."""
    rows = [[m.name, m.licence, "yes" if m.is_free else "no"] for m in members]
    rows.append([draw.choice(("tokenizer", "scripts", "training code")), draw.choice(FREE), "yes"])
    fit = sorted(set(LAYOUTS) - {"transposed", "wrapped"})
    table = Table(["What", "Licence", "Commercial use"], rows)
    return Block(LAYOUTS[draw.choice(fit)](table, draw).text)


def _asked(members: Sequence[Member], text: Block, draw: random.Random) -> Iterator[Asked]:
    names = [member.name for member in members]
    place: Span | None
    patterns: Sequence[str]
    for wanted, patterns, counted in (
        (True, WHICH, False),
        (False, WHICH_NOT, False),
        (True, HOW_MANY, True),
    ):
        if counted and draw.random() < 0.6:
            continue
        entries = [
            Entry(m.name, m.licence, m.is_free is wanted, SAYS[0 if m.is_free else 1]) for m in members
        ]
        marks = [text.marks.get(("name", i)) for i in range(len(names))]
        marks += [text.marks.get((i, "licence")) for i in range(len(names))]
        places = tuple(place for place in marks if place is not None)
        yield Asked(draw.choice(patterns), "free", str(row_reply(entries, counted=counted)), places)
    for i, member in enumerate(members):
        place = text.marks.get((i, "licence"))
        if place is None:
            continue
        patterns = LICENCE_OF_PART if draw.random() < 0.75 else LICENCE_OF
        question = draw.choice(patterns).format(part=member.asked, name=member.name)
        yield Asked(question, "extractive", member.licence, (place,))
        if draw.random() < 0.5:
            patterns = MAY_PART if draw.random() < 0.75 else MAY
            question = draw.choice(patterns).format(part=member.asked, name=member.name)
            yield Asked(question, "yesno", "yes" if member.is_free else "no", (place,))
    missing = [ending for ending in PARTS if not any(ending == name.rpartition("-")[2] for name in names)]
    ending = draw.choice([ending for ending in missing if ending not in TALKING])
    if draw.random() < 0.6:
        part = draw.choice(PARTS[ending][1])
        yield Asked(draw.choice((*LICENCE_OF_PART, *MAY_PART)).format(part=part), "unanswerable")


def _others(values: dict[str, str], text: Block, draw: random.Random) -> Iterator[Asked]:
    for slot, patterns in OTHERS:
        question = draw.choice(patterns).format(**values)
        yield Asked(question, "extractive", values[slot], (text.marks["family", slot],))
