import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xgen.text.sentences import MAX_SENTENCE_CHARACTERS, paragraph_spans, sentence_spans


def sentences(text: str) -> list[str]:
    return [text[a:b] for a, b in sentence_spans(text)]


# Each case is one string with "|" where a person would cut; cut marks are removed before the test.
@pytest.mark.parametrize(
    "marked",
    [
        "It was late.¦He left.",
        "Dr. Smith met Mr. J. R. Jones.¦They spoke, e.g. about cars, i.e. old ones.¦Then it rained.",
        "See Fig. 3 and No. 5 in vol. 2, pp. 3-5.¦It costs 3.14 dollars.¦Really?¦Yes!¦Good.",
        "He said “Come here.”¦She did not.",
        'He asked, "Why?" and left.¦(It was late.)¦Nobody came.',
        "It works in the U.S. and the U.K. today.¦She lives in the U.S.¦The house is old.",
        "He works for Acme Inc. in Boston.¦It was founded in 1999.¦Ten people work there.",
        "We bought apples, pears, etc.¦Then we left.",
        "Wait... what is it?¦Nothing...¦Good.¦So . . . there it is.¦It was . . .¦Next.",
        "Smith, J. and Doe, A. 2018.¦The name of it.¦ACM, New York.",
        "Am 3. Oktober 1990 war es so weit, z.B. in Berlin.¦Der 2. Weltkrieg war vorbei.¦Gut.",
        "Die Firma (Nr. 5, vgl. Abs. 2) zahlt ca. 3,5 Mio. Euro.¦Das ist viel.",
        "M. Dupont est arrivé.¦Il a vu Mme Curie.¦Où est-il ?¦Là !",
        "¿Cómo estás?¦¡Muy bien!¦Vive en EE. UU. desde 1990.",
        "Он родился в 1980 г. в Москве, т.е. в столице.¦Это было давно.",
        "東京は日本の首都です。¦人口は多い！¦「本当ですか？」¦はい。",
        "这是一个句子。¦这是另一个句子！",
        "كيف حالك؟¦أنا بخير.¦شكرا.",
        "यह एक वाक्य है।¦यह दूसरा है।",
        "all lower case here. nobody minds.".replace(". n", ".¦n"),
        "1. Introduction¦2. Results and discussion",
    ],
)
def test_sentences_as_a_person_cuts_them(marked: str) -> None:
    expected = [part.strip() for part in marked.split("¦")]
    joint = "\n" if marked.startswith("1. ") else " "
    text = joint.join(expected) if expected[0].isascii() or "。" not in marked else "".join(expected)
    assert sentences(text) == expected


def test_hard_wrapped_prose_is_joined() -> None:
    text = (
        "The model was trained on sequences of two thousand tokens\n"
        "first, then on longer ones. It reads documents of many\r\n"
        "pages.\n\nNext paragraph"
    )
    assert [" ".join(s.split()) for s in sentences(text)] == [
        "The model was trained on sequences of two thousand tokens first, then on longer ones.",
        "It reads documents of many pages.",
        "Next paragraph",
    ]


def test_wrapped_chinese_is_joined() -> None:
    line = "这是一个很长的句子它没有标点符号" * 3
    assert len(sentences(f"{line}\n{line}。第二句。")) == 2


def test_headings_items_and_rows_end_at_line_ends() -> None:
    text = (
        "# Licences\n"
        "Some words on them\n"
        "- Apache 2.0 is permissive\n- Some are not, and say so\n  on a second line\n"
        "1. First\n2. Second\n"
        "Model | Licence\nxgen-7b | Apache-2.0\nxgen-7b-inst | research only\n"
        "name\tvalue\nFoo\t3"
    )
    assert sentences(text) == [
        "# Licences",
        "Some words on them",
        "- Apache 2.0 is permissive",
        "- Some are not, and say so\n  on a second line",
        "1. First",
        "2. Second",
        "Model | Licence",
        "xgen-7b | Apache-2.0",
        "xgen-7b-inst | research only",
        "name\tvalue",
        "Foo\t3",
    ]


@pytest.mark.parametrize("mark", [",", ";"])
def test_lines_of_a_file_of_values_are_their_own(mark: str) -> None:
    """Some of them with several words; sentences with formulas go on in the next line."""
    rows = ["name,year,wheel", "Rook mill,1784,oak", "Lind,1811,cast iron", "Tay and Orme,412,oak", "a,b"]
    text = "\n".join(rows).replace(",", mark)
    assert [text[a:b] for a, b in sentence_spans(text)] == text.split("\n")
    prose = "The map f(x,y) has a price of 1,000 points in the plane\nand g(x,y) as many on both sides."
    assert sentence_spans(prose.replace(",", mark)) == [(0, len(prose))]


def test_an_address_is_not_wrapped_prose() -> None:
    assert sentences("Ada Lovelace\nSt James Square\nLondon") == ["Ada Lovelace", "St James Square", "London"]


def test_paragraphs() -> None:
    text = "one\ntwo\n \nthree\r\n\r\nfour\n"
    assert [text[a:b] for a, b in paragraph_spans(text)] == ["one\ntwo", "three", "four"]
    long = "word " * 50
    text = f"{long}\n{long}\na | b\nc | d"
    assert [text[a:b] for a, b in paragraph_spans(text)] == [long.strip(), long.strip(), "a | b\nc | d"]


_words = st.sampled_from(
    [
        *(
            "a",
            "Der",
            "Dr.",
            "e.g.",
            "3.",
            "U.S.",
            "x" * 30,
            "。",
            "？",
            "।",
            "؟",
            "中文",
            "- ",
            "1. ",
            " | ",
            "\t",
        ),
        *(
            " ",
            "\n",
            "\n\n",
            "\r\n",
            "\u2028",
            "\x0c",
            "\x1c",
            ".",
            "!",
            "...",
            '"',
            "”",
            "(",
            ")",
            "# ",
            "\U0001f600",
        ),
    ]
)
_texts = st.one_of(
    st.text(), st.lists(_words, max_size=40).map("".join), st.lists(_words, max_size=200).map(" ".join)
)


@given(_texts)
@example("x" * (3 * MAX_SENTENCE_CHARACTERS))
@example("x " * (3 * MAX_SENTENCE_CHARACTERS))
@example(("x" * MAX_SENTENCE_CHARACTERS + "\n") * 3)
def test_law_spans_cover_every_character_once(text: str) -> None:
    for spans in (sentence_spans(text), paragraph_spans(text)):
        covered = 0
        for start, end in spans:
            assert covered <= start < end
            assert not text[covered:start].strip()
            assert text[start:end] == text[start:end].strip()
            covered = end
        assert not text[covered:].strip()
    assert all(b - a <= MAX_SENTENCE_CHARACTERS for a, b in sentence_spans(text))


@given(_texts, st.data())
def test_law_a_window_is_read_like_a_text_of_its_own(text: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert [(a - start, b - start) for a, b in sentence_spans(text, start, end)] == sentence_spans(
        text[start:end]
    )
