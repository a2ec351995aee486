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


@dataclass(frozen=True)
class Plan:
    """How the sources are read. `whole` is the stretch that is read in one piece, None for `select`."""

    how: How
    why: str
    window: int
    whole: Passage | None


def window_for(model_window: int, asked: int | None) -> int:
    """The window in tokens: what was asked for, else the smaller of 8,192 and the model's own."""
    if asked is None:
        return min(DEFAULT_WINDOW, model_window)
    if not 256 <= asked <= model_window:
        raise XgenError(
            "--window",
            f"{asked:,} tokens are asked for and the model's own window is {model_window:,}",
            f"give a number from 256 to {model_window}",
        )
    return asked


def plan(
    sources: Sources,
    offsets: Sequence[tuple[int, int]],
    how: str | None,
    default: How,
    window: int,
    reserve: int,
) -> Plan:
    """Decide how to read; `offsets` are the tokens' places in the sources' text.

    `reserve` tokens of the window are kept for the prompt's own words, the question and the answer.
    Raises TooLong for `whole` where the documents do not fit, naming the numbers and the ways out.
    """
    n_tokens, room = len(offsets), window - reserve
    fits = n_tokens <= room
    size = f"{n_tokens:,} tokens, of which the window of {window:,} holds {room:,}"
    whole = Passage(0, len(sources.text), n_tokens)
    if how is None:
        why = f"{size}; this model answers better from selected passages than from everything at once"
        if default == "select":
            return Plan("select", why, window, None)
        if fits:
            return Plan("whole", f"{size}; everything fits", window, whole)
        return Plan("select", f"{size}; that is too long to read whole", window, None)
    if how == "select":
        return Plan("select", f"{size}; --read select was asked for", window, None)
    if how == "whole":
        if not fits:
            raise TooLong(
                ", ".join(document.path for document in sources.documents),
                f"{n_tokens:,} tokens and the window of {window:,} holds {room:,} beside question and answer",
                "leave --read out, use --read select, --read head or --read tail, a larger --window, "
                "or fewer documents",
            )
        return Plan("whole", f"{size}; --read whole was asked for", window, whole)
    if how not in HOWS:
        raise XgenError("--read", f"{how!r} is not a way of reading", "use whole, select, head or tail")
    kept = min(room, n_tokens)
    part = "first" if how == "head" else "last"
    why = f"{size}; --read {how} was asked for: the {part} {kept:,} tokens"
    if how == "head":
        return Plan("head", why, window, Passage(0, offsets[kept - 1][1] if kept else 0, kept))
    return Plan("tail", why, window, Passage(offsets[-kept][0] if kept else 0, len(sources.text), kept))


def tokens_inside(offsets: Sequence[tuple[int, int]], start: int, end: int) -> int:
    """How many tokens begin in `[start, end)`."""
    before_end, before_start = (bisect_left(offsets, at, key=lambda place: place[0]) for at in (end, start))
    return before_end - before_start
