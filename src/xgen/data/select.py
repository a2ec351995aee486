"""Which of the cleaned documents the corpus takes: duplicates out, caps kept, each loss with its reason.

All decisions go by what documents are, never by the order in which sources or packages came.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from xgen.data.clean import ARRAYS_FILE, MIN_BYTES
from xgen.data.dedup import extra_copies, near_duplicates
from xgen.data.recipe import CODE, TUNING_SETS, Caps

MAX_REPEATS = 8  # a paragraph that stands in more documents is boilerplate, and goes everywhere
REASONS = ("", "exact_duplicate", "near_duplicate", "too_little_left", "over_the_cap")
_EXACT, _NEAR, _LITTLE, _CAP = 1, 2, 3, 4
MB = 1_000_000
_ROUNDS = 4  # of sharing out what languages cannot fill


@dataclass(frozen=True)
class Candidates:
    """All documents that passed the filters; arrays have one row each, [n]."""

    units: NDArray[np.int64]  # index of the unit
    rows: NDArray[np.int64]  # index in its unit
    sets: NDArray[Any]
    languages: NDArray[Any]
    sizes: NDArray[np.int64]  # UTF-8 bytes
    keys: NDArray[np.uint8]  # [n, 16]
    ranks: NDArray[np.uint8]  # [n, 16]
    signatures: NDArray[np.uint32]
    marks: NDArray[np.uint64]  # [m] hashes of paragraphs
    places: NDArray[np.int64]  # [m, 3] document, piece, bytes


@dataclass(frozen=True)
class Choice:
    """`reasons` indexes REASONS, 0 = kept; `gone` lists the paragraphs that go: document, piece, bytes."""

    reasons: NDArray[np.int64]
    gone: NDArray[np.int64]
    sizes: NDArray[np.int64]  # bytes without those paragraphs


def load_candidates(folders: Sequence[Path], sets: Sequence[str]) -> Candidates:
    """The arrays of cleaned units, one after another; `sets` says the set of each unit."""
    parts: dict[str, list[NDArray[Any]]] = {
        name: [] for name in ("units", "rows", "sets", "languages", "sizes", "keys", "ranks", "signatures")
    }
    marks, places = [np.zeros(0, np.uint64)], [np.zeros((0, 3), np.int64)]
    total = 0
    for i, (folder, kind) in enumerate(zip(folders, sets, strict=True)):
        with np.load(folder / ARRAYS_FILE, allow_pickle=False) as arrays:
            count = len(arrays["sizes"])
            if not count:
                continue
            for name in ("languages", "sizes", "keys", "ranks", "signatures"):
                parts[name].append(arrays[name])
            parts["units"].append(np.full(count, i))
            parts["rows"].append(np.arange(count))
            parts["sets"].append(np.full(count, kind))
            marks.append(arrays["marks"])
            places.append(arrays["places"] + np.array([total, 0, 0]))
            total += count
    empty = {"keys": np.zeros((0, 16), np.uint8), "ranks": np.zeros((0, 16), np.uint8)}
    joined: dict[str, Any] = {
        name: np.concatenate(rows) if rows else empty.get(name, np.zeros(0, np.int64))
        for name, rows in parts.items()
    }
    return Candidates(**joined, marks=np.concatenate(marks), places=np.concatenate(places))


def choose(candidates: Candidates, caps: Caps) -> Choice:
    """Decide about every document: exact copies, near copies, repeated paragraphs, caps, in this order."""
    n = len(candidates.sizes)
    reasons = np.zeros(n, np.int64)
    ranks = [row.tobytes() for row in candidates.ranks]
    tuning = np.isin(candidates.sets, list(TUNING_SETS))
    if n:
        _, groups = np.unique(candidates.keys, axis=0, return_inverse=True)
        reasons[extra_copies(groups.reshape(-1), candidates.sizes, ranks)] = _EXACT
    left = np.flatnonzero((reasons == 0) & ~tuning)
    groups = near_duplicates(candidates.signatures[left]) if len(left) else left
    extra = extra_copies(groups, candidates.sizes[left], [ranks[i] for i in left.tolist()])
    reasons[left[extra]] = _NEAR
    gone = _repeated_paragraphs(candidates, reasons)
    sizes = candidates.sizes.copy()
    np.subtract.at(sizes, gone[:, 0], gone[:, 2])
    reasons[(reasons == 0) & (sizes < MIN_BYTES) & (sizes < candidates.sizes)] = _LITTLE
    over = _over_the_caps(candidates, sizes, reasons == 0, caps)
    reasons[over] = _CAP
    gone = gone[reasons[gone[:, 0]] == 0]
    return Choice(reasons, gone, sizes)


def _repeated_paragraphs(candidates: Candidates, reasons: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of `places` whose paragraph stands in more than MAX_REPEATS of the documents left."""
    live = reasons[candidates.places[:, 0]] == 0
    marks, places = candidates.marks[live], candidates.places[live]
    order = np.lexsort((places[:, 0], marks))
    first_in_its_document = np.ones(len(order), np.bool_)
    same_mark = marks[order][1:] == marks[order][:-1]
    first_in_its_document[1:] = ~same_mark | (places[order][1:, 0] != places[order][:-1, 0])
    values, counts = np.unique(marks[order][first_in_its_document], return_counts=True)
    often = values[counts > MAX_REPEATS]
    gone: NDArray[np.int64] = places[np.isin(marks, often)]
    return gone


def _over_the_caps(
    candidates: Candidates, sizes: NDArray[np.int64], live: NDArray[np.bool_], caps: Caps
) -> NDArray[np.int64]:
    """Indices of documents beyond their package's, their set's or their language's share."""
    over: list[int] = []
    order = _by_rank(candidates.ranks)
    order = order[live[order]]
    is_code = candidates.sets == CODE
    tuning = np.isin(candidates.sets, list(TUNING_SETS))
    code = order[is_code[order]]
    if caps.package_mb is not None:
        for unit in np.unique(candidates.units[code]).tolist():
            over += _beyond(code[candidates.units[code] == unit], sizes, caps.package_mb * MB)
        code = code[~np.isin(code, over)]
    prose = order[~is_code[order] & ~tuning[order]]
    over += _share_out(candidates, code, sizes, caps.code_mb, caps, {})
    over += _share_out(candidates, prose, sizes, caps.text_mb, caps, caps.set_share)
    return np.array(sorted(over), dtype=np.int64)


def _share_out(
    candidates: Candidates,
    order: NDArray[np.int64],
    sizes: NDArray[np.int64],
    total_mb: float | None,
    caps: Caps,
    shares: dict[str, float],
) -> list[int]:
    """Documents of `order` (the first to stay come first) beyond their language's cap."""
    languages = candidates.languages[order]
    there: dict[str, dict[str, int]] = {}
    for language in np.unique(languages).tolist():
        of_it = order[languages == language]
        kinds = candidates.sets[of_it]
        there[language] = {kind: int(sizes[of_it[kinds == kind]].sum()) for kind in np.unique(kinds).tolist()}
    limits = language_caps(there, total_mb, caps, shares)
    over: list[int] = []
    for language, limit in limits.items():
        of_it = order[languages == language]
        for kind, share in shares.items():
            beyond = _beyond(of_it[candidates.sets[of_it] == kind], sizes, share * limit)
            over += beyond
            of_it = of_it[~np.isin(of_it, beyond)]
        over += _beyond(of_it, sizes, limit)
    return over


def language_caps(
    there: dict[str, dict[str, int]], total_mb: float | None, caps: Caps, shares: dict[str, float]
) -> dict[str, float]:
    """Bytes that each language may fill, from what there is of it by set: {language: {set: bytes}}.

    The total is shared out by bytes**temperature; what a language has too little for is shared out
    again among the others. A language with a cap by hand takes it from the total.
    """
    by_hand = {name: caps.language_mb[name] * MB for name in there if name in caps.language_mb}
    limits: dict[str, float] = {name: float("inf") for name in there} | by_hand
    if total_mb is None:
        return limits
    sizes = {name: float(sum(sets.values())) for name, sets in there.items()}
    usable = dict(sizes)
    for _ in range(_ROUNDS):
        left = total_mb * MB - sum(min(by_hand[name], usable[name]) for name in by_hand)
        open_ones = {name for name in there if name not in by_hand}
        full: set[str] = set()
        while open_ones - full:
            weights = {name: sizes[name] ** caps.temperature for name in sorted(open_ones - full)}
            room = max(left - sum(usable[name] for name in full), 0.0)
            drawn = {name: room * weight / sum(weights.values()) for name, weight in weights.items()}
            short = {name for name, share in drawn.items() if usable[name] <= share}
            limits |= drawn
            if not short:
                break
            full |= short
        for name in full:
            limits[name] = max(limits[name], usable[name])
        # Books beyond their share of the cap cannot be used: their room is the other languages'.
        usable = {
            name: sum(
                min(n, shares[kind] * limits[name]) if kind in shares else n for kind, n in sets.items()
            )
            for name, sets in there.items()
        }
    return limits


def _beyond(order: NDArray[np.int64], sizes: NDArray[np.int64], limit: float) -> list[int]:
    """Those of `order` that do not fit when they come one after another; a later small one may."""
    if sizes[order].sum() <= limit:
        return []
    over, room = [], limit
    for i in order.tolist():
        if sizes[i] <= room:
            room -= int(sizes[i])
        else:
            over.append(i)
    return over


def _by_rank(ranks: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.lexsort(ranks.T[::-1]) if len(ranks) else np.zeros(0, np.int64)
