import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.data.filters.language import foreign, languages_of, main_language, same_language
from xgen.data.filters.paragraphs import MAX_CHARACTERS, lines_of, paragraphs_of
from xgen.data.filters.stop_words import OWN_WORDS, STOP_WORDS
from xgen.data.recipe import LANGUAGES

WANTED = frozenset(LANGUAGES)
SAID = {
    "en": "The window opens when you press the key, and it stays open until the work is saved to the disk.",
    "de": "Das Fenster öffnet sich, sobald die Taste gedrückt wird, und bleibt offen, bis gespeichert ist.",
    "hr": "Prozor se otvara kada pritisnete tipku i ostaje otvoren dok se rad ne spremi na disk računala.",
    "uk": "Вікно відкривається, коли ви натискаєте клавішу, і лишається відкритим, доки роботу не збережено.",
    "ja": "キーを押すとウィンドウが開き、作業がディスクに保存されるまで開いたままになります。",
    "zh": "按下按键后窗口会打开，并一直保持打开状态，直到工作保存到磁盘为止，请不要关闭电源。",
}
COMMAND = "sudo apt install gcc make git-core libxml2-dev zlib1g-dev bison flex curl perl-base tar gzip bzip2"


@pytest.mark.parametrize("language", SAID)
def test_an_english_paragraph_in_another_language_is_found(language: str) -> None:
    pieces = [SAID[language], SAID["en"], SAID[language], COMMAND]
    found = languages_of(pieces, language, WANTED)
    gone = foreign(found, language)
    assert gone == [None, "en" if language != "en" else None, None, None]


def test_against_py3langid_a_word_of_ones_own_says_what_the_library_says() -> None:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    library = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    for language, text in SAID.items():
        assert library.classify(text)[0] == language
        assert languages_of([text], language, WANTED)[0] in {language, None}
        assert languages_of([text], "fr", WANTED)[0] == (language if language != "hr" else None), "hr or sr?"


def test_short_pieces_go_where_both_neighbours_go() -> None:
    found = ["en", None, "en", None, "de", None, None, "en"]
    assert foreign(found, "de") == ["en", "en", "en", None, None, None, None, "en"]
    assert foreign([None, None], "de") == [None, None]


def test_a_document_that_is_wholly_in_another_language_is_said_to_be() -> None:
    pieces = [SAID["en"]] * 3 + [SAID["de"]]
    assert main_language(pieces, ["en", "en", "en", "de"], "de") == "en"
    assert main_language(pieces, ["en", "de", "de", "de"], "de") == "de"
    assert main_language(pieces, ["sr", "sr", "sr", "sr"], "hr") == "hr", (
        "the library takes one for the other"
    )
    assert main_language([], [], "de") == "de"


def test_sisters_are_one_language_and_strangers_are_not() -> None:
    assert same_language("cs", "sk")
    assert not same_language("cs", "pl")


def test_no_word_is_two_languages_own() -> None:
    assert set(STOP_WORDS) == set(LANGUAGES)
    for one, words in OWN_WORDS.items():
        others = [name for name in OWN_WORDS if name != one and {one, name} != {"hr", "sr"}]
        assert not words.intersection(*[set().union(*(STOP_WORDS[name] for name in others))])


@given(st.text("ab .\n\t", max_size=300))
def test_law_pieces_join_to_the_text(text: str) -> None:
    assert "".join(paragraphs_of(text)) == text
    assert "".join(lines_of(text)) == text


def test_a_paragraph_without_end_is_cut_at_lines() -> None:
    pieces = paragraphs_of("a line of text\n" * 1000 + "\nnext")
    assert len(pieces) > 3
    assert all(len(piece) <= MAX_CHARACTERS + 20 for piece in pieces)
    assert pieces[-1] == "next"
