"""Keys asked back from lists and tables whose other keys are near twins, scattered through a text.

A key and its twin differ by one sign or by two that changed places. Absent: a twin that no list has.
"""

import math
import random
import string
from collections.abc import Callable, Iterator, Sequence

from xgen.data.made.facts import OWN_LICENCE
from xgen.data.made.layouts import LAYOUTS, Table
from xgen.data.made.page import Asked, Block, Page, common_licence, joined
from xgen.data.made.texts import Filler, drawn_length
from xgen.data.made.words import asks_of, words_of

CHARACTERS = (2_000, 30_000)
ABSENT_SHARE = 0.15
MOST_ASKED = 36
_WIDE_LAYOUTS = ("transposed",)
"""Layouts for short tables only."""

_VOWELS, _CONSONANTS = "aeiou", "bdfgklmnprstv"
_PARTS = (
    "cache",
    "read",
    "write",
    "limit",
    "queue",
    "index",
    "retry",
    "log",
    "disk",
    "page",
    "user",
    "socket",
)

Draw = random.Random


def _code(draw: Draw) -> str:
    return "".join(draw.choices(string.ascii_uppercase, k=2)) + f"-{draw.randint(1000, 9999)}"


def _setting(draw: Draw) -> str:
    return ".".join(draw.sample(_PARTS, draw.randint(2, 3)))


def _word(draw: Draw) -> str:
    syllables = [draw.choice(_CONSONANTS) + draw.choice(_VOWELS) for _ in range(draw.randint(2, 4))]
    return ("".join(syllables) + draw.choice(("", "n", "r", "s"))).capitalize()


def _rack(draw: Draw) -> str:
    return f"{draw.choice(('Rack', 'Unit', 'Gate', 'Zone'))} {draw.randint(10, 99)}{draw.choice('ABCDEF')}"


KEYS: dict[str, Callable[[Draw], str]] = {"code": _code, "setting": _setting, "word": _word, "rack": _rack}


def _contact(draw: Draw) -> str:
    names = words_of("en").names
    return f"{draw.choice(names['given'])} {draw.choice(names['family'])}"


VALUES: tuple[Callable[[Draw], str], ...] = (
    lambda draw: f"{draw.randint(100, 999)}{draw.choice(string.ascii_uppercase)}{draw.randint(10, 99)}",
    lambda draw: f"{draw.randint(1950, 2025)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}",
    lambda draw: f"{draw.randint(3, 9999)}.{draw.randint(0, 99):02}",
    _contact,
    lambda draw: f"{draw.choice(string.ascii_uppercase)} {draw.randint(100, 999)}",
)
"""What stands in the columns that asks.toml calls `heads`, the row's own name apart."""


def twin(key: str, draw: Draw) -> str:
    """The key with one letter or digit changed, or two of them next to each other in the other order."""
    if "." in key:
        parts = key.split(".")
        parts[draw.randrange(len(parts))] = draw.choice([part for part in _PARTS if part not in parts])
        return ".".join(parts)
    signs = [i for i, sign in enumerate(key) if sign.isalnum() and i]
    places = [i for i in signs if key[i].isdigit()] or signs
    i = draw.choice(places)
    if (
        i + 1 in places
        and key[i].isdigit() == key[i + 1].isdigit()
        and key[i] != key[i + 1]
        and draw.random() < 0.5
    ):
        return key[:i] + key[i + 1] + key[i] + key[i + 2 :]
    pools = (string.digits, _VOWELS, _CONSONANTS, string.ascii_uppercase)
    pool = next((pool for pool in pools if key[i] in pool), string.ascii_lowercase)
    return key[:i] + draw.choice([sign for sign in pool if sign != key[i]]) + key[i + 1 :]


def pages(language: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents with lists, told and asked in `language`."""
    for number in range(n_pages):
        yield _page(language, filler, number, seed)


def _page(language: str, filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"lists {language} {number} {seed}")
    asks = asks_of(language)
    tables = _tables(asks["heads"], draw)
    blocks = []
    for index, table in enumerate(tables):
        names = [name for name in LAYOUTS if len(table.rows) <= 5 or name not in _WIDE_LAYOUTS]
        block = LAYOUTS[draw.choice(names)](table, draw)
        blocks.append(Block(block.text, {(index, cell): place for cell, place in block.marks.items()}))
    licences = {OWN_LICENCE}
    if filler and draw.random() < 0.7:
        length = drawn_length(language, draw, CHARACTERS) - sum(len(block.text) for block in blocks)
        between, others = filler.draw(draw, length)
        licences |= others
        places = sorted(draw.sample(range(len(between) + len(blocks)), len(blocks)))
        for place, block in zip(places, blocks, strict=True):
            between.insert(place, block)
        blocks = between
    page = joined(blocks)
    questions = _questions(tables, page, asks, draw)
    name = f"lists-{language}-{number}"
    return Page(name, language, name, page.text, common_licence(licences), tuple(questions))


def _tables(heads: Sequence[str], draw: Draw) -> list[Table]:
    """Lists with keys that are no other list's, nor part of another; no value stands in a column twice."""
    used: set[str] = set()
    tables = []
    for _ in range(draw.randint(1, 4)):
        make = KEYS[draw.choice(list(KEYS))]
        columns = sorted(draw.sample(range(len(VALUES)), draw.choice((1, 1, 2, 3))))
        keys: list[str] = []
        n_rows = draw.randint(5, 18)
        while len(keys) < n_rows:
            key = twin(draw.choice(keys), draw) if keys and draw.random() < 0.6 else make(draw)
            if not any(key in other or other in key for other in used):
                used.add(key)
                keys.append(key)
        draw.shuffle(keys)
        values = [draw.sample(sorted({VALUES[c](draw) for _ in range(60)}), n_rows) for c in columns]
        rows = [[key, *cells] for key, cells in zip(keys, zip(*values, strict=True), strict=True)]
        tables.append(Table([heads[0], *(heads[c + 1] for c in columns)], rows))
    return tables


def _questions(tables: Sequence[Table], page: Block, asks: dict[str, list[str]], draw: Draw) -> list[Asked]:
    answered: list[Asked] = []
    absent: list[Asked] = []
    for index, table in enumerate(tables):
        for r, row in enumerate(table.rows):
            key = page.marks.get((index, (r, 0)))
            if key is None or page.text.count(row[0]) != 1:
                continue
            c = draw.randrange(1, len(row))
            place = page.marks.get((index, (r, c)))
            forward, back = asks["cell"], asks["row"]
            if len(row) == 2 and draw.random() < 0.6:
                forward = asks["value"]
            values = {"row": row[0], "rows": table.head[0], "column": table.head[c], "value": row[c]}
            if place is not None and draw.random() < 0.75:
                answered.append(Asked(draw.choice(forward).format(**values), "extractive", row[c], (place,)))
            elif page.text.count(row[c]) == 1:
                answered.append(Asked(draw.choice(back).format(**values), "extractive", row[0], (key,)))
            other = twin(row[0], draw)
            if other not in page.text:
                question = draw.choice(forward).format(**values | {"row": other})
                absent.append(Asked(question, "unanswerable"))
    draw.shuffle(answered)
    draw.shuffle(absent)
    answered = answered[:MOST_ASKED]
    n_absent = math.ceil(len(answered) * ABSENT_SHARE / (1 - ABSENT_SHARE))
    questions = [*answered, *absent[:n_absent]]
    draw.shuffle(questions)
    return questions
