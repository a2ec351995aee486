"""Which documents a stage reads: weights to tokens of each set, and where each set's reading goes on.

A set is read in turns. In each turn all its documents come, in an order of the turn's own, fixed by the
seed; a stage goes on where the one before it stopped, in the middle of a document if need be.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from xgen.data.shards import HELD, TokenSet
from xgen.errors import BadCorpus

_SPARE = 0.02  # of long documents so much more is offered than asked: the last rows turn large pieces away


@dataclass(frozen=True)
class Bookmark:
    """How far a set has been read: `done` int64 [n_documents], positions of each document over all turns."""

    tokens: TokenSet
    done: NDArray[np.int64] = field(repr=False)

    @cached_property
    def sizes(self) -> NDArray[np.int64]:
        """Positions of each document, int64: a token more than it has (pack.py), in a tuning set as many."""
        return self.tokens.lengths + (1 if self.tokens.trained is None else 0)

    @cached_property
    def size(self) -> int:
        """Positions of the whole set."""
        return int(self.sizes.sum())

    def room(self, max_epochs: float) -> int:
        """Positions that may still be read of the set if all of it may be read `max_epochs` times."""
        return max(0, int(max_epochs * self.size) - int(self.done.sum()))

    def after(self, documents: NDArray[np.int64], positions: NDArray[np.int64]) -> "Bookmark":
        """The bookmark once `positions` more of `documents` have been read; documents may repeat."""
        more = np.bincount(documents, positions, len(self.done)).astype(np.int64)
        return Bookmark(self.tokens, self.done + more)


@dataclass(frozen=True)
class Reading:
    """Documents of a set in the order in which a stage offers them, int64 arrays of one length.

    A document is offered from `start` on and until a piece of it reaches `limit`; `turn` counts from 0.
    """

    document: NDArray[np.int64]
    start: NDArray[np.int64]
    limit: NDArray[np.int64]
    turn: NDArray[np.int64]

    @property
    def positions(self) -> int:
        """How many positions are offered."""
        return int((self.limit - self.start).sum())


# ---- weights to tokens ----------------------------------------------------------------------------


def wanted(
    stage: str,
    mix: dict[str, float],
    temperature: float,
    n_positions: int,
    max_epochs: float,
    bookmarks: dict[str, Bookmark],
) -> dict[str, int]:
    """How many positions a stage reads of each set.

    Each pattern of `mix` gets its part of `n_positions` by weight and shares it among the sets it matches
    by their tokens to the power of `temperature`; where a set has not that many left within `max_epochs`, the
    pattern's other sets fill in. Sets that are held out match nothing. BadCorpus names a pattern without
    sets, or whose sets all together have too little left, and how much is short.
    """
    matching = {pattern: matches(pattern, bookmarks) for pattern in mix}
    for pattern, names in matching.items():
        if not names:
            there = ", ".join(sorted(name for name in bookmarks if not name.endswith(HELD)))
            part = part_of(mix, pattern, n_positions)
            what = f'no set of the corpus is "{pattern}", wanted for {part:,} tokens'
            raise BadCorpus(f"stage {stage}", what, f"add such documents or take of {there}")
    room = {name: mark.room(max_epochs) for name, mark in bookmarks.items()}
    found = dict.fromkeys(sorted({name for names in matching.values() for name in names}), 0)
    # Patterns of few sets first: the others have more to choose from.
    for pattern in sorted(mix, key=lambda pattern: len(matching[pattern])):
        names, part = matching[pattern], part_of(mix, pattern, n_positions)
        weights = {name: bookmarks[name].tokens.n_tokens ** temperature for name in names}
        given = _fill(part, weights, {name: room[name] for name in names})
        if (short := part - sum(given.values())) > 0:
            which = pattern if names == [pattern] else f"{pattern} ({', '.join(names)})"
            left = sum(room[name] for name in names)
            raise BadCorpus(
                f"stage {stage}",
                f"{which} is wanted for {part:,} tokens and has {left:,} left within {max_epochs:g} epochs, "
                f"{short:,} short",
                "lower its weight or the stage's tokens, raise max_epochs, or add documents to it",
            )
        for name, n in given.items():
            found[name] += n
            room[name] -= n
    return {name: n for name, n in found.items() if n}


def matches(pattern: str, names: Iterable[str]) -> list[str]:
    """The names of sets that a pattern of a mix means, sorted; none that is held out."""
    return sorted(name for name in names if not name.endswith(HELD) and fnmatchcase(name, pattern))


def part_of(mix: dict[str, float], pattern: str, n_positions: int) -> int:
    """The positions, of `n_positions`, that a pattern's weight stands for, rounded up."""
    return math.ceil(n_positions * mix[pattern] / sum(mix.values()))


def _fill(part: int, weights: dict[str, float], room: dict[str, int]) -> dict[str, int]:
    """Share `part` by `weights`; what is over a set's room goes to the others, by weight again."""
    given: dict[str, int] = {}
    open_sets = sorted(weights)
    while open_sets:
        left = part - sum(given.values())
        total = sum(weights[name] for name in open_sets)
        shares = {name: math.ceil(left * weights[name] / total) for name in open_sets}
        full = [name for name in open_sets if shares[name] > room[name]]
        if not full:
            return given | shares
        given |= {name: room[name] for name in full}
        open_sets = [name for name in open_sets if name not in full]
    return given


# ---- tokens to documents --------------------------------------------------------------------------


def order(seed: int, name: str, turn: int, n_documents: int) -> NDArray[np.int64]:
    """The order of a set's documents in a turn, a permutation, int64 [n_documents].

    By raw numbers of PCG64, which numpy promises never to change; its shuffles it does not.
    """
    digest = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    numbers = np.random.PCG64(np.random.SeedSequence([seed, digest, turn])).random_raw(n_documents)
    return np.argsort(numbers, kind="stable").astype(np.int64)


def read_on(
    stage: str,
    bookmarks: dict[str, Bookmark],
    positions: dict[str, int],
    long_tokens: int,
    long_share: float,
    seed: int,
) -> dict[str, Reading]:
    """What a stage offers of each set in `positions`, from the bookmarks on.

    Whole turns come as they are. The last one of each set, which is not read to its end, has as large a part
    in documents of at least `long_tokens` tokens as the turn itself, or a larger one if the stage's
    `long_share` asks for it: then all sets that have such documents give more of them, by the same part of
    what they can. BadCorpus if there are too few of them.
    """
    turns = {name: _turns(bookmarks[name], n, seed) for name, n in positions.items()}
    is_long = {name: bookmarks[name].tokens.lengths >= long_tokens for name in positions}
    total, sure = sum(positions.values()), 0
    rest, usual, most = {}, {}, {}
    for name, (*whole, last) in turns.items():
        sure += sum(_sum(turn, is_long[name]) for turn in whole)
        rest[name] = positions[name] - sum(turn.positions for turn in whole)
        long = _sum(last, is_long[name])
        usual[name] = rest[name] * long // last.positions
        most[name] = min(rest[name], long)
    asked, there = math.ceil(long_share * total), sure + sum(most.values())
    if asked > there:
        reachable = math.floor(100 * there / total) / 100
        raise BadCorpus(
            f"stage {stage}",
            f"long_share {long_share:g} asks for {asked:,} tokens in documents of {long_tokens:,} or more, "
            f"and its sets have {there:,} that this turn has not read, {asked - there:,} short",
            f"lower long_share to {reachable:g} or take of sets that have more of them",
        )
    more = math.ceil((long_share + _SPARE) * total) - sure - sum(usual.values()) if long_share else 0
    part = min(1.0, max(0, more) / max(1, there - sure - sum(usual.values())))
    found = {}
    for name, (*whole, last) in turns.items():
        long = usual[name] + math.ceil(part * (most[name] - usual[name]))
        found[name] = _join([*whole, _choose(last, rest[name], is_long[name][last.document], long)])
    return found


def _turns(mark: Bookmark, n_positions: int, seed: int) -> list[Reading]:
    """What is left of turn after turn, until there are `n_positions`; documents begun before come first."""
    turn = int((mark.done // mark.sizes).min())
    found: list[Reading] = []
    while n_positions > 0:
        documents = order(seed, mark.tokens.name, turn, len(mark.sizes))
        start = np.maximum(mark.done - turn * mark.sizes, 0)[documents]
        sizes = mark.sizes[documents]
        begun = np.flatnonzero((start > 0) & (start < sizes))
        fresh = np.flatnonzero(start == 0)
        at = np.concatenate([begun, fresh])
        found.append(Reading(documents[at], start[at], sizes[at], np.full(len(at), turn)))
        n_positions -= found[-1].positions
        turn += 1
    return found


def _choose(turn: Reading, n_positions: int, is_long: NDArray[np.bool_], long_positions: int) -> Reading:
    """The part of a turn that has `n_positions`, `long_positions` of them in long documents."""
    size = turn.limit - turn.start
    taken = _first(np.where(is_long, size, 0), long_positions)
    taken += _first(np.where(is_long, 0, size), n_positions - long_positions)
    taken += _first(size - taken, n_positions - int(taken.sum()))  # what rounding left
    at = np.flatnonzero(taken)
    return Reading(turn.document[at], turn.start[at], (turn.start + taken)[at], turn.turn[at])


def _first(sizes: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Of each in order as much as is there until there is `total`."""
    found: NDArray[np.int64] = np.clip(total - (np.cumsum(sizes) - sizes), 0, sizes)
    return found


def _sum(reading: Reading, chosen: NDArray[np.bool_]) -> int:
    return int((reading.limit - reading.start)[chosen[reading.document]].sum())


def _join(readings: list[Reading]) -> Reading:
    fields = ("document", "start", "limit", "turn")
    return Reading(*(np.concatenate([getattr(one, name) for one in readings]) for name in fields))
