"""Tables beside rules in words, and which of their rows the rules let do what: a note decides, not habit.

The rules are over tickets, medicines, licences and many other things (rules/LANG.toml): a key says what
made-up terms mean, a sentence what holds for those above a number, before a date, of some kinds, or for all
others, footnotes what a mark forbids. The reply goes through the rows; of each it has the cell that decides
and what the rule says of it.
Absent: what no rule speaks of.
"""

import random
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from xgen.data.made.conditions import Ruled, drawn_columns, marked
from xgen.data.made.licences import model_names
from xgen.data.made.notes import Aspect, Rule, footnotes, key, sentence
from xgen.data.made.page import Asked, Block, Page, Span, common_licence, joined
from xgen.data.made.tables import MOST_ROWS, amid, names_of, written
from xgen.data.made.texts import Filler
from xgen.data.made.words import asks_of
from xgen.text.rows import Entry, RowReply, row_reply

RULED_IN = tuple(
    sorted(
        file.name.removesuffix(".toml")
        for file in files("xgen.data.made").joinpath("rules").iterdir()
        if file.name.endswith(".toml")
    )
)
"""The languages that rules are told and asked in."""

ROWS = (6, 9, MOST_ROWS)
"""Of a table, at most; fewer than others have, for many short ones have more rules than a few long ones."""

MOST_RULES = 3
SLOTS, NEGATED = ("pos", "neg", "yes", "no"), ("neg", "pos", "no", "yes")
"""Of a question for those that an aspect holds for, and what stands there where it is for the others."""

FILLED_SHARE = 0.25
_NOTE = "note"
"""The mark of a note in a page."""


@cache
def words_in(language: str) -> dict[str, Any]:
    """The words of a language of RULED_IN."""
    data = files("xgen.data.made").joinpath("rules", f"{language}.toml").read_text("utf-8")
    return tomllib.loads(data)


@dataclass(frozen=True)
class Sheet:
    """A table of `rows` with its `rules` and the note that tells them.

    `missing` is a name that is not in it, `silent` are aspects that no rule speaks of.
    """

    rows: str
    names: tuple[str, ...]
    missing: str
    columns: tuple[Ruled, ...]
    note: Block
    rules: tuple[Rule, ...]
    silent: tuple[Aspect, ...]


def pages(language: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents with a table and rules, told and asked in `language`."""
    for number in range(n_pages):
        yield _page(language, filler, number, seed)


def _page(language: str, filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"rules {language} {number} {seed}")
    sheet = drawn_sheet(language, draw)
    head = draw.choice((asks_of(language)["heads"][0], sheet.rows))
    blocks = [written(sheet.names, head[:1].upper() + head[1:], sheet.columns, draw), sheet.note]
    if draw.random() < 0.4:
        blocks.reverse()
    if draw.random() < 0.6:  # else other text may stand between them
        blocks = [joined(blocks)]
    page, licences = amid(blocks, filler, language, draw, FILLED_SHARE)
    asked = _asked(language, sheet, page, draw)
    name = f"rules-{language}-{number}"
    return Page(name, language, name, page.text, common_licence(licences), tuple(asked))


def drawn_sheet(language: str, draw: random.Random) -> Sheet:
    """A table and its rules: by a key to the codes of a column, by footnotes, by sentences, or by several."""
    words = words_in(language)
    weights = [domain.get("weight", 1) for domain in words["domain"]]
    (domain,) = draw.choices(words["domain"], weights)
    rows = draw.choice(domain["rows"])
    n = draw.randint(2, draw.choice(ROWS))
    *names, missing = (
        model_names(n + 1, draw)
        if domain.get("models")
        else names_of(language, {"people": False, **domain}, n + 1, draw)
    )
    columns = drawn_columns(language, words, domain["columns"], n, draw)
    aspects = [words["aspects"][a] if isinstance(a, str) else a for a in domain["aspects"]]
    if draw.random() < 0.4:  # else the first one, which matters most, comes first
        aspects = draw.sample(aspects, len(aspects))
    parts: list[Block] = []
    rules: list[Rule] = []
    coded = [c for c, column in enumerate(columns) if "codes" in column.words]
    plain = [c for c in range(len(columns)) if c not in coded and columns[c].way != "family"]
    if coded and draw.random() < 0.5:
        block, told = key(words, columns, coded[0], aspects[: draw.randint(1, MOST_RULES)], draw)
        parts.append(block)
        rules += told
    elif plain and draw.random() < 0.25:
        c = draw.choice(plain)
        columns[c] = marked(columns[c], draw)
        if any(column.way == "family" for column in columns):  # what no mark says, a licence might
            aspects.sort(key=lambda aspect: bool(aspect.get("habit")))
        rules += footnotes(words, columns, c, aspects[: draw.randint(1, 2)], draw)
        parts.append(Block(draw.choice(("\n", "\n", "; ")).join(rule.text for rule in rules)))
    if not rules or draw.random() < 0.3:
        n_more = draw.randint(1, 2 if rules else MOST_RULES)
        more = aspects[len(rules) : len(rules) + n_more]
        told = [sentence(words, rows, columns, aspect, draw) for aspect in more]
        parts += _in_order(words, [rule.text for rule in told], draw)
        rules += told
    note = joined(draw.sample(parts, len(parts)))
    note = Block(note.text, {**note.marks, _NOTE: (0, len(note.text))})
    silent = tuple(aspects[len(rules) :])
    return Sheet(rows, tuple(names), missing, tuple(columns), note, tuple(rules), silent)


def _in_order(words: Mapping[str, Any], told: Sequence[str], draw: random.Random) -> list[Block]:
    """Sentences as a paragraph or a list, with a title or a word on what is usual elsewhere, at times."""
    if not told:
        return []
    note = words["note"]
    title = draw.choice(note["title"])
    if draw.random() < 0.2:
        told = draw.sample([*told, draw.choice(note["habit"])], len(told) + 1)
    if draw.random() < 0.5:
        item = draw.choice(note["item"])
        text = "\n".join(item.format(text=each, number=i) for i, each in enumerate(told, 1))
    else:
        text = words["gap"].join(told)
    return [Block(f"{title}\n{text}" if title else text)]


def _asked(language: str, sheet: Sheet, page: Block, draw: random.Random) -> list[Asked]:
    words = words_in(language)
    asked: list[Asked] = []
    for rule in sheet.rules:
        for _ in range(draw.randint(2, 4)):
            asked.append(_ruled(words, sheet, rule, page, draw))
    for aspect in sheet.silent[: draw.randint(0, 1)]:
        asked.append(
            Asked(_question(words, sheet, aspect, "which", draw.random() < 0.5, draw), "unanswerable")
        )
    if sheet.missing not in page.text and draw.random() < 0.4:
        aspect = draw.choice(sheet.rules).aspect
        question = _question(words, sheet, aspect, "among", draw.random() < 0.5, draw, sheet.missing)
        asked.append(Asked(question, "unanswerable"))
    asked += _looked_up(words, sheet, page, draw)
    once = {each.question: each for each in reversed(asked)}
    return draw.sample(list(once.values()), len(once))


def _ruled(words: Mapping[str, Any], sheet: Sheet, rule: Rule, page: Block, draw: random.Random) -> Asked:
    """A question that a rule answers: which rows, how many, or one alone; for those that may, or may not."""
    way = draw.choices(("which", "inverted", "count", "among"), (5, 1, 1, 3))[0]
    wanted = draw.random() < 0.5
    some = [draw.randrange(len(sheet.names))] if way == "among" else range(len(sheet.names))
    question = _question(words, sheet, rule.aspect, way, wanted, draw, sheet.names[some[0]])
    cells_of = [sheet.columns[rule.decides[r]].cells[r] for r in some]
    entries = [
        Entry(sheet.names[r], cell, rule.holds[r] is wanted, rule.says[r])
        for r, cell in zip(some, cells_of, strict=True)
    ]
    if way == "among":
        reply = RowReply(tuple(entries), words["says"][0 if entries[0].holds else 1])
    else:
        reply = row_reply(entries, words["none"], way == "count")
    cells = [page.marks.get((r, c)) for r in some for c in (0, rule.decides[r] + 1)]
    places: list[Span] = [place for place in (*cells, page.marks[_NOTE]) if place is not None]
    return Asked(question, "free", str(reply), tuple(places))


def _question(
    words: Mapping[str, Any],
    sheet: Sheet,
    aspect: Aspect,
    way: str,
    wanted: bool,
    draw: random.Random,
    name: str = "",
) -> str:
    """Words of a question for the rows that an aspect holds for, or (not `wanted`) does not hold for."""
    own = SLOTS if wanted else NEGATED
    slots = {"rows": sheet.rows, "name": name}
    slots |= {slot: draw.choice(aspect[said]) for slot, said in zip(SLOTS, own, strict=True)}
    return str(draw.choice(words["ask"][way]).format(**slots))


def _looked_up(words: Mapping[str, Any], sheet: Sheet, page: Block, draw: random.Random) -> Iterator[Asked]:
    """What a code means, and what stands in a cell: answered in a word."""
    keys = [mark for mark in page.marks if mark[0] == "key"]
    column = next((column for column in sheet.columns if "codes" in column.words), None)
    if keys and column and draw.random() < 0.5:
        mark = draw.choice(keys)
        start, end = page.marks[mark]
        slots = {"code": mark[1], "head": column.head, "noun": column.words["noun"]}
        question = draw.choice(words["ask"]["means"]).format(**slots)
        yield Asked(question, "extractive", page.text[start:end], ((start, end),))
    for r in draw.sample(range(len(sheet.names)), min(2, len(sheet.names))):
        c = draw.randrange(len(sheet.columns))
        column, place = sheet.columns[c], page.marks.get((r, c + 1))
        if place is not None and draw.random() < 0.5:
            slots = {"name": sheet.names[r], "head": column.head, "noun": column.words["noun"]}
            question = draw.choice(words["ask"]["cell"]).format(**slots)
            yield Asked(question, "extractive", column.cells[r], (place,))
