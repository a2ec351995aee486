"""Two documents in one window that tell of the same people and things, and not the same of them.

What one says is asked for by its title, or which of them knows somebody. Absent: what only the other says.
"""

import math
import random
from collections.abc import Iterator, Sequence

from xgen.data.made.facts import (
    CHARACTERS,
    FILLED_SHARE,
    OWN_LICENCE,
    Entity,
    drawn_cast,
    paragraphs,
    questions_of,
    scattered,
    tell,
)
from xgen.data.made.page import Asked, Block, Page, common_licence, joined, slots
from xgen.data.made.texts import Filler, drawn_length
from xgen.data.made.words import Words, words_of

ABSENT_SHARE = 0.15
MOST_ASKED = 34
TITLE = "title"


def pages(language: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` pairs of documents, told and asked about in `language`."""
    for number in range(n_pages):
        yield _page(words_of(language), filler, number, seed)


def _page(words: Words, filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"papers {words.language} {number} {seed}")
    cast = drawn_cast(words, draw)
    told = [tell(words, cast, draw) for _ in range(2)]
    titles = _titles(words, draw)
    licences = {OWN_LICENCE}
    is_filled = bool(filler) and draw.random() < FILLED_SHARE
    room = drawn_length(words.language, draw, CHARACTERS) // 2 if is_filled else 0
    parts = []
    for index, (title, entities) in enumerate(zip(titles, told, strict=True)):
        blocks = [block for entity in entities for block in paragraphs(words, entity, draw)]
        draw.shuffle(blocks)
        if is_filled:
            between, others = filler.draw(draw, room - sum(len(block.text) for block in blocks))
            licences |= others
            blocks = scattered(blocks, between, draw)
        part = joined([Block(title, {TITLE: (0, len(title))}), *blocks])
        parts.append(Block(part.text, {(index, key): place for key, place in part.marks.items()}))
    page = joined(parts)
    asked = _asked(words, titles, told, parts, page, draw)
    name = f"papers-{words.language}-{number}"
    return Page(name, words.language, name, page.text, common_licence(licences), asked)


def _titles(words: Words, draw: random.Random) -> tuple[str, str]:
    """Two titles that have their form or their place in common, and neither stands in the other."""
    forms = draw.sample(words.paper["title"], 2)
    places = draw.sample(words.names["place"][8:], 2)
    first = forms[0].format(place=places[0])
    if draw.random() < 0.5:
        return first, forms[0].format(place=places[1])
    return first, forms[1].format(place=places[0])


def _asked(
    words: Words,
    titles: tuple[str, str],
    told: Sequence[Sequence[Entity]],
    parts: Sequence[Block],
    page: Block,
    draw: random.Random,
) -> tuple[Asked, ...]:
    answered: list[Asked] = []
    absent: list[Asked] = []
    for index, entities in enumerate(told):
        title, other = titles[index], parts[1 - index].text
        marks = {key: place for (part, key), place in page.marks.items() if part == index}
        known = {(e.name, name) for e in entities for name in e.facts}
        names = {e.name for e in entities}
        for entity in entities:
            for fact in (fact for fact in words.facts if fact.name in entity.facts):
                for asked in questions_of(fact, entity, False, Block(page.text, marks), draw):
                    answered.append(
                        Asked(
                            _by(words, title, asked.question, draw), "extractive", asked.answer, asked.places
                        )
                    )
            if entity.name not in other:
                question = draw.choice(words.paper["which"]).format(name=entity.name)
                answered.append(Asked(question, "extractive", title, (marks[TITLE],)))
        for entity in told[1 - index]:
            for fact in (fact for fact in words.facts if fact.name in entity.facts):
                slot = draw.choice([slot for slot in fact.ask if slot != "name"])
                open_asks = [ask for ask in fact.ask[slot] if slots(ask) == {"name"}]
                is_implied = fact.name == "job" and (entity.name, "office") in known
                if (
                    open_asks
                    and entity.name in names
                    and (entity.name, fact.name) not in known
                    and not is_implied
                ):
                    question = draw.choice(open_asks).format(name=entity.name)
                    absent.append(Asked(_by(words, title, question, draw), "unanswerable"))
    answered = draw.sample(answered, min(len(answered), MOST_ASKED))
    n_absent = math.ceil(len(answered) * ABSENT_SHARE / (1 - ABSENT_SHARE))
    questions = [*answered, *draw.sample(absent, min(len(absent), n_absent))]
    draw.shuffle(questions)
    return tuple(questions)


def _by(words: Words, title: str, question: str, draw: random.Random) -> str:
    return draw.choice(words.paper["by"]).format(paper=title, question=question)
