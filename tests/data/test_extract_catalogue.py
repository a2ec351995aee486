import gettext
import io
import json
import struct
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.extract import extract, format_of
from xgen.data.extract.catalogue import MAX_DOCUMENT_CHARACTERS, extract_json, extract_mo
from xgen.data.extract.code import code_language
from xgen.errors import BadDocument

HEADER = "Content-Type: text/plain; charset={}\nPlural-Forms: nplurals=2; plural=n != 1;\n"


def mo_file(entries: dict[str, str], charset: str = "utf-8", order: str = "<") -> bytes:
    """A .mo file by the GNU gettext manual, section "The Format of GNU MO Files"."""
    pairs = sorted({"": HEADER.format(charset), **entries}.items())
    strings = [[text.encode(charset) for text in column] for column in zip(*pairs, strict=True)]
    n = len(pairs)
    place, tables, data = 28 + 16 * n, [b"", b""], b""
    for i, column in enumerate(strings):
        for text in column:
            tables[i] += struct.pack(f"{order}II", len(text), place + len(data))
            data += text + b"\0"
    return struct.pack(f"{order}7I", 0x950412DE, 0, n, 28, 28 + 8 * n, 0, 0) + b"".join(tables) + data


def test_sentences_are_taken_and_labels_are_not() -> None:
    data = mo_file(
        {
            "&Open the file...": "Die &Datei jetzt öffnen",
            "Save": "Speichern",
            "Untranslated words that stay": "Untranslated words that stay",
            "%s of %s, %d": "%s von %s, %d",
            "menu\4_Look at the page": "Die Seite _ansehen bitte",
            "Set snake_case to the value": "Setze snake_case auf den Wert",
            "Tom &amp; Jerry are here": "Tom &amp; Jerry sind <b>da</b> und hier",
            "One file is here\0%d files are here": "Eine Datei ist hier\0Dort sind %d Dateien",
        }
    )
    assert set("\n".join(extract_mo(data)).split("\n")) == {
        "Die Datei jetzt öffnen",
        "Die Seite ansehen bitte",
        "Setze snake_case auf den Wert",
        "Tom & Jerry sind da und hier",
        "Eine Datei ist hier",
        "Dort sind %d Dateien",
    }


def test_a_key_in_brackets_goes_from_chinese() -> None:
    data = mo_file({"&Open the document": "打开这个文件(&O)", "&Yes": "是"})
    assert extract_mo(data) == ["打开这个文件"]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("charset", "word"), [("utf-8", "žluťoučký"), ("iso-8859-2", "žluťoučký"), ("koi8-r", "привет")]
)
def test_against_gettext_of_the_standard_library(order: str, charset: str, word: str) -> None:
    entries = {f"sentence number {i} to translate": f"{word} a toto je věta {i}" for i in range(50)}
    if charset == "koi8-r":
        entries = {key: f"{word} и это {i} предложение" for i, key in enumerate(entries)}
    data = mo_file(entries, charset, order)
    theirs = gettext.GNUTranslations(io.BytesIO(data))
    lines = "\n".join(extract_mo(data)).split("\n")
    assert sorted(lines) == sorted(theirs.gettext(key) for key in entries)


SENTENCE = st.text(st.characters(codec="utf-8", exclude_categories=("C",)), min_size=1, max_size=60)


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(SENTENCE, SENTENCE, max_size=20), st.data())
def test_law_damage_is_refused_and_never_read_past_the_end(
    entries: dict[str, str], data: st.DataObject
) -> None:
    whole = mo_file(entries)
    cut = data.draw(st.integers(0, len(whole) - 1))
    extract_mo(whole)
    with suppress(BadDocument):
        extract_mo(whole[:cut])


@pytest.mark.parametrize(
    "data", [b"", b"PK\3\4", mo_file({"a": "b"})[:20], b"\xde\x12\x04\x95" + b"\xff" * 24]
)
def test_what_is_no_catalogue_is_refused(data: bytes) -> None:
    with pytest.raises(BadDocument, match=r"not a \.mo file"):
        extract_mo(data)


def test_long_catalogues_are_many_short_documents() -> None:
    data = mo_file({f"sentence number {i}": f"Das ist der Satz mit der Nummer {i}" for i in range(2000)})
    texts = extract("de/LC_MESSAGES/x.mo", data)
    assert [part for part, _ in texts] == [f"#{i}" for i in range(1, len(texts) + 1)]
    assert len(texts) > 5
    assert all(len(text) < MAX_DOCUMENT_CHARACTERS + 100 for _, text in texts)
    assert sum(text.count("\n") + 1 for _, text in texts) == 2000


def test_wiki_messages_without_markup() -> None:
    messages = {
        "@metadata": {"authors": ["A"]},
        "ok": "Das ist ein ganzer Satz.",
        "twice": "Das ist ein ganzer Satz.",
        "link": "Siehe [[Hilfe:Seite]] für mehr Worte",
        "label": "Suche",
        "number": 3,
    }
    assert extract_json(json.dumps(messages).encode()) == ["Das ist ein ganzer Satz."]
    for bad in (b"[1, 2]", b"{", b"\xff\xfe{"):
        with pytest.raises(BadDocument):
            extract_json(bad)


@pytest.mark.parametrize(
    ("path", "head", "format"),
    [
        ("usr/share/man/de/man1/ls.1", b"", "man"),
        ("usr/share/man/zh_CN.UTF-8/man3/x.3tcl", b"", "man"),
        ("a/index.html.fr.utf8", b"", "html"),
        ("a/b.xhtml", b"", "html"),
        ("help/de/x.page", b"", "mallard"),
        ("help/de/x.xml", b'<?xml version="1.0"?>\n<!-- x -->\n<chapter id="a">', "docbook"),
        ("x.xml", b'<?xml version="1.0"?><TEI xmlns="http://www.tei-c.org/ns/1.0">', "tei"),
        ("x.rst.txt", b"", "rest"),
        ("x.mo", b"", "mo"),
        ("x.py", b"", "code"),
        ("README", b"", "text"),
    ],
)
def test_a_format_by_name_and_content(path: str, head: bytes, format: str) -> None:
    assert format_of(path, head) == format


def test_a_dictionary_comes_in_runs_of_entries() -> None:
    text = "".join(f"word{i}\n   a definition of some length, number {i}\n\n" for i in range(2000))
    texts = [part for _, part in extract("x.dict", text.encode())]
    assert 10 < len(texts) < 40
    assert "\n\n".join(texts) == text.strip()


def test_sayings_come_in_runs() -> None:
    sayings = [f"A saying, number {i}.\n\t-- Somebody" for i in range(500)]
    texts = [part for _, part in extract("x", "\n%\n".join(sayings).encode(), "sayings")]
    assert len(texts) > 2
    assert "\n\n".join(texts).split("\n\n") == sayings


def test_code_is_taken_as_it_is_and_named_by_suffix() -> None:
    assert extract("a.py", b"\xef\xbb\xbfif x:\r\n\ty = 'a'\r\n") == [("", "if x:\n\ty = 'a'\n")]
    with pytest.raises(BadDocument, match="UTF-8"):
        extract("a.py", b"x = '\xe9'")
    names = {"a.py": "py", "b.tsx": "ts", "c.d.ts": None, "e.pm": "perl", "Makefile": None, "x.unknown": None}
    assert {name: code_language(name) for name in names} == names


def test_keys_in_handbooks_of_kde_are_no_signs() -> None:
    page = b"<para>Press &Del; or &Tab;, &eg; on &kate;'s page.</para>"
    assert extract("HTML/en/kate/index.docbook", page) == [("", "Press Del or Tab, e.g. on kate's page.")]


def test_an_unknown_format_is_told() -> None:
    with pytest.raises(BadDocument, match="no such format"):
        extract("x", b"words", "docx")
