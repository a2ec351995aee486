from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from xgen.data import pack
from xgen.data.pack import Piece, Queue, Row, best_fit, cut, lay, rows_of
from xgen.data.shards import LINE_END, OPENS, SENTENCE_MARK, WIDE_MARK, Corpus, TokenSet

EOT = 99
KINDS = np.zeros(100, np.uint8)  # what ids 0..7 are for a cut
KINDS[:8] = [LINE_END | OPENS, SENTENCE_MARK, WIDE_MARK, OPENS, 0, 0, LINE_END, OPENS]


def token_set(
    documents: list[list[int]], trained: list[list[int]] | None = None, parts: list[list[int]] | None = None
) -> TokenSet:
    starts = np.cumsum([0, *map(len, documents)])
    ids = np.array([token for document in documents for token in document], np.uint16)
    if trained is None or parts is None:
        return TokenSet("prose.de", ids, starts, 0, Path("/"))
    flags = np.array([flag for document in trained for flag in document], np.uint8)
    pairs = np.array([(i, size) for i, sizes in enumerate(parts) for size in sizes], np.int32)
    return TokenSet("chat.de", ids, starts, 0, Path("/"), flags, pairs)


def sees(row: Row) -> NDArray[np.bool_]:
    """The attention rule as it stands in Row, bool [T, T]."""
    i, j = np.indices((len(row.ids), len(row.ids)))
    same = (row.segment[j] == row.segment[i]) | (row.segment[j] == row.context[i])
    return (j <= i) & same & (row.segment[i] >= 0)


plain = st.lists(st.integers(0, 7), min_size=1, max_size=60)


@given(ids=plain, length=st.integers(1, 40), start=st.integers(0, 60))
def test_law_pieces_cover_a_document_and_end_where_a_line_or_sentence_does(
    ids: list[int], length: int, start: int
) -> None:
    size = len(ids) + 1
    start = min(start, size - 1)
    ends = cut(np.array(ids, np.uint16), KINDS, start, length)
    bounds = [start, *ends]
    sizes = np.diff(bounds)
    assert bounds[-1] == size
    assert (sizes >= 1).all()
    assert (sizes <= length).all()
    s = [EOT, *ids, EOT]
    lines = [e for e in range(2, size) if KINDS[s[e - 1]] & LINE_END]
    sentences = [
        e
        for e in range(2, size)
        if KINDS[s[e - 1]] & WIDE_MARK or (KINDS[s[e - 1]] & SENTENCE_MARK and KINDS[s[e]] & OPENS)
    ]
    for a, b in pairwise(bounds[:-1]):
        full = a + length
        near = [e for e in lines if full - max(1, length // 64) < e <= full and e > a]
        far = [e for e in lines + sentences if full - length // 4 < e <= full and e > a]
        assert b == max(near if near and far else far, default=full)


def test_a_line_that_ends_near_is_taken_before_a_sentence_and_of_far_ones_the_last() -> None:
    ids = np.full(400, 4, np.uint16)
    ids[100] = 0  # a line ends at position 102 of s
    assert cut(ids, KINDS, 0, 128)[0] == 102
    ids[118:120] = 1, 3  # a sentence at 120
    assert cut(ids, KINDS, 0, 128)[0] == 120
    ids[125:128] = 0, 2, 4  # a line at 127, a sentence at 128
    assert cut(ids, KINDS, 0, 128)[0] == 127
    assert cut(np.full(400, 4, np.uint16), KINDS, 5, 128) == [133, 261, 389, 401]


@given(documents=st.lists(plain, min_size=1, max_size=6), length=st.integers(4, 40), data=st.data())
def test_law_each_token_is_a_target_once_and_positions_restart(
    documents: list[list[int]], length: int, data: st.DataObject
) -> None:
    tokens = token_set(documents)
    targets: list[list[int]] = [[] for _ in documents]
    inputs: list[list[int]] = [[] for _ in documents]
    for index, ids in enumerate(documents):
        start = 0
        for end in cut(np.array(ids, np.uint16), KINDS, 0, length):
            more = [Piece(tokens, 0, 0, 1)] if end - start < length and data.draw(st.booleans()) else []
            row = lay([Piece(tokens, index, start, end), *more], length, EOT)
            n = end - start
            inputs[index] += row.ids[:n].tolist()
            targets[index] += row.targets[:n].tolist()
            assert row.position[:n].tolist() == list(range(n))
            assert (row.segment[:n] == 0).all()
            assert (row.segment == row.context).all()
            padding = np.arange(length) >= n + len(more)
            assert (row.segment[padding] == -1).all()
            assert (row.targets[padding] == -1).all()
            assert (row.ids[padding] == EOT).all()
            start = end
    for index, ids in enumerate(documents):
        assert inputs[index] == [EOT, *ids]
        assert targets[index] == [*ids, EOT]


def test_pieces_see_themselves_only() -> None:
    row = lay([Piece(token_set([[1, 2], [3]]), i, 0, size) for i, size in ((0, 3), (1, 2))], 7, EOT)
    assert row.ids.tolist() == [EOT, 1, 2, EOT, 3, EOT, EOT]
    assert row.targets.tolist() == [1, 2, EOT, 3, EOT, -1, -1]
    assert row.segment.tolist() == [0, 0, 0, 1, 1, -1, -1]
    assert row.position.tolist() == [0, 1, 2, 0, 1, 0, 0]
    assert sees(row).sum(1).tolist() == [1, 2, 3, 1, 2, 0, 0]
    assert all(array.dtype == np.int32 for array in vars(row).values())


@st.composite
def records(draw: st.DrawFn) -> tuple[list[list[int]], list[list[int]], list[list[int]]]:
    parts = draw(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=4), min_size=1, max_size=4))
    ids, trained = [], []
    for sizes in parts:
        n = sum(sizes)
        ids.append(draw(st.lists(st.integers(0, 90), min_size=n, max_size=n)))
        trained.append(draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    return ids, trained, parts


@given(drawn=records())
def test_law_each_part_of_a_record_is_the_conversation_read_alone(
    drawn: tuple[list[list[int]], list[list[int]], list[list[int]]],
) -> None:
    """What a part's positions see, and where, is part 0 and the part, one after the other."""
    ids, trained, parts = drawn
    tokens = token_set(ids, trained, parts)
    row = lay([Piece(tokens, i, 0, len(document)) for i, document in enumerate(ids)], 100, EOT)
    mask = sees(row)
    at = 0
    for document, flags, sizes in zip(ids, trained, parts, strict=True):
        before = at
        for number, size in enumerate(sizes):
            first = at - before
            alone = [*(document[: sizes[0]] if number else []), *document[first : first + size]]
            for offset in range(size):
                place = at + offset
                n_seen = len(alone) - size + offset + 1
                assert row.ids[mask[place]].tolist() == alone[:n_seen]
                assert row.position[mask[place]].tolist() == list(range(n_seen))
                inside = offset + 1 < size and flags[first + offset + 1]
                assert row.targets[place] == (document[first + offset + 1] if inside else -1)
            at += size
    assert (row.segment[at:] == -1).all()
    assert not mask[at:].any()


def test_a_record_is_never_cut_and_a_row_never_overfull() -> None:
    tokens = token_set([[1, 2, 3]], [[1, 1, 1]], [[3]])
    with pytest.raises(ValueError, match="not the whole"):
        lay([Piece(tokens, 0, 0, 2)], 8, EOT)
    with pytest.raises(ValueError, match="a row of 2"):
        lay([Piece(tokens, 0, 0, 3)], 2, EOT)


@st.composite
def queues(draw: st.DrawFn) -> tuple[Queue, int]:
    """Sets whose documents, some of several pieces, come by in turns."""
    length = draw(st.integers(1, 20))
    pieces: list[tuple[int, int, int, int]] = []
    for number in range(draw(st.integers(1, 3))):
        sizes = draw(
            st.lists(st.lists(st.integers(1, length), min_size=1, max_size=3), min_size=1, max_size=8)
        )
        for turn in range(draw(st.integers(1, 3))):
            pieces += [(size, 100 * number + i, number, turn) for i, s in enumerate(sizes) for size in s]
    return Queue(*np.array(pieces, np.int64).T), length


@given(drawn=queues(), n_rows=st.integers(1, 30))
def test_law_rows_hold_what_fits_and_documents_are_read_from_their_beginning(
    drawn: tuple[Queue, int], n_rows: int
) -> None:
    queue, length = drawn
    rows = best_fit(queue, length, n_rows)
    placed = rows >= 0
    held = np.bincount(rows[placed], queue.size[placed], n_rows)
    assert (held <= length).all()
    assert rows.max() < n_rows
    if not placed.all():
        assert (held > 0).all()
    for document in np.unique(queue.document):
        mine = placed[queue.document == document]
        assert (np.diff(mine.astype(int)) <= 0).all()  # placed ones first, then none
    for number in np.unique(queue.tokens):
        mine = queue.tokens == number
        left = queue.turn[mine & ~placed]
        if len(left):
            assert queue.turn[mine & placed].max(initial=0) <= left.min()


def test_best_fit_fills_rows_of_lengths_as_documents_have_them() -> None:
    random = np.random.default_rng(0)
    size = np.minimum(random.lognormal(6, 1.2, 60_000).astype(np.int64) + 1, 2048)
    every = np.arange(len(size))
    n_rows = int(size.sum()) // 2048
    rows = best_fit(Queue(size, every, 0 * every, 0 * every), 2048, n_rows)
    assert size[rows >= 0].sum() / (n_rows * 2048) > 0.99


def test_the_fullest_row_is_closed_when_too_many_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    size = np.array([6, 7, 10, 8, 3, 2, 1], np.int64)
    every = np.arange(len(size))
    queue = Queue(size, every, 0 * every, 0 * every)
    assert best_fit(queue, 10, 4).tolist() == [0, 1, 2, 3, 1, 3, 0]
    monkeypatch.setattr(pack, "OPEN_ROWS", 2)
    assert best_fit(queue, 10, 4).tolist() == [0, 1, 2, 3, 0, 3, 0]


@settings(max_examples=20)
@given(st.lists(st.integers(1, 2**31 - 2), min_size=1, max_size=20))
def test_gaps_of_any_length_fit_in_a_number(sizes: list[int]) -> None:
    size = np.array(sizes, np.int64)
    every = np.arange(len(size))
    rows = best_fit(Queue(size, every, 0 * every, 0 * every), 2**31 - 1, len(size))
    assert (rows >= 0).all()


@given(documents=st.lists(plain, min_size=2, max_size=8), length=st.integers(1, 40), data=st.data())
def test_law_rows_for_evaluation_hold_each_token_of_their_documents_once(
    documents: list[list[int]], length: int, data: st.DataObject
) -> None:
    tokens = token_set(documents)
    corpus = Corpus(Path("/"), "made", 100, EOT, "", {})
    first = data.draw(st.integers(0, len(documents) - 1))
    rows = list(rows_of(corpus, tokens, range(first, len(documents)), length))
    chosen = documents[first:]
    found = np.concatenate([row.targets[row.targets >= 0] for row in rows])
    wanted = [token for document in chosen for token in [*document, EOT]]
    assert sorted(found.tolist()) == sorted(wanted)
    whole = [row for row in rows if (row.segment == 0).all() and row.position[-1] == length - 1]
    assert len(whole) >= sum((len(document) + 1) // length for document in chosen)
    assert list(rows_of(corpus, tokens, range(0), length)) == []


def test_rows_for_evaluation_of_records() -> None:
    tokens = token_set([[1, 2, 3], [4, 5]], [[0, 1, 1], [1, 1]], [[3], [2]])
    corpus = Corpus(Path("/"), "made", 100, EOT, "", {})
    rows = list(rows_of(corpus, tokens, range(2), 4))
    assert [row.targets.tolist() for row in rows] == [[2, 3, -1, -1], [5, -1, -1, -1]]
