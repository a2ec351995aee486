"""The words of made documents, by language: names, forms of numbers and dates, facts, questions."""

import random
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

LANGUAGES = tuple(
    sorted(
        file.name.removesuffix(".toml")
        for file in files("xgen.data.made").joinpath("words").iterdir()
        if file.name.endswith(".toml")
    )
)


@cache
def _asks() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(files("xgen.data.made").joinpath("asks.toml").read_text("utf-8"))


ASKING = tuple(_asks())
"""The languages in which any text can be asked about; those of LANGUAGES can tell facts, too."""


@dataclass(frozen=True)
class Fact:
    """A thing that can be said of an entity of the kind `about`: with its name, or going on about it.

    `ask` holds for a slot of the sentence the questions whose answer it is.
    """

    about: str
    name: str
    say: tuple[str, ...]
    on: tuple[str, ...]
    ask: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Hop:
    """Questions through two facts: an entity's fact `first` names a person, whose fact `second` answers."""

    first: str
    second: str
    ask: dict[str, tuple[str, ...]]


@dataclass(frozen=True)
class Words:
    """All that a language's file holds."""

    language: str
    names: dict[str, Any]
    short: dict[str, str]
    paper: dict[str, list[str]]
    forms: dict[str, Any]
    facts: tuple[Fact, ...]
    hops: tuple[Hop, ...]

    def number(self, value: float, digits: int = 0) -> str:
        """A number as the language writes it."""
        plain = f"{value:,.{digits}f}"
        marks = {",": self.forms["thousands"], ".": self.forms["decimal"]}
        return "".join(marks.get(character, character) for character in plain)

    def date(self, year: int, month: int, day: int) -> str:
        """A date as the language writes it; months from 1."""
        months = self.forms["months"]
        return str(self.forms["date"]).format(day=day, month=months[month - 1], year=year)

    def year(self, year: int) -> str:
        """A year as the language writes it."""
        return str(self.forms.get("year", "{n}")).format(n=year)

    def form(self, kind: str, number: str) -> str:
        """A number with what it counts: metres, money, price."""
        return str(self.forms[kind]).format(n=number)

    def time(self, draw: random.Random) -> str:
        """A time of the day, on the quarter of an hour."""
        return str(self.forms["time"]).format(
            hour=draw.randint(8, 20), minute=draw.choice(("15", "30", "45"))
        )


@cache
def words_of(language: str) -> Words:
    """The words of a language of LANGUAGES."""
    data = files("xgen.data.made").joinpath("words", f"{language}.toml").read_bytes()
    table = tomllib.loads(data.decode())
    facts = tuple(
        Fact(f["about"], f["name"], tuple(f["say"]), tuple(f["on"]), _questions(f["ask"]))
        for f in table["fact"]
    )
    hops = tuple(Hop(h["through"][0], h["through"][2], _questions(h["ask"])) for h in table["hop"])
    return Words(language, table["names"], table["short"], table["paper"], table["forms"], facts, hops)


@cache
def asks_of(language: str) -> dict[str, list[str]]:
    """How a place of any text is asked about, in a language of ASKING (asks.toml)."""
    return dict(_asks()[language])


def _questions(ask: dict[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {slot: tuple(questions) for slot, questions in ask.items()}
