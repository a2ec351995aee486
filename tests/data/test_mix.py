from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.data.mix import Bookmark, matches, order, read_on, wanted
from xgen.data.shards import TokenSet
from xgen.errors import BadCorpus


def bookmark(name: str, lengths: list[int], done: list[int] | None = None) -> Bookmark:
    starts = np.cumsum([0, *lengths])
    tokens = TokenSet(name, np.zeros(starts[-1], np.uint16), starts, 0, Path("/"))
    return Bookmark(tokens, np.array(done or [0] * len(lengths), np.int64))


def bookmarks(**n_tokens: int) -> dict[str, Bookmark]:
    names = {name: name.replace("_", ".") for name in n_tokens}
    return {names[name]: bookmark(names[name], [10] * (n // 10)) for name, n in n_tokens.items()}


def test_a_weight_is_shared_by_the_root_of_the_tokens() -> None:
    marks = bookmarks(prose_de=400_000, prose_bg=10_000, code_py=90_000, prose_bg_held=1_000)
    found = wanted("s", {"prose.*": 3, "code.*": 1}, 0.5, 40_000, 4, marks)
    part = 30_000 / (400_000**0.5 + 10_000**0.5)
    assert found == {
        "code.py": 10_000,
        "prose.bg": pytest.approx(part * 10_000**0.5, abs=1),
        "prose.de": pytest.approx(part * 400_000**0.5, abs=1),
    }
    assert wanted("s", {"prose.*": 1}, 0, 40_000, 4, marks) == {"prose.bg": 20_000, "prose.de": 20_000}
    assert wanted("s", {"prose.*": 1}, 1, 41_000, 4, marks) == {"prose.bg": 1_000, "prose.de": 40_000}


def test_what_a_small_set_has_not_its_siblings_give() -> None:
    marks = bookmarks(prose_de=400_000, prose_bg=1_000)
    found = wanted("s", {"prose.*": 1}, 0.0, 40_000, 2, marks)
    assert found == {"prose.bg": 2_200, "prose.de": 37_800}  # 100 documents of 11 positions, twice


def test_a_pattern_of_one_set_is_served_before_one_of_many() -> None:
    marks = bookmarks(prose_de=1_000, prose_fr=10_000)
    found = wanted("s", {"prose.*": 1, "prose.de": 1}, 0.5, 2_200, 1, marks)
    assert found == {"prose.de": 1_100, "prose.fr": 1_100}


def test_too_little_left_is_one_sentence_with_set_number_and_way_out() -> None:
    marks = bookmarks(prose_de=1_000, code_py=1_000_000)
    with pytest.raises(BadCorpus) as raised:
        wanted("long", {"prose.de": 1, "code.py": 1}, 0.5, 10_000, 4, marks)
    assert str(raised.value) == (
        "stage long: prose.de is wanted for 5,000 tokens and has 4,400 left within 4 epochs, 600 short; "
        "lower its weight or the stage's tokens, raise max_epochs, or add documents to it."
    )
    with pytest.raises(BadCorpus, match=r"prose\.\* \(prose\.bg, prose\.de\) is wanted for 9,000"):
        wanted("s", {"prose.*": 9}, 0.5, 9_000, 1, bookmarks(prose_de=1_000, prose_bg=1_000))
    with pytest.raises(
        BadCorpus, match=r'no set of the corpus is "book\.\*", wanted for 5,000 .* prose\.de\.'
    ):
        wanted("s", {"prose.*": 1, "book.*": 1}, 0.5, 10_000, 4, marks)


def test_what_is_held_out_matches_nothing() -> None:
    marks = bookmarks(prose_de=1_000, prose_de_held=1_000, code_py=1_000)
    assert matches("*", marks) == ["code.py", "prose.de"]
    assert matches("prose.*", marks) == ["prose.de"]
    assert matches("prose.de.held", marks) == []
    with pytest.raises(BadCorpus, match=r"take of code\.py, prose\.de\."):
        wanted("s", {"*.held": 1}, 0.5, 10, 4, marks)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    weights=st.lists(st.integers(1, 5), min_size=6, max_size=6),
    temperature=st.floats(0, 1),
    n=st.integers(1, 3_000),
    epochs=st.floats(0.1, 4),
)
def test_law_parts_add_up_and_no_set_is_read_more_often_than_allowed(
    sizes: list[int], weights: list[int], temperature: float, n: int, epochs: float
) -> None:
    kinds = ("prose.a", "prose.b", "code.a", "code.b", "book.a", "book.b")
    marks = {name: bookmark(name, [9] * size) for name, size in zip(kinds, sizes, strict=False)}
    mix = {name.split(".")[0] + ".*": float(weight) for name, weight in zip(marks, weights, strict=False)}
    try:
        found = wanted("s", mix, temperature, n, epochs, marks)
    except BadCorpus:
        parts = {kind: n * weight / sum(mix.values()) for kind, weight in mix.items()}
        room = {kind: sum(marks[m].room(epochs) for m in matches(kind, marks)) for kind in mix}
        assert any(parts[kind] > room[kind] - 1 for kind in mix)
        return
    assert n <= sum(found.values()) <= n + len(marks) + len(mix)
    assert all(found[name] <= marks[name].room(epochs) for name in found)


def test_law_an_order_is_a_permutation_of_its_own_and_stays_as_it_is() -> None:
    """The first line is kept from when it was written: a plan of last year must come out again."""
    assert order(0, "prose.de", 0, 8).tolist() == [5, 0, 2, 4, 1, 7, 6, 3]
    assert sorted(order(7, "prose.de", 3, 1000).tolist()) == list(range(1000))
    first = order(0, "prose.de", 0, 100).tolist()
    for other in (order(1, "prose.de", 0, 100), order(0, "prose.fr", 0, 100), order(0, "prose.de", 1, 100)):
        assert other.tolist() != first


@given(
    lengths=st.lists(st.integers(1, 9), min_size=1, max_size=12),
    n=st.integers(1, 200),
    share=st.floats(0, 1),
    data=st.data(),
)
def test_law_a_reading_goes_on_turn_by_turn(
    lengths: list[int], n: int, share: float, data: st.DataObject
) -> None:
    turn = data.draw(st.integers(0, 2))
    done = [turn * (size + 1) + data.draw(st.integers(0, size + 1)) for size in lengths]
    mark = bookmark("prose.de", lengths, done)
    try:
        found = read_on("s", {"prose.de": mark}, {"prose.de": n}, 5, share, 0)["prose.de"]
    except BadCorpus:
        assert share > 0
        return
    size = found.limit - found.start
    assert size.sum() == n
    assert (size > 0).all()
    assert (np.diff(found.turn) >= 0).all()
    after = mark.after(found.document, size).done
    turns = after / mark.sizes
    assert np.floor(turns.min()) + 1 >= turns.max()  # none is begun again before all are read
    is_long = mark.tokens.lengths[found.document] >= 5
    assert size[is_long].sum() >= share * n - 1
    for document in range(len(lengths)):
        mine = np.flatnonzero(found.document == document)
        at = done[document]
        for index in mine:
            assert found.start[index] + found.turn[index] * mark.sizes[document] == at
            at += size[index]


def test_documents_begun_before_come_first() -> None:
    mark = bookmark("prose.de", [9] * 20, [0] * 10 + [4] + [0] * 9)
    found = read_on("s", {"prose.de": mark}, {"prose.de": 30}, 5, 0, 0)["prose.de"]
    assert (found.document[0], found.start[0]) == (10, 4)


def test_long_documents_are_preferred_as_far_as_asked_in_all_sets_that_have_them() -> None:
    lengths = [10, 100] * 50
    marks = {name: bookmark(name, lengths) for name in ("book.de", "book.fr")} | {
        "message.de": bookmark("message.de", [10] * 500)
    }
    positions = {"book.de": 2_000, "book.fr": 1_000, "message.de": 1_000}
    found = read_on("s", marks, positions, 100, 0.0, 0)

    def long(name: str) -> int:
        reading = found[name]
        return int((reading.limit - reading.start)[marks[name].tokens.lengths[reading.document] >= 100].sum())

    assert long("book.de") == pytest.approx(2_000 * 101 / 112, abs=2)  # as many as there are, not more
    found = read_on("s", marks, positions, 100, 0.72, 0)
    assert long("book.de") + long("book.fr") >= 0.72 * 4_000
    assert long("book.de") / 2_000 == pytest.approx(long("book.fr") / 1_000, abs=0.05)
    with pytest.raises(BadCorpus) as raised:
        read_on("s", marks, positions, 100, 0.8, 0)
    assert raised.value.what == (
        "long_share 0.8 asks for 3,200 tokens in documents of 100 or more, "
        "and its sets have 3,000 that this turn has not read, 200 short"
    )
    assert raised.value.way_out == "lower long_share to 0.75 or take of sets that have more of them"
    read_on("s", marks, positions, 100, 0.75, 0)
