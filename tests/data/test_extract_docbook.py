"""Manuals out of DocBook and Mallard: lxml's own walk of the tree is the stranger that counts words."""

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lxml import etree

from xgen.data.extract.docbook import MAX_GROWTH, entities_of, extract_docbook
from xgen.data.extract.mallard import extract_mallard
from xgen.errors import BadDocument

ARTICLE = b"""<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE article PUBLIC "-//OASIS//DTD DocBook XML V4.5//EN" "http://127.0.0.1:9/docbookx.dtd" [
  <!ENTITY app "Gartenbuch">
  <!ENTITY who 'Team &app;'>
]>
<article id="top"><articleinfo><title>Handbuch zu &app;</title><author><firstname>Eva</firstname></author>
</articleinfo>
<sect1 id="start"><title>Der erste Schritt</title><indexterm><primary>Start</primary></indexterm>
<para>Die Arbeit mit &app; von &who;
  beginnt im <guimenu>Garten</guimenu>.<footnote><para>Oder im Hof.</para></footnote> Siehe auch
  <xref linkend="end"/>.</para>
<itemizedlist><listitem><para>Gras</para></listitem><listitem><para>Baum</para></listitem></itemizedlist>
<orderedlist><listitem><para>Graben</para><para>Tief.</para></listitem>
<listitem><para>Warten</para></listitem></orderedlist>
<variablelist><varlistentry><term>Spaten</term><listitem><para>Ein Werkzeug.</para></listitem></varlistentry>
</variablelist>
<programlisting><![CDATA[
if x &lt; 1:
    grabe()   
]]></programlisting>
<para>Druck <keycombo><keycap>Strg</keycap><keycap>S</keycap></keycombo>, dann
<menuchoice><shortcut><keycombo>&Ctrl;<keycap>Q</keycap></keycombo></shortcut>
<guimenu>Datei</guimenu><guimenuitem>Ende</guimenuitem></menuchoice>.</para>
<table><title>Preise</title><tgroup cols="2"><thead><row><entry>Ware</entry><entry>Preis</entry></row></thead>
<tbody><row><entry><para>Hacke</para><para>neu</para></entry><entry>5</entry></row></tbody></tgroup></table>
<mediaobject><imageobject><imagedata fileref="x.png"/></imageobject></mediaobject></sect1>
<sect1 id="end"><title>Das Ende</title>
<para>2<superscript>8</superscript> <quote>Beete</quote>.</para></sect1>
</article>"""


def test_a_manual_is_read_block_by_block() -> None:
    assert extract_docbook(ARTICLE).split("\n\n") == [
        "Handbuch zu Gartenbuch",
        "Der erste Schritt",
        "Die Arbeit mit Gartenbuch von Team Gartenbuch beginnt im Garten. (Oder im Hof.) Siehe auch"
        " Das Ende.",
        "- Gras\n- Baum",
        "1. Graben",
        "Tief.\n2. Warten",
        "Spaten\nEin Werkzeug.",
        "if x &lt; 1:\n    grabe()",
        "Druck Strg+S, dann Datei → Ende (Ctrl+Q).",
        "Preise",
        "Ware | Preis\nHacke neu | 5",
        "Das Ende",
        "2^8 “Beete”.",
    ]


def test_a_signature_is_one_line() -> None:
    text = extract_docbook(
        b"<refentry xmlns='http://docbook.org/ns/docbook'><refsect1><methodsynopsis><modifier>static</modifier>"
        b"<type class='union'><type>int</type><type>false</type></type><methodname>find</methodname>"
        b"<methodparam><type>string</type><parameter>what</parameter></methodparam>"
        b"<methodparam choice='opt'><type>int</type><parameter>start</parameter><initializer>0</initializer>"
        b"</methodparam></methodsynopsis><para>See <function>seek</function>.</para></refsect1></refentry>"
    )
    assert text == "static int|false find(string what, int start = 0)\n\nSee seek()."


ENTITIES = b"""<?xml version="1.0" encoding="utf-8"?>
<!-- <!ENTITY not.this "comment"> -->
<!ENTITY title.notes '<title xmlns="http://docbook.org/ns/docbook">Hinweise</title>'>
<!ENTITY dir SYSTEM "dir.xml">
<!ENTITY ampersand "this &amp; that">"""


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("<section>&title.notes;<para>x</para></section>", "Hinweise\n\nx"),
        ("<para>&ampersand;</para>", "this & that"),
        ("<para>gives &false;, not &null;</para>", "gives false, not null"),
        ("<para>a&nbsp;b &eacute; &lt;tag&gt; &#65;</para>", "a\u00a0b é <tag> A"),
        ("<section><title>T</title>\n &reference.str.constants;\n</section>", "T"),
        ("<para>see &link.str; there</para>", "see link.str there"),
        ("<para><![CDATA[&title.notes;]]></para>", "&title.notes;"),
        ("<para>one</para><para>two</para>", "one\n\ntwo"),
        ("<para>to <link linkend='far.away'/></para>", "to far.away"),
        ("<para>to <ulink url='https://example.org/'/></para>", "to https://example.org/"),
        ("<para>to <ulink url='https://example.org/'>us</ulink></para>", "to us"),
    ],
)
def test_entities_and_references(written: str, read: str) -> None:
    found = entities_of(ENTITIES)
    assert sorted(found) == ["ampersand", "title.notes"]
    assert extract_docbook(written.encode(), found) == read


def test_entities_within_entities_cannot_grow_without_bound() -> None:
    bomb = "".join(f'<!ENTITY e{i + 1} "{f"&e{i};" * 10}">' for i in range(30))
    data = f"<!DOCTYPE para [<!ENTITY e0 '{'x' * 100}'>{bomb}]><para>&e30;</para>".encode()
    started = time.perf_counter()
    assert len(extract_docbook(data)) < 10**6  # what is nested too deeply is read as its name
    wide = f"<!DOCTYPE para [<!ENTITY e0 '{'x' * 1000}'>]><para>{'&e0;' * (MAX_GROWTH // 1000 + 1)}</para>"
    with pytest.raises(BadDocument, match="entities add more than"):
        extract_docbook(wide.encode())
    assert extract_docbook(b"<!DOCTYPE para [<!ENTITY a '&b;'><!ENTITY b '&a;'>]><para>&a;</para>") in "ab"
    assert time.perf_counter() - started < 5


def test_a_file_or_an_address_is_never_opened(tmp_path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("hunter2")
    data = f"<!DOCTYPE para [<!ENTITY s SYSTEM '{secret.as_uri()}'><!ENTITY % p SYSTEM '{secret}'>%p;]>"
    include = f"<xi:include xmlns:xi='http://www.w3.org/2001/XInclude' href='{secret}' parse='text'/>"
    assert extract_docbook(f"{data}<para>eins &s; zwei {include}</para>".encode()) == "eins s zwei"


BLOCKS = (
    "chapter",
    "sect1",
    "para",
    "title",
    "note",
    "listitem",
    "itemizedlist",
    "row",
    "term",
    "blockquote",
)
INLINE = ("emphasis", "literal", "guimenu", "entry", "application", "unheardOf")
SILENT = ("indexterm", "remark", "imagedata", "refmeta")
PAGE_BLOCKS = ("section", "p", "title", "note", "item", "list", "steps", "terms", "tr", "example")
PAGE_INLINE = ("em", "gui", "td", "app", "var", "span")
PAGE_SILENT = ("info", "media", "links", "comment")


def trees(root: str, blocks: tuple[str, ...], inline: tuple[str, ...], silent: tuple[str, ...]):
    """Any nesting of elements, read and not read, with words that occur once ("w17")."""

    @st.composite
    def built(draw: st.DrawFn) -> etree._Element:
        n_words = 0

        def some_words() -> str:
            nonlocal n_words
            n_words += 1
            return draw(st.sampled_from(["", " ", f"w{n_words} ", f"\n  w{n_words}\n", f"w{n_words}x y "]))

        def node(name: str, left: int) -> etree._Element:
            element = etree.Element(name)
            element.text = some_words()
            for _ in range(draw(st.integers(0, 3)) if left else 0):
                child = node(draw(st.sampled_from(blocks + inline + silent)), left - 1)
                child.tail = some_words()
                element.append(child)
            return element

        return node(root, 4)

    return built()


def bare(text: str) -> str:
    """Without white space and the signs that are put in: bullets, numbers of items, bars between cells."""
    return re.sub(r"\s", "", re.sub(r"(?:^|(?<=[\s.-]))(?:-|\d+\.)(?=\s|$)|\|", "", text))


def without(root: etree._Element, silent: tuple[str, ...]) -> str:
    for element in list(root.iter(*silent)):
        tail = element.tail
        element.clear()
        element.tail = tail
    return re.sub(r"\s", "", "".join(root.itertext()))


@given(trees("article", BLOCKS, INLINE, SILENT))
def test_no_word_of_a_manual_is_lost_doubled_or_moved(root: etree._Element) -> None:
    data = etree.tostring(root)
    try:
        text = extract_docbook(data)
    except BadDocument:
        text = ""
    assert bare(text) == without(root, SILENT)


@given(trees("page", PAGE_BLOCKS, PAGE_INLINE, PAGE_SILENT))
def test_no_word_of_a_help_page_is_lost_doubled_or_moved(root: etree._Element) -> None:
    data = etree.tostring(root)
    try:
        text = extract_mallard(data)
    except BadDocument:
        text = ""
    assert bare(text) == without(root, PAGE_SILENT)


PAGE = b"""<page xmlns="http://projectmallard.org/1.0/" type="topic" id="net">
<info><desc>Short words.</desc><credit><name>Eva</name></credit></info>
<title>Join a network</title><p>Open <guiseq><gui>Settings</gui><gui>Net</gui></guiseq>, see
 <link xref="files">the files</link> or <link xref="print"/>.</p>
<steps><item><p>Press <keyseq><key>Alt</key><key>F1</key></keyseq>.</p></item>
<item><p>Type <code>ls</code>:</p><code>
ls -l
  more</code></item></steps>
<terms><item><title>SSID</title><p>A name.</p></item></terms>
<table><tr><td><p>one</p></td><td><p>two</p></td></tr></table>
<media type="image" src="x.png"><p>A picture.</p></media><links type="topic"/></page>"""


def test_a_help_page_is_read_block_by_block() -> None:
    text = extract_mallard(PAGE)
    assert text.startswith(
        "Join a network\n\nOpen Settings → Net, see the files or print.\n\n1. Press Alt+F1.\n2. Type ls:\n\n"
        "ls -l\n  more\n\nSSID\n\nA name.\n\none | two"
    )
    assert "picture" not in text
    assert "Short words" not in text


@pytest.mark.parametrize("extract", [extract_docbook, extract_mallard])
@pytest.mark.parametrize("data", [b"", b"\xff\x00", b"plain words", b"<page/>", b"<x><y/></x>"])
def test_what_is_no_manual_is_told_in_a_sentence(extract, data: bytes) -> None:
    with pytest.raises(BadDocument):
        extract(data)
