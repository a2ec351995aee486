import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.dedup import N_PERMUTATIONS
from xgen.data.recipe import Caps
from xgen.data.select import MAX_REPEATS, MB, REASONS, Candidates, choose, language_caps


def candidates(rows: list[dict[str, Any]]) -> Candidates:
    """One document a row; `words` alike make documents exact copies, `sketch` alike near ones."""
    chance = np.random.default_rng(0)
    sketches = {
        row.get("sketch", row["name"]): chance.integers(0, 1 << 32, N_PERMUTATIONS, np.uint32) for row in rows
    }
    marks = [(mark, i, j, 100) for i, row in enumerate(rows) for j, mark in enumerate(row.get("marks", []))]

    def key(text: str) -> list[int]:
        return list(text.encode().ljust(16, b"-")[:16])

    return Candidates(
        units=np.array([row.get("unit", 0) for row in rows]),
        rows=np.arange(len(rows)),
        sets=np.array([row.get("set", "prose") for row in rows]),
        languages=np.array([row.get("language", "de") for row in rows]),
        sizes=np.array([row.get("size", 1000) for row in rows]),
        keys=np.array([key(row.get("words", row["name"])) for row in rows], np.uint8),
        ranks=np.array([key(row["name"]) for row in rows], np.uint8),
        signatures=np.stack([sketches[row.get("sketch", row["name"])] for row in rows]),
        marks=np.array([mark for mark, *_ in marks], np.uint64),
        places=np.array([place for _, *place in marks], np.int64).reshape(-1, 3),
    )


def fates(rows: list[dict[str, Any]], caps: Caps | None = None) -> dict[str, str]:
    choice = choose(candidates(rows), caps or Caps())
    return {row["name"]: REASONS[i] for row, i in zip(rows, choice.reasons.tolist(), strict=True)}


def test_of_copies_the_longest_stays() -> None:
    rows = [
        {"name": "a", "words": "same", "size": 900},
        {"name": "b", "words": "same", "size": 950},
        {"name": "c", "sketch": "near", "size": 500},
        {"name": "d", "sketch": "near", "size": 600},
        {"name": "e"},
    ]
    assert fates(rows) == {
        "a": "exact_duplicate",
        "b": "",
        "c": "near_duplicate",
        "d": "",
        "e": "",
    }


def test_conversations_may_be_alike_but_not_the_same() -> None:
    rows = [
        {"name": name, "set": "chat", "sketch": "near", "words": words}
        for name, words in (("a", "1"), ("b", "2"), ("c", "2"))
    ]
    assert fates(rows) == {"a": "", "b": "", "c": "exact_duplicate"}


def test_a_paragraph_that_is_everywhere_goes_and_so_does_who_has_nothing_else() -> None:
    rows: list[dict[str, Any]] = [
        {"name": f"n{i}", "marks": [7, 100 + i], "size": 1000} for i in range(MAX_REPEATS)
    ]
    assert len(choose(candidates(rows), Caps()).gone) == 0
    rows.append({"name": "last", "marks": [7, 8], "size": 250})
    choice = choose(candidates(rows), Caps())
    assert fates(rows)["last"] == "too_little_left"
    assert choice.gone.tolist() == [[i, 0, 100] for i in range(MAX_REPEATS)]
    assert choice.sizes[:MAX_REPEATS].tolist() == [900] * MAX_REPEATS


def test_a_package_and_a_kind_of_set_have_their_caps() -> None:
    code = [{"name": f"c{i}", "set": "code", "language": "py", "unit": i % 2, "size": MB} for i in range(8)]
    books = [{"name": f"b{i}", "set": "book", "size": MB} for i in range(6)]
    prose = [{"name": f"p{i}", "size": MB} for i in range(20)]
    caps = Caps(text_mb=9, package_mb=3, set_share={"book": 1 / 3})
    found = fates([*code, *books, *prose], caps)
    over = {
        kind: sum(found[row["name"]] == "over_the_cap" for row in rows)
        for kind, rows in {"code": code, "book": books, "prose": prose}.items()
    }
    assert over == {"code": 2, "book": 3, "prose": 14}


BYTES = st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 500), min_size=1)


@given(BYTES, st.integers(1, 900))
def test_law_caps_use_the_total_and_grow_with_what_there_is(sizes: dict[str, int], total: int) -> None:
    there = {name: {"prose": size * MB} for name, size in sizes.items()}
    limits = language_caps(there, total, Caps(), {})
    kept = {name: min(size, limits[name] / MB) for name, size in sizes.items()}
    assert sum(kept.values()) == pytest.approx(min(total, sum(sizes.values())))
    cut = {name for name in sizes if kept[name] < sizes[name] - 1e-6}
    for one in cut:
        for other in cut:
            ratio = (sizes[one] / sizes[other]) ** 0.5
            assert kept[one] / kept[other] == pytest.approx(ratio)


def test_a_cap_by_hand_and_no_cap() -> None:
    there = {"a": {"prose": 50 * MB}, "b": {"prose": 50 * MB}}
    limits = language_caps(there, 40, Caps(language_mb={"a": 10}), {})
    assert limits == {"a": 10 * MB, "b": pytest.approx(30 * MB)}
    assert language_caps(there, None, Caps(), {}) == {"a": float("inf"), "b": float("inf")}


def test_room_that_books_may_not_fill_is_the_others() -> None:
    there = {"a": {"book": 100 * MB}, "b": {"prose": 100 * MB}}
    limits = language_caps(there, 80, Caps(), {"book": 0.5})
    assert limits["b"] > 45 * MB


ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "words": st.sampled_from("abcdef"),
            "sketch": st.sampled_from("uvwxyz"),
            "set": st.sampled_from(["prose", "book", "code", "chat"]),
            "language": st.sampled_from(["de", "en"]),
            "size": st.integers(1, 6).map(lambda n: n * 400_000),
        }
    ),
    min_size=1,
    max_size=25,
)


@settings(max_examples=60, deadline=None)
@given(ROWS, st.randoms(use_true_random=False))
def test_law_the_order_of_documents_decides_nothing(
    rows: list[dict[str, Any]], chance: random.Random
) -> None:
    named = [row | {"name": f"d{i}"} for i, row in enumerate(rows)]
    caps = Caps(text_mb=4, code_mb=2, package_mb=1.5, set_share={"book": 0.3})
    assert fates(named, caps) == fates(chance.sample(named, len(named)), caps)
