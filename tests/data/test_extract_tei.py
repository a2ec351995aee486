"""Novels and plays out of TEI: lxml's own walk of the tree is the stranger that counts words."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xgen.data.extract.markup import MAX_BYTES, parse
from xgen.data.extract.tei import LEFT_OUT, extract_tei
from xgen.errors import BadDocument

NS = "http://www.tei-c.org/ns/1.0"


def tei(body: str, front: str = "", before: str = "") -> bytes:
    """A TEI file around a body."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>{before}<TEI xmlns="{NS}"><teiHeader><fileDesc><titleStmt>'
        f"<title>Headword</title></titleStmt></fileDesc></teiHeader><text>{front}<body>{body}</body>"
        "</text></TEI>"
    ).encode()


def test_a_chapter_is_its_heading_and_its_paragraphs() -> None:
    text = extract_tei(
        tei(
            "<div type='chapter'><head><pb/> I. Am Fluss</head>\n<p>Es war\n   einmal ein <hi>alter</hi>\n"
            "  Mann.</p><milestone unit='section'/><p>Er ging.<note>Ein Zusatz.</note></p></div>"
        )
    )
    assert text == "I. Am Fluss\n\nEs war einmal ein alter Mann.\n\n* * *\n\nEr ging."


def test_a_play_is_speakers_with_their_speeches_and_directions() -> None:
    text = extract_tei(
        tei(
            "<div type='act'><head>Erster Akt</head><stage>Ein Saal.</stage>"
            "<sp who='#a'><speaker>ANNA.</speaker><p>Komm <stage>geht</stage> mit!</p></sp>"
            "<sp who='#b'><speaker>BERT</speaker><stage>(singt)</stage><l>Ich komme</l><l>mit dir.</l></sp>"
            "<sp who='#a'><speaker>ANNA</speaker><l>Nun denn!</l></sp></div>",
            front="<front><titlePage><docTitle><titlePart>Das Stück</titlePart></docTitle></titlePage>"
            "<castList><head>Personen</head><castItem><role>ANNA</role>, <roleDesc>eine Magd</roleDesc>"
            "</castItem>"
            "<castItem>BERT</castItem></castList></front>",
        )
    )
    assert text == (
        "Personen\n\nANNA, eine Magd\nBERT\n\nErster Akt\n\n(Ein Saal.)\n\nANNA: Komm (geht) mit!\n\n"
        "BERT: (singt)\n\nIch komme\nmit dir.\n\nANNA:\nNun denn!"
    )


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("kär\u00adlek", "kärlek"),
        ("hel\u00ad<lb break='no'/>gen", "helgen"),
        ("hel-<lb break='no'/>\n   gen hos", "helgen hos"),
        ("hel-\n  <pb break='no' n='2'/>gen", "helgen"),
        ("ett<lb/>två", "ett två"),
        ("ett<pb n='3'/> två", "ett två"),
        ("<choice><sic>fehlr</sic><corr>Fehler</corr></choice> hier", "Fehler hier"),
        ("<choice><abbr>Dr</abbr><expan>Doktor</expan></choice>", "Doktor"),
        ("<app><lem>rot</lem><rdg>blau</rdg></app> war", "rot war"),
        ("Wort<ref target='#n1'>12</ref> mehr", "Wort mehr"),
        ("<ref target='#k2'>Kapitel zwei</ref>", "Kapitel zwei"),
        ("a <gap reason='illegible'/> b", "a […] b"),
        ("a <gap unit='graphic'/> b", "a b"),
        ("1\u00a0000", "1\u00a0000"),
    ],
)
def test_a_printed_line_is_read_as_it_was_meant(written: str, read: str) -> None:
    assert extract_tei(tei(f"<p>{written}</p>")) == read


BLOCKS = (
    "div",
    "p",
    "lg",
    "l",
    "quote",
    "sp",
    "stage",
    "head",
    "floatingText",
    "list",
    "item",
    "table",
    "row",
)
INLINE = ("hi", "emph", "foreign", "q", "said", "persName", "title", "cell", "unheardOf")
SILENT = tuple(sorted(LEFT_OUT - {"teiHeader", "standOff", "facsimile"}))


@st.composite
def trees(draw: st.DrawFn, depth: int = 4) -> etree._Element:
    """Any nesting of elements, read and not read, with words that occur once ("w17")."""
    counter = [0]

    def node(name: str, left: int) -> etree._Element:
        element = etree.Element(f"{{{NS}}}{name}")
        element.text = some_words()
        for _ in range(draw(st.integers(0, 3)) if left else 0):
            child = node(draw(st.sampled_from(BLOCKS + INLINE + SILENT)), left - 1)
            child.tail = some_words()
            element.append(child)
        return element

    def some_words() -> str:
        counter[0] += 1
        return draw(
            st.sampled_from(["", " ", f"w{counter[0]} ", f"\n  w{counter[0]}\n", f"w{counter[0]}x y "])
        )

    return node("body", depth)


@given(trees())
def test_no_word_is_lost_doubled_or_moved(body: etree._Element) -> None:
    data = tei("").replace(b"<body></body>", etree.tostring(body))
    for element in list(body.iter(*(f"{{{NS}}}{name}" for name in LEFT_OUT))):
        kept = element.tail
        element.clear()
        element.tail = kept
    expected = "".join(body.itertext())
    try:
        text = extract_tei(data)
    except BadDocument:
        assert not expected.strip()
        return
    assert re.sub(r"[\s()|]", "", text) == re.sub(r"\s", "", expected)
    assert text == text.strip()
    assert "\n\n\n" not in text


def test_an_entity_bomb_does_not_go_off() -> None:
    bomb = '<!DOCTYPE TEI [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">' + "".join(
        f'<!ENTITY {y} "{f"&{x};" * 10}">' for x, y in zip("bcdefgh", "cdefghi", strict=True)
    )
    try:  # 200 MB if it went off: libxml2 refuses it, or leaves the reference as it is
        text = extract_tei(tei("<p>eins &i; zwei</p>", before=bomb + "]>"))
    except BadDocument:
        text = "eins i zwei"
    assert text == "eins i zwei"


def test_an_entity_from_a_file_is_not_opened(tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    before = f'<!DOCTYPE TEI [<!ENTITY s SYSTEM "{secret.as_uri()}">]>'
    assert extract_tei(tei("<p>eins &s; zwei</p>", before=before)) == "eins s zwei"


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", "well-formed"),
        (b"\x00\x01", "well-formed"),
        (b"<TEI><text><body><p>x</body></TEI>", "well-formed"),
        (tei("<p> </p>"), "no text body"),
        (b"<html><body>x</body></html>", "no text body"),
        (tei("<div>" * 5000 + "x" + "</div>" * 5000), "well-formed"),
    ],
)
def test_what_is_no_tei_is_told_in_a_sentence(data: bytes, fault: str) -> None:
    with pytest.raises(BadDocument, match=fault):
        extract_tei(data)


def test_a_file_beyond_all_novels_is_refused_unread() -> None:
    with pytest.raises(BadDocument, match="64 MiB"):
        parse(b" " * (MAX_BYTES + 1), "TEI")
