import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.read.support import strangers


@given(n=st.integers(0, 10**12), writing=st.sampled_from(["{:,}", "{:_}", "{}", "{}.0", "{:,}.00", "0{}"]))
def test_law_a_number_is_known_however_it_is_written(n: int, writing: str) -> None:
    written = writing.format(n).replace("_", " ")
    assert strangers(f"There were {n} of them.", f"it says {written}") == []
    assert strangers(f"There were {written} of them.", f"it says {n}") == []


@given(n=st.integers(0, 10**9), other=st.integers(0, 10**9))
def test_law_a_number_is_known_as_a_whole_only(n: int, other: int) -> None:
    expected = [] if n == other else [str(n)]
    assert strangers(f"There were {other} of them.", f"it says {n}") == expected


@pytest.mark.parametrize(
    ("text", "sentence", "unknown"),
    [
        ("It rose by 5%.", "it rose by 5 percent", []),
        ("Es stieg um 3,5 Prozent.", "it rose by 3.5%", []),
        ("He paid 1.234,56 euros.", "he paid 1,234.56", []),
        ("He paid 1’234 francs.", "he paid 1234", []),
        ("It has 7B weights.", "it has 7 billion weights", []),
        ("It has seven billion weights.", "it has 7B weights", []),
        ("It took 1,200 billion tokens.", "it took 1.2 trillion tokens", []),
        ("It took 1.5 trillion tokens.", "it took 1.5 million tokens", ["1.5 million"]),
        ("مساحتها ١٢٣ كيلومترا", "its area is 123", []),
        ("共8.19亿元", "819000000", []),
        ("Use version 4.29.2.", "version 4.29.2 and 4.29.3", ["4.29.3"]),
        ("There are 512 rows and 12.5 columns.", "12 columns, 5 rows", ["12", "5"]),
        ("The T4 has 16 GB.", "a T4 with 4 cores", ["4"]),
        ("", "7 of 9", ["7", "9"]),
        ("No. " + "1" * 40, "no. " + "1" * 39 + "2", ["1" * 39 + "2"]),
    ],
)
def test_numbers(text: str, sentence: str, unknown: list[str]) -> None:
    assert strangers(text, sentence) == unknown


# Written by Babel 2.18 (CLDR), `format_date(date, "long", locale)`; 3 July and 21 November 2023.
BABEL = {
    "bg": ("3 юли 2023\u202fг.", "21 ноември 2023\u202fг."),
    "ca": ("3 de juliol del 2023", "21 de novembre del 2023"),
    "cs": ("3. července 2023", "21. listopadu 2023"),
    "da": ("3. juli 2023", "21. november 2023"),
    "de": ("3. Juli 2023", "21. November 2023"),
    "en": ("July 3, 2023", "November 21, 2023"),
    "en_GB": ("3 July 2023", "21 November 2023"),
    "es": ("3 de julio de 2023", "21 de noviembre de 2023"),
    "fr": ("3 juillet 2023", "21 novembre 2023"),
    "hr": ("3. srpnja 2023.", "21. studenoga 2023."),
    "hu": ("2023. július 3.", "2023. november 21."),
    "it": ("3 luglio 2023", "21 novembre 2023"),
    "ja": ("2023年7月3日", "2023年11月21日"),
    "ko": ("2023년 7월 3일", "2023년 11월 21일"),
    "nl": ("3 juli 2023", "21 november 2023"),
    "pl": ("3 lipca 2023", "21 listopada 2023"),
    "pt": ("3 de julho de 2023", "21 de novembro de 2023"),
    "ro": ("3 iulie 2023", "21 noiembrie 2023"),
    "ru": ("3 июля 2023\u202fг.", "21 ноября 2023\u202fг."),
    "sl": ("3. julij 2023", "21. november 2023"),
    "sr": ("3. јул 2023.", "21. новембар 2023."),
    "sv": ("3 juli 2023", "21 november 2023"),
    "uk": ("3 липня 2023\u202fр.", "21 листопада 2023\u202fр."),
    "zh": ("2023年7月3日", "2023年11月21日"),
}


@pytest.mark.parametrize("language", BABEL)
def test_against_babel_dates_are_known_in_words_and_digits(language: str) -> None:
    july, november = BABEL[language]
    assert strangers(f"({july})", "on 2023-07-03") == []
    assert strangers("on 2023-11-21", f"({november})") == []
    assert strangers(f"({july})", "on 2023-07-04") == ["2023-07-04"]
    assert strangers("on 2023-07-03 and 2023-11-22, 21 of them", f"({november})") != []


@pytest.mark.parametrize(
    ("text", "sentence", "unknown"),
    [
        ("Signed on 3 July 2023.", "signed July 3rd, 2023, the 3rd of July, 03/07/2023, 3.7.2023", []),
        ("Signed on 03/07/2023.", "signed on 7 March 2023 or 3 July 2023", []),
        ("Signed on 3 July 2023.", "signed in July 2023, in July, on 3 July", []),
        ("From 29 June to 7 July 2023.", "on 29 June 2023", []),
        ("Signed on 3 July 2023, ended 4 August 2024.", "on 3 July 2024", ["3 July 2024"]),
        ("Signed in July 2023.", "signed on 12 July 2023", ["12 July 2023"]),
        ("They may 3 times, 2023.", "from May 3, 2023", ["May 3, 2023"]),
        ("In July 2023.", "in August 2023", ["August 2023"]),
        ("31/31/2023", "31/31/2023", []),
    ],
)
def test_dates(text: str, sentence: str, unknown: list[str]) -> None:
    assert strangers(text, sentence) == unknown


@pytest.mark.parametrize(
    ("text", "sentence", "unknown"),
    [
        ("Ada Byron met Charles.", "In May Ada Byron and Grace Hopper met Charles.", ["May", "Grace Hopper"]),
        ("ada byron's notes", "The notes are Ada Byron's.", []),
        ("The makers said so.", "However, Salesforce said so.", ["Salesforce"]),
        ("The makers said so.", "Marie Curie said so.", ["Marie Curie"]),
        ("The makers said so.", "Under Marie they said so.", ["Marie"]),
        ("The makers said so.", "Researchers said so. Others agreed.", []),
        (
            "It runs on Open AI's GPT-4 in the Sales-\nforce cloud.",
            "it runs on OpenAI, GPT4 and Salesforce",
            [],
        ),
        ("It runs on a T4.", "it runs on an A6000", ["A6000"]),
        ("Два человека встретились в Москве.", "они встретились в Казани", ["Казани"]),
        ("他们在北京见面。", "他们在上海见面。", []),  # no case, no names
    ],
)
def test_names(text: str, sentence: str, unknown: list[str]) -> None:
    assert strangers(text, sentence) == unknown


def test_german_nouns_are_no_names() -> None:
    text = "Der Vertrag wurde gestern von den beiden Parteien in der Stadt unterschrieben und gilt ab morgen."
    assert strangers(text, "Die Vereinbarung gilt ab morgen, sagt OpenAI.") == ["OpenAI"]


@given(text=st.text(max_size=200), sentence=st.text(max_size=80))
def test_law_strangers_stand_in_the_sentence(text: str, sentence: str) -> None:
    found = strangers(text, sentence)
    assert all(piece and piece in sentence for piece in found)
    assert strangers(sentence, sentence) == []
