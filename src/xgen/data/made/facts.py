"""Who did what: made people, firms, bridges, towns and fairs, told of in places among real paragraphs.

Everything has near twins (the old bridge and the new, two of one family), so that a question is answered
by its own sentence only. Questions through two sentences ask about the founder of a firm. Absent facts look
present: the one asked about stands in the document, and of its twin the fact is told.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from xgen.data.made.page import Asked, Block, Page, common_licence, filled, joined, slots
from xgen.data.made.texts import Filler, drawn_length
from xgen.data.made.words import Fact, Words, words_of

OWN_LICENCE = "Apache-2.0"
"""Of sentences that this project's code makes."""

ABSENT_SHARE = 0.18
MOST_ASKED = 40
CHARACTERS = (3_000, 30_000)
"""A made document's length, drawn log-uniform."""

FILLED_SHARE = 0.7
"""Of the documents that have real paragraphs between what is told."""

_ASKED_ELSEWHERE = {"name", "year", "book", "prize"}  # slots that a question in another language may name
_DAYS = [day for day in range(2, 29) if day not in (8, 11)]  # no first, eighth or eleventh: Italian elides


@dataclass(frozen=True)
class Entity:
    """One that is told of: `facts` by name, with the values of their slots."""

    about: str
    name: str
    short: str
    facts: dict[str, dict[str, str]] = field(default_factory=dict)


def pages(language: str, asking: str, filler: Filler, n_pages: int, seed: int) -> Iterator[Page]:
    """`n_pages` documents in `language` with questions in the language `asking`."""
    for number in range(n_pages):
        yield _page(words_of(language), words_of(asking), filler, number, seed)


def _page(words: Words, asking: Words, filler: Filler, number: int, seed: int) -> Page:
    draw = random.Random(f"facts {words.language} {asking.language} {number} {seed}")
    entities = world(words, draw)
    told = [block for entity in entities for block in paragraphs(words, entity, draw)]
    draw.shuffle(told)
    licences = {OWN_LICENCE}
    if filler and draw.random() < FILLED_SHARE:
        length = drawn_length(words.language, draw, CHARACTERS) - sum(len(block.text) for block in told)
        between, others = filler.draw(draw, length)
        licences |= others
        told = scattered(told, between, draw)
    page = joined(told)
    asked = _asked(words, asking, entities, page, draw)
    name = f"facts-{words.language}-{asking.language}-{number}"
    return Page(name, words.language, name, page.text, common_licence(licences), asked)


@dataclass(frozen=True)
class Cast:
    """Who and what may be told of, with near twins, and the places there are."""

    entities: tuple[Entity, ...]
    people: tuple[str, ...]
    places: tuple[str, ...]


def world(words: Words, draw: random.Random) -> list[Entity]:
    """Entities with near twins and what is told of each."""
    return tell(words, drawn_cast(words, draw), draw)


def drawn_cast(words: Words, draw: random.Random) -> Cast:
    """People of few families, firms of few names, an old bridge and a new, fairs of one place or kind."""
    names = words.names
    places = draw.sample(names["place"], len(names["place"]))
    families = draw.sample(names["family"], draw.randint(3, 6))
    given = draw.sample(names["given"], draw.randint(3, 6))
    form = str(words.forms.get("person", "{given} {family}"))
    people = sorted(
        {
            form.format(given=draw.choice(given), family=draw.choice(families))
            for _ in range(draw.randint(3, 9))
        }
    )
    entities = [Entity("person", name, name.rpartition(" ")[2]) for name in people]
    trades = draw.sample(names["trade"], 3)
    firms = {
        names["firm"].format(family=draw.choice(families[:3]), trade=draw.choice(trades))
        for _ in range(draw.randint(1, 4))
    }
    bare, old, new = names["bridge"]
    bridges = [bare.format(place=places[0]), *(form.format(place=places[1]) for form in (old, new))]
    kinds = draw.sample(names["fair"], 2)
    fairs = {kind.format(place=place) for kind in kinds for place in places[2:4]}
    for about, found, most in (
        ("firm", sorted(firms), 4),
        ("bridge", bridges, 3),
        ("town", places[4:8], 4),
        ("fair", sorted(fairs), 3),
    ):
        some = draw.sample(found, min(len(found), draw.randint(0 if about != "firm" else 1, most)))
        entities += [Entity(about, name, words.short[about]) for name in some]
    return Cast(tuple(entities), tuple(people), tuple(places))


def tell(words: Words, cast: Cast, draw: random.Random) -> list[Entity]:
    """The entities of a cast of whom something is told, each time something else."""
    names = words.names
    unused = {kind: draw.sample(names[kind], len(names[kind])) for kind in ("prize", "book")}
    offices = {office.format(place=place) for office in names["office"] for place in cast.places[:3]}
    unused["office"] = draw.sample(sorted(offices), len(offices))
    told = []
    for entity in cast.entities:
        possible = [fact for fact in words.facts if fact.about == entity.about]
        start = draw.randint(1790, 1960)
        facts = {}
        for fact in draw.sample(possible, min(len(possible), draw.randint(1, 4))):
            values = _values(words, fact, entity, cast, unused, start, draw)
            if values is not None:
                facts[fact.name] = values
        if facts:
            told.append(replace(entity, facts=facts))
    return told


def _values(
    words: Words,
    fact: Fact,
    entity: Entity,
    cast: Cast,
    unused: dict[str, list[str]],
    start: int,
    draw: random.Random,
) -> dict[str, str] | None:
    """Values of all slots of a fact; None where what must differ between entities is used up."""
    values = {"name": entity.name, "short": entity.short}
    year = start if fact.name == "birth" else start + draw.randint(22, 40)
    last = start + draw.randint(45, 62)
    wanted = {slot for pattern in (*fact.say, *fact.on) for slot in slots(pattern)}
    for slot in sorted(wanted - {"name", "short"}):
        match slot:
            case "year":
                values[slot] = words.year(year)
            case "year_to":
                values[slot] = words.year(year + draw.randint(2, 20))
            case "date":
                values[slot] = words.date(last, draw.randint(1, 12), draw.choice(_DAYS))
            case "person":
                values[slot] = draw.choice(cast.people)
            case "place":
                values[slot] = draw.choice([place for place in cast.places if place not in entity.name])
            case "metres" | "price" | "money" | "people":
                values[slot] = _amount(words, slot, draw)
            case "time":
                values[slot] = words.time(draw)
            case _ if slot in unused:
                if not unused[slot]:
                    return None
                values[slot] = unused[slot].pop()
            case _:
                values[slot] = draw.choice(words.names[slot])
    return values


def _amount(words: Words, slot: str, draw: random.Random) -> str:
    """A number with its unit; its last two digits, 25 to 30, 35 to 40 ..., need one plural everywhere."""
    ending = draw.choice([n for n in range(25, 100) if n % 10 in (0, 5, 6, 7, 8, 9)])
    hundreds = draw.randint(0, 9) if slot in ("metres", "money", "price") else draw.randint(1, 800)
    return words.form(slot, words.number(100 * hundreds + ending))


def paragraphs(words: Words, entity: Entity, draw: random.Random) -> list[Block]:
    """What is told of an entity, in one paragraph or several; each first sentence names it."""
    facts = [fact for fact in words.facts if fact.about == entity.about and fact.name in entity.facts]
    draw.shuffle(facts)
    paragraphs: list[list[Block]] = []
    for fact in facts:
        starts = not paragraphs or draw.random() < 0.45
        pattern = draw.choice(fact.say if starts else fact.on)
        sentence = filled(pattern, entity.facts[fact.name], (entity.name, fact.name))
        if sentence.text[0].islower():
            sentence = Block(sentence.text[0].upper() + sentence.text[1:], sentence.marks)
        paragraphs.append([sentence]) if starts else paragraphs[-1].append(sentence)
    return [joined(sentences, gap=words.forms.get("gap", " ")) for sentences in paragraphs]


def scattered(told: list[Block], between: list[Block], draw: random.Random) -> list[Block]:
    """The told blocks at random places among the others, both in their order."""
    flags = [True] * len(told) + [False] * len(between)
    draw.shuffle(flags)
    mine, theirs = iter(told), iter(between)
    return [next(mine) if flag else next(theirs) for flag in flags]


def _asked(
    words: Words, asking: Words, entities: list[Entity], page: Block, draw: random.Random
) -> tuple[Asked, ...]:
    by_fact = {fact.name: fact for fact in asking.facts}
    answered: list[Asked] = []
    absent: list[Asked] = []
    told = {(entity.about, name) for entity in entities for name in entity.facts}
    for entity in entities:
        for fact in (fact for fact in asking.facts if fact.about == entity.about):
            if fact.name in entity.facts:
                answered += questions_of(fact, entity, words is not asking, page, draw)
            elif (entity.about, fact.name) in told and not _implied(entity, fact):
                slot = draw.choice([slot for slot in fact.ask if slot != "name"])
                open_asks = [ask for ask in fact.ask[slot] if slots(ask) == {"name"}]
                if open_asks:
                    absent.append(Asked(draw.choice(open_asks).format(name=entity.name), "unanswerable"))
    people = {entity.name: entity for entity in entities if entity.about == "person"}
    for hop in asking.hops:
        for entity in entities:
            person = people.get(entity.facts.get(hop.first, {}).get("person", ""))
            if person is None:
                continue
            slot = draw.choice(sorted(hop.ask))
            question = draw.choice(hop.ask[slot]).format(name=entity.name)
            if hop.second in person.facts:
                answer = person.facts[hop.second][slot]
                place = page.marks[(person.name, hop.second), slot]
                answered.append(Asked(question, "extractive", answer, (place,)))
            elif not _implied(person, by_fact[hop.second]):
                absent.append(Asked(question, "unanswerable"))
    draw.shuffle(answered)
    draw.shuffle(absent)
    answered = answered[:MOST_ASKED]
    n_absent = min(len(absent), math.ceil(len(answered) * ABSENT_SHARE / (1 - ABSENT_SHARE)))
    asked = [*answered, *absent[:n_absent]]
    draw.shuffle(asked)
    return tuple(asked)


def questions_of(
    fact: Fact, entity: Entity, elsewhere: bool, page: Block, draw: random.Random
) -> list[Asked]:
    """A question for each slot of a fact; `elsewhere`: in another language than the document's."""
    asked = []
    values = entity.facts[fact.name]
    for slot, patterns in fact.ask.items():
        possible = [p for p in patterns if not elsewhere or slots(p) <= _ASKED_ELSEWHERE]
        place = page.marks.get(((entity.name, fact.name), slot))
        if possible and place:
            question = draw.choice(possible).format(**values)
            asked.append(Asked(question, "extractive", page.text[place[0] : place[1]], (place,)))
    return asked


def _implied(entity: Entity, fact: Fact) -> bool:
    """Whether another fact told of the entity answers this one as well."""
    return {fact.name, *entity.facts} >= {"job", "office"}
