"""What is known of each model: whose it is, what it may be used for, what it reads, where its file is."""

from xgen.cards.fields import CARD_FILE, READS, UNKNOWN_LICENCE, Card, Source
from xgen.cards.file import adapted_card, read_card, write_card
from xgen.cards.known import ADAPTED, CARDS, DEFAULT_TO_CHAT, DEFAULT_TO_READ, card, pulled_name
from xgen.cards.stated import imported_card, inherited, stated_card
from xgen.cards.uses import XGEN_ANSWER, Use, allows, why

__all__ = [
    "ADAPTED",
    "CARDS",
    "CARD_FILE",
    "DEFAULT_TO_CHAT",
    "DEFAULT_TO_READ",
    "READS",
    "UNKNOWN_LICENCE",
    "XGEN_ANSWER",
    "Card",
    "Source",
    "Use",
    "adapted_card",
    "allows",
    "card",
    "imported_card",
    "inherited",
    "pulled_name",
    "read_card",
    "stated_card",
    "why",
    "write_card",
]
