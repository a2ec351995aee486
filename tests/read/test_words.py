import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.read.words import chunks, grams, holds, unspaced, words


def spelled(letters: str, marks: str) -> st.SearchStrategy[str]:
    """Words of a script: letters, each with marks behind it or without."""
    syllable = st.builds(str.__add__, st.sampled_from(letters), st.text(st.sampled_from(marks), max_size=2))
    return st.lists(syllable, min_size=1, max_size=5).map("".join)


WORDS = st.one_of(
    spelled("कखगमलसह", "ािीुूेैोौ्ंँ़"),
    spelled("كتبهذجد", "\u064b\u064e\u0650\u0651\u0652"),
    spelled("கமநல", "ாிீுெேைொோ்"),
    spelled("aeiourmnxé", "\u0301\u0323"),
    spelled("אבגד", "\u05b0\u05b8\u05bc"),
)


@given(st.lists(WORDS, max_size=6), st.sampled_from([" ", ", ", " — ", "\n", "। "]))
def test_law_marks_belong_to_their_word(some: list[str], gap: str) -> None:
    assert words(gap.join(some)) == [unicodedata.normalize("NFKC", word).casefold() for word in some]


@given(st.text(st.sampled_from("日本語文書館"), min_size=2, max_size=12))
def test_law_runs_without_spaces_become_pairs(run: str) -> None:
    pairs = words(run)
    assert pairs[0] + "".join(pair[1] for pair in pairs[1:]) == run
    assert all(len(pair) == 2 for pair in pairs)


@given(st.lists(WORDS, max_size=6))
def test_law_the_runs_of_a_word_make_it_again(some: list[str]) -> None:
    for word in words(" ".join(some)):
        first, *more = grams(word)
        assert first + "".join(run[-1] for run in more) == f"<{word}>"
        assert all(len(run) == 4 for run in more)
    assert grams(" ".join(some)) == [run for word in words(" ".join(some)) for run in grams(word)]
    assert grams("a 日本 mill") == ["<a>", "<日本>", "<mil", "mill", "ill>"]


def test_writings_of_one_word_are_one() -> None:
    assert words("Straße STRASSE ｆｕｌｌ ﬁnal nai\u0308ve") == [
        "strasse",
        "strasse",
        "full",
        "final",
        "naïve",
    ]
    assert words("snake_case, 3.5 km/h!") == ["snake", "case", "3", "5", "km", "h"]
    assert words("ab日本cd 語") == ["ab", "日本", "cd", "語"]
    assert words(" \n.,;|") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("今日は雨です。", True),
        ("ตลาดเช้าเปิดตั้งแต่ตีห้า", True),
        ("The 雨 fell.", False),
        ("कल सुबह", False),
        ("1,2,3", False),
        ("", False),
    ],
)
def test_scripts_without_spaces_are_known(text: str, expected: bool) -> None:
    assert unspaced(text) == expected


@given(st.lists(WORDS | st.sampled_from(["1,250.5", "3", "日本", "snake_case", " ", "\n\n", "!", "😀"])))
def test_law_chunks_are_the_text_and_cut_no_word(some: list[str]) -> None:
    text = " ".join(some)
    cut = chunks(text)
    assert "".join(cut) == text
    for word in some:
        if len(words(word)) == 1 and not unspaced(word):
            assert word in cut


def test_numbers_are_one_chunk_and_letters_without_spaces_each_their_own() -> None:
    assert chunks("1,250.5 km, 3. 日本2nd") == [
        "1,250.5",
        " ",
        "km",
        ",",
        " ",
        "3",
        ".",
        " ",
        "日",
        "本",
        "2nd",
    ]


def test_a_text_holds_whole_words_in_one_run():
    assert holds("It cost 150,000 US dollars.", "150,000 us Dollars")
    assert not holds("It cost 1912 dollars.", "12 dollars")
    assert not holds("US dollars: 150,000", "150,000 US dollars")
    assert holds("由塞尔福思公司发布", "塞尔福思")
