import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.text.extract.mend import mend_characters, mend_lines


@pytest.mark.parametrize(
    ("lines", "mended"),
    [
        (["An exam-", "ple of it."], ["An example", "of it."]),
        (["An exam-", "ple, then"], ["An example,", "then"]),
        (["exam-", "ple"], ["example"]),
        (["It is well-known.", "The well-", "known one"], ["It is well-known.", "The well-known", "one"]),
        (
            ["long plans", "term loans", "the long-", "term view"],
            ["long plans", "term loans", "the long-term", "view"],
        ),
        (["an example", "of exam-", "ple texts"], ["an example", "of example", "texts"]),
        (["Anglo-", "Saxon names"], ["Anglo-Saxon", "names"]),
        (["from 2019-", "2021 and", "a dash -", "here"], ["from 2019-", "2021 and", "a dash -", "here"]),
        (["a | co-", "lumn"], ["a | co-", "lumn"]),  # cells are not words broken by a margin
        (["1 Scope . . . . . . . 7", "2 Terms ....... 9"], ["1 Scope | 7", "2 Terms | 9"]),
    ],
)
def test_words_broken_at_line_ends(lines: list[str], mended: list[str]) -> None:
    assert mend_lines([lines]) == [mended]


def test_a_sentence_over_columns_and_pages() -> None:
    first = [
        "This column ends within a sen-",
        "",
        "tence that goes on, and on, and over",
        "",
        "its gap here it goes",
    ]
    second = ["", "on to the next page.", "", "Another paragraph"]
    assert mend_lines([first, second]) == [
        ["This column ends within a sentence", "that goes on, and on, and over", "its gap here it goes"],
        ["", "on to the next page.", "", "Another paragraph"],
    ]


def test_characters() -> None:
    assert [mend_characters(word) for word in ("oﬃce", "ﬂat", "a\u00adb", "\uf0b7", "\u2010")] == [
        *("office", "flat", "a-b", "•", "-")
    ]


@given(st.lists(st.lists(st.text(st.sampled_from("abA -.|")).map(lambda s: " ".join(s.split()))), max_size=4))
def test_law_letters_stay_in_order(pages: list[list[str]]) -> None:
    def letters(some: list[list[str]]) -> str:
        return "".join(c for lines in some for line in lines for c in line if c.isalpha())

    mended = mend_lines(pages)
    assert len(mended) == len(pages)
    assert letters(mended) == letters(pages)
