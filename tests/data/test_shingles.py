import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from xgen.data.shingles import ngrams, windows, word_hashes, words_of

WORDS = st.lists(st.text("abcdefgäß漢", min_size=1, max_size=6), max_size=30)


def test_words_have_no_case_and_no_punctuation_and_wide_characters_stand_alone() -> None:
    assert words_of("“Don’t,” said Ölaf; x_y 漢字かな 42.") == [
        *("don", "t", "said", "ölaf", "x", "y"),
        *("漢", "字", "か", "な", "42"),
    ]


@given(WORDS)
def test_law_equal_words_and_only_they_have_equal_hashes(words: list[str]) -> None:
    hashes = word_hashes(words)
    assert len(hashes) == len(words)
    assert len(set(hashes.tolist())) == len(set(words))
    assert all(word_hashes([word])[0] == number for word, number in zip(words, hashes, strict=True))


@given(WORDS, st.integers(1, 5))
def test_against_python_runs_of_words_are_told_apart(words: list[str], n: int) -> None:
    runs = [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]
    found = ngrams(word_hashes(words), n)
    assert len(found) == len(runs)
    same = [[one == other for other in runs] for one in runs]
    assert (found[:, None] == found[None, :]).tolist() == same or not runs


@given(st.text("ab \n", max_size=60), st.integers(1, 8))
def test_against_python_windows_of_bytes(text: str, size: int) -> None:
    bare = "".join(text.split())
    expected = [bare[i : i + size] for i in range(len(bare) - size + 1)]
    found = windows(text, size)
    assert len(found) == len(expected)
    assert len(np.unique(found)) == len(set(expected))


def test_hashes_are_the_same_on_every_machine() -> None:
    """They are kept on the disk: a change of them is a change of form (`clean.FORM`)."""
    assert word_hashes(["word"]).tolist() == [3342391348170646240]
