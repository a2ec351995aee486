"""What a card allows: commercial use, research, or nothing that is stated."""

from typing import Literal

from xgen.cards.fields import RESEARCH_ONLY, UNKNOWN_LICENCE, Card

Use = Literal["commercial", "research"]

XGEN_ANSWER = (
    "Of XGen-7B the 4K and 8K bases are Apache-2.0 and may be used commercially; the instruct model is for "
    "research only"
)
# What the licences ask for in return, as far as it decides whether one can do with them.
_CONDITIONS = {
    "Apache-2.0": "keep the licence and the notices",
    "CC-BY-SA-4.0": "name the makers; share what is made from it under the same licence",
}
_NON_COMMERCIAL = (RESEARCH_ONLY, "CC-BY-NC")


def allows(card: Card, use: Use) -> bool | None:
    """Whether a model may be put to `use`; None where no statement known here says it."""
    if UNKNOWN_LICENCE in card.licence:
        return None
    if card.commercial_use:
        return True
    if any(word.lower() in card.licence.lower() for word in _NON_COMMERCIAL):
        return use == "research"
    return None


def why(card: Card, use: Use) -> str:
    """The reason for what `allows` says, in words."""
    allowed = allows(card, use)
    if allowed:
        asked = (condition for name, condition in _CONDITIONS.items() if name in card.licence)
        return "; ".join([card.licence, *asked])
    stated = f"{card.licence} ({card.licence_source})"
    if allowed is not None:
        return stated
    if UNKNOWN_LICENCE in card.licence:
        return f"{stated}: nothing says what it may be used for"
    return f"{stated}, which is not known here to allow it: read it"
