"""Documents to rows of one length: where a document is cut, which row a piece goes to, what a row holds.

A plain document of ids d[0..n) is read as the sequence s = [eot] + d + [eot]: its n + 1 positions take
s[:-1] in and are to say s[1:]. A piece [start, end) of it takes s[start:end) in and is to say
s[start+1:end+1), so that each token of s but the first is a target once, wherever the cuts are.
"""

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from xgen.data.shards import LINE_END, OPENS, SENTENCE_MARK, WIDE_MARK, Corpus, TokenSet

OPEN_ROWS = 512
"""Rows that wait for pieces that fill them; of more, the fullest is closed as it is."""

_ROW_BITS = 32
_NEAR, _FAR = 64, 4  # a cut is looked for in the last 1/64 of a piece, then in its last quarter


@dataclass(frozen=True)
class Row:
    """One row of a batch, five int32 arrays of one length T.

    `ids` go in; `targets` are to come out, -1 where the loss counts nothing; `segment` numbers the pieces,
    -1 is padding; `context` is the segment that a position sees besides its own (its own, but for a
    group's questions, which see their document); `position` is what attention takes for the place.
    Position i sees j if j <= i and segment[j] is segment[i] or context[i], and nothing else.
    """

    ids: NDArray[np.int32]
    targets: NDArray[np.int32]
    segment: NDArray[np.int32]
    context: NDArray[np.int32]
    position: NDArray[np.int32]


class Piece(NamedTuple):
    """Positions [start, end) of one document's sequence s."""

    tokens: TokenSet
    document: int
    start: int
    end: int


def lay(pieces: Iterable[Piece], length: int, eot_id: int) -> Row:
    """Lay pieces one after another into a row of `length`; what is left is padding.

    A piece of a tuning set must be a whole record. ValueError if the pieces are longer than the row.
    """
    ids = np.full(length, eot_id, np.int32)
    targets, segment, context = (np.full(length, -1, np.int32) for _ in range(3))
    position = np.zeros(length, np.int32)
    row = Row(ids, targets, segment, context, position)
    places = np.arange(length, dtype=np.int32)
    at = n_segments = 0
    for piece in pieces:
        tokens, document, start, end = piece
        stop = at + end - start
        if stop > length:
            raise ValueError(f"the pieces of a row of {length} have {stop} positions or more")
        if tokens.trained is not None:
            n_segments += _lay_record(row, piece, at, n_segments)
            at = stop
            continue
        first, last = int(tokens.starts[document]), int(tokens.starts[document + 1])
        after_eot = 1 if start == 0 else 0
        ids[at + after_eot : stop] = tokens.ids[first + start + after_eot - 1 : first + end - 1]
        targets[at : stop - 1] = ids[at + 1 : stop]
        targets[stop - 1] = tokens.ids[first + end - 1] if first + end <= last else eot_id
        segment[at:stop] = context[at:stop] = n_segments
        position[at:stop] = places[: stop - at]
        n_segments += 1
        at = stop
    return row


def _lay_record(row: Row, piece: Piece, at: int, segment: int) -> int:
    """Lay a tuning record at `at`, its part 0 as `segment`; returns how many parts it has."""
    tokens, document, start, end = piece
    assert tokens.trained is not None
    assert tokens.parts is not None
    first = int(tokens.starts[document])
    n_tokens = int(tokens.starts[document + 1]) - first
    if (start, end) != (0, n_tokens):
        raise ValueError(f"[{start}, {end}) is not the whole of record {document} of {tokens.name}")
    parts = tokens.parts[tokens.part_starts[document] : tokens.part_starts[document + 1], 1].astype(np.int64)
    part_ends = np.cumsum(parts)
    here = slice(at, at + n_tokens)
    row.ids[here] = tokens.ids[first : first + n_tokens]
    targets = np.full(n_tokens, -1, np.int32)
    trained = tokens.trained[first + 1 : first + n_tokens] != 0
    targets[:-1][trained] = row.ids[here][1:][trained]
    targets[part_ends - 1] = -1  # what follows a part is another part, no continuation of it
    row.targets[here] = targets
    row.segment[here] = segment + np.repeat(np.arange(len(parts)), parts)
    row.context[here] = segment
    goes_on_from = np.full(len(parts), parts[0])
    goes_on_from[0] = 0
    row.position[here] = np.arange(n_tokens) - np.repeat(part_ends - parts - goes_on_from, parts)
    return len(parts)


# ---- cuts -----------------------------------------------------------------------------------------


def cut(
    ids: NDArray[Any], breaks: NDArray[np.uint8], start: int, length: int, limit: int | None = None
) -> list[int]:
    """Ends of the pieces, of at most `length` positions, that a document's positions from `start` fall into.

    `ids` [n] are the document's, `breaks` the table `Corpus.breaks`; with a `limit` the pieces go on only
    until one reaches it. A piece that does not reach the document's end stops after the last line that ends
    in its last 1/64, else after the last line or sentence that ends in its last quarter; where none does, it
    is full. What is near comes first because what a piece leaves of its row is padding unless a short
    document happens to fit: paragraphs are often lines, and to stop after one costs 5% of a row of 2,048.
    """
    size = len(ids) + 1
    limit = size if limit is None else min(limit, size)
    ends: list[int] = []
    while start < limit:
        start = size if size - start <= length else _cut_of(ids, breaks, start, length)
        ends.append(start)
    return ends


def _cut_of(ids: NDArray[Any], breaks: NDArray[np.uint8], start: int, length: int) -> int:
    full = start + length
    # An end e stands between s[e-1] = ids[e-2], which must end a line or sentence, and s[e] = ids[e-1].
    lowest = max(full - length // _FAR + 1, start + 1, 2)
    bits = breaks[ids[lowest - 2 : full]]
    before, after = bits[:-1], bits[1:]
    lines = np.flatnonzero(before & LINE_END)
    if len(lines) and lowest + lines[-1] > full - max(1, length // _NEAR):
        return lowest + int(lines[-1])
    is_sentence = (before & WIDE_MARK != 0) | ((before & SENTENCE_MARK != 0) & (after & OPENS != 0))
    ends = np.flatnonzero(is_sentence | (before & LINE_END != 0))
    return lowest + int(ends[-1]) if len(ends) else full


# ---- rows -----------------------------------------------------------------------------------------


class Queue(NamedTuple):
    """Pieces in the order in which they look for a row, int64 [n_pieces] each.

    `size` in positions; `document` numbers documents over all sets; `turn` says how often the document's
    set had been read before (of one set it never falls).
    """

    size: NDArray[np.int64]
    document: NDArray[np.int64]
    tokens: NDArray[np.int64]
    turn: NDArray[np.int64]


def best_fit(queue: Queue, length: int, n_rows: int) -> NDArray[np.int32]:
    """The row of each piece, int32 [n_pieces] in [0, n_rows), or -1 if no row has room for it any more.

    Each piece goes to the row, among the OPEN_ROWS last ones that are not full, which it fills best; if it
    fits into none, to a new one (best fit, Johnson et al. 1974, with bounded space). Once all rows are begun
    a piece may find no room. Then the document's later pieces get none either, nor does its set's
    next turn: what was read of a document is always its beginning, and no document of a set is a whole turn
    ahead of another.
    """
    waiting: list[int] = []  # gap and row in one number, sorted by gap
    rows: list[int] = []
    n_begun = 0
    left_out: set[int] = set()
    last_turn: dict[int, int] = {}
    documents, sets, turns = queue.document.tolist(), queue.tokens.tolist(), queue.turn.tolist()
    for index, need in enumerate(queue.size.tolist()):
        place = bisect_left(waiting, need << _ROW_BITS)
        if left_out and (
            documents[index] in left_out or turns[index] > last_turn.get(sets[index], turns[index])
        ):
            rows.append(-1)
            continue
        if place < len(waiting):
            gap, row = divmod(waiting.pop(place), 1 << _ROW_BITS)
        elif n_begun < n_rows:
            gap, row = length, n_begun
            n_begun += 1
        else:
            left_out.add(documents[index])
            last_turn.setdefault(sets[index], turns[index])
            rows.append(-1)
            continue
        if gap > need:
            if len(waiting) == OPEN_ROWS:
                del waiting[0]
            insort(waiting, (gap - need) << _ROW_BITS | row)
        rows.append(row)
    return np.array(rows, np.int32)


def rows_of(corpus: Corpus, tokens: TokenSet, documents: range, length: int) -> Iterator[Row]:
    """Rows of these documents of one set, each token once, for evaluation; nothing is shuffled.

    A document that is longer than a row fills rows alone, to the last position, as long as it goes on; what
    is left of it, and shorter ones, share rows. Records of a tuning set must not be longer than a row.
    """
    pieces = []
    for document in documents:
        n_tokens = int(tokens.starts[document + 1] - tokens.starts[document])
        size = n_tokens + 1 if tokens.trained is None else n_tokens
        step = length if tokens.trained is None else size
        pieces += [Piece(tokens, document, start, min(start + step, size)) for start in range(0, size, step)]
    sizes = np.array([piece.end - piece.start for piece in pieces], np.int64)
    alone = np.zeros(len(pieces), np.int64)
    rows = best_fit(Queue(sizes, np.arange(len(pieces)), alone, alone), length, len(pieces))
    order = np.argsort(rows, kind="stable")
    offsets = np.searchsorted(rows[order], np.arange(rows.max(initial=-1) + 2)).tolist()
    for first, last in pairwise(offsets):
        yield lay([pieces[index] for index in order[first:last]], length, corpus.eot_id)
