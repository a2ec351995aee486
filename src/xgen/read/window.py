"""What fits, and how the documents are read: decided before anything is read, and said."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from xgen.errors import TooLong, XgenError
from xgen.read.select import Passage
from xgen.read.sources import Sources

How = Literal["whole", "select", "head", "tail"]
HOWS: tuple[How, ...] = ("whole", "select", "head", "tail")

DEFAULT_WINDOW = 8192
"""Tokens that `whole` reads unless `--window` says more: XGen-7B's window."""

BESIDE_TOKENS = 256
"""Tokens of the window kept beside a document: the prompt's own words, a usual question and its answer.

Long questions and answers are given more."""

MIN_WINDOW = 2 * BESIDE_TOKENS


@dataclass(frozen=True)
class Plan:
    """How the sources are read. `whole` is the stretch that is read in one piece, None for `select`.

    `for_rows` is what `select` reads for an answer that goes through the rows of a table, which must not miss
    one: everything, where it fits and nobody asked for less; None: what stands around the table.
    """

    how: How
    why: str
    whole: Passage | None
    for_rows: Passage | None = None


def window_for(model_window: int, asked: int | None) -> int:
    """The window in tokens: what was asked for, else the smaller of 8,192 and the model's own."""
    if asked is None:
        return min(DEFAULT_WINDOW, model_window)
    if not MIN_WINDOW <= asked <= model_window:
        raise XgenError(
            "--window",
            f"{asked:,} tokens are asked for and the model's own window is {model_window:,}",
            f"give a number from {MIN_WINDOW} to {model_window}",
        )
    return asked


def plan(
    sources: Sources,
    offsets: Sequence[tuple[int, int]],
    how: str | None,
    default: How,
    window: int,
    reserve: int,
    model_window: int,
) -> Plan:
    """Decide how to read; `offsets` are the tokens' places in the sources' text.

    `reserve` tokens of the window are kept for the prompt's own words, the question and the answer.
    Raises TooLong for `whole` where the documents do not fit, naming the numbers and the ways out.
    """
    n_tokens, room = len(offsets), window - reserve
    if room < 1 and how in ("whole", "head", "tail"):
        raise TooLong(
            "--window",
            f"question and answer take {reserve:,} tokens and the window has {window:,}",
            "use a smaller --max-answer-tokens or a shorter question, or a larger --window",
        )
    fits = n_tokens <= room
    size = f"{n_tokens:,} tokens, of which the window of {window:,} holds {max(0, room):,}"
    whole = Passage(0, len(sources.text), n_tokens)
    if how is None:
        why = f"{size}; selected passages give as good answers as everything at once, or better, and sooner"
        if default == "select":
            return Plan("select", why, None, whole if fits else None)
        if fits:
            return Plan("whole", f"{size}; everything fits", whole)
        return Plan("select", f"{size}; that is too long to read whole", None)
    if how == "select":
        return Plan("select", f"{size}; --read select was asked for", None)
    if how == "whole":
        if not fits:
            larger = f"a --window of up to {model_window:,}, " if window < model_window else ""
            fewer = " or fewer documents" if len(sources.documents) > 1 else ""
            raise TooLong(
                ", ".join(document.path for document in sources.documents),
                f"{n_tokens:,} tokens and the window of {window:,} holds {room:,} beside question and answer",
                f"leave --read out, use {larger}--read select, --read head or --read tail{fewer}",
            )
        return Plan("whole", f"{size}; --read whole was asked for", whole)
    if how not in HOWS:
        raise XgenError("--read", f"{how!r} is not a way of reading", "use whole, select, head or tail")
    kept = min(room, n_tokens)
    part = "first" if how == "head" else "last"
    why = f"{size}; --read {how} was asked for: the {part} {kept:,} tokens"
    if how == "head":
        return Plan("head", why, Passage(0, offsets[kept - 1][1] if kept else 0, kept))
    return Plan("tail", why, Passage(offsets[-kept][0] if kept else 0, len(sources.text), kept))


def tokens_inside(offsets: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """How many tokens begin in `[start, end)`."""
    before_end, before_start = (bisect_left(offsets, at, key=lambda place: place[0]) for at in (end, start))
    return before_end - before_start
