import contextlib
import io
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls

from xgen.errors import BadDocument
from xgen.text.extract import open_document
from xgen.text.extract.docx import extract


def built(write: Callable[[Any], None]) -> bytes:
    word = docx.Document()
    write(word)
    file = io.BytesIO()
    word.save(file)
    return file.getvalue()


def repacked(data: bytes, changed: dict[str, bytes]) -> bytes:
    """The package with some parts replaced or added."""
    file = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as new:
        for name in {*old.namelist(), *changed}:
            new.writestr(name, changed.get(name) or old.read(name))
    return file.getvalue()


def body(xml: str) -> bytes:
    """A document with `xml` put first into its body."""
    wrapped = f"<w:body {nsdecls('w', 'wp', 'a', 'pic')}>{xml}</w:body>"

    def write(word: Any) -> None:
        for i, element in enumerate(list(parse_xml(wrapped))):
            word.element.body.insert(i, element)

    return built(write)


def lines(data: bytes) -> list[str]:
    return [line for line in extract(data, "a.docx").text.splitlines() if line]


def test_paragraphs_tables_and_lists_in_the_order_of_the_body(tmp_path: Path) -> None:
    def write(word: Any) -> None:
        word.add_heading("Licences", level=1)
        word.add_paragraph("Which models may be used?")
        table = word.add_table(rows=3, cols=3)
        cells = [
            ("Model", "Licence", "Commercial"),
            ("base", "Apache-2.0", "yes"),
            ("inst", "research\nonly", "no"),
        ]
        for row, texts in zip(table.rows, cells, strict=True):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        word.add_paragraph("first", style="List Bullet")
        word.add_paragraph("uno", style="List Number")
        word.add_paragraph("due", style="List Number")
        word.add_paragraph("End.")
        word.sections[0].header.paragraphs[0].text = "ACME Ltd"
        word.sections[0].footer.paragraphs[0].text = "Confidential"

    (tmp_path / "a.docx").write_bytes(built(write))
    document = open_document(tmp_path / "a.docx")
    assert document.text == (
        "ACME Ltd\n\nLicences\n\nWhich models may be used?\n\n"
        "Model | Licence | Commercial\nbase | Apache-2.0 | yes\ninst | research only | no\n\n"
        "- first\n1. uno\n2. due\n\nEnd.\n\nConfidential"
    )
    assert document.place(document.text.index("inst")).line == 9
    assert document.dropped == ()


def test_merged_cells() -> None:
    def write(word: Any) -> None:
        table = word.add_table(rows=3, cols=2)
        for i, row in enumerate(table.rows):
            row.cells[1].text = f"use {i}"
        table.cell(0, 0).merge(table.cell(1, 0)).text = "xgen"
        table.cell(2, 0).merge(table.cell(2, 1)).text = "both"

    assert lines(built(write)) == ["xgen | use 0", "xgen | use 1", "both |"]


def test_what_python_docx_passes_over_is_read() -> None:
    run = "<w:r><w:t>{}</w:t></w:r>"
    xml = (
        f"<w:sdt><w:sdtContent><w:p>{run.format('in a control')}</w:p></w:sdtContent></w:sdt>"
        f"<w:p>{run.format('old ')}<w:ins>{run.format('inserted ')}</w:ins>"
        f"<w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
        f"<w:smartTag>{run.format('tagged')}</w:smartTag></w:p>"
        f"<w:p><w:r><w:t>beside a box</w:t><w:pict><w:txbxContent><w:p>{run.format('in a box')}</w:p>"
        f"</w:txbxContent></w:pict></w:r></w:p>"
        "<w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t><w:noBreakHyphen/><w:t>d</w:t></w:r></w:p>"
    )
    assert lines(body(xml)) == [
        "in a control",
        "old inserted tagged",
        "beside a box",
        "in a box",
        "a\tb",
        "c-d",
    ]


def test_numbers_of_many_levels() -> None:
    level = '<w:lvl w:ilvl="{}"><w:start w:val="{}"/><w:numFmt w:val="{}"/><w:lvlText w:val="{}"/></w:lvl>'
    rules = level.format(0, 3, "decimal", "§%1") + level.format(1, 1, "lowerLetter", "%1.%2)")
    rules += level.format(2, 1, "upperRoman", "%3.")

    def write(word: Any) -> None:
        numbering = word.part.numbering_part.element
        numbering.insert(
            0, parse_xml(f'<w:abstractNum {nsdecls("w")} w:abstractNumId="77">{rules}</w:abstractNum>')
        )
        numbering.append(
            parse_xml(f'<w:num {nsdecls("w")} w:numId="99"><w:abstractNumId w:val="77"/></w:num>')
        )
        for text, depth in [("A", 0), ("x", 1), ("y", 1), ("i", 2), ("B", 0), ("z", 1)]:
            properties = word.add_paragraph(text)._p.get_or_add_pPr().get_or_add_numPr()
            properties.get_or_add_numId().val = 99
            properties.get_or_add_ilvl().val = depth

    assert lines(built(write)) == ["§3 A", "3.a) x", "3.b) y", "I. i", "§4 B", "4.a) z"]


def test_pictures_are_counted() -> None:
    picture = "<w:p><w:r><w:t>words</w:t><w:drawing><wp:inline><a:graphic><a:graphicData><pic:pic/>"
    picture += "</a:graphicData></a:graphic></wp:inline></w:drawing></w:r></w:p>"
    assert extract(body(picture), "a.docx").dropped == ("pictures left out: 1",)
    with pytest.raises(BadDocument, match=r"pictures but no text.*OCR"):
        extract(body(picture.replace("<w:t>words</w:t>", "")), "a.docx")


def bomb(name: str, n_megabytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", b"<a/>")
        with archive.open(name, "w", force_zip64=True) as part:
            for _ in range(n_megabytes):
                part.write(bytes(2**20))
    return file.getvalue()


def _lie_about_size(data: bytes) -> bytes:
    """The same archive, its directory saying that every part unpacks to 100 bytes."""
    changed = bytearray(data)
    at = data.find(b"PK\1\2")
    while at >= 0:
        changed[at + 24 : at + 28] = (100).to_bytes(4, "little")
        at = data.find(b"PK\1\2", at + 4)
    return bytes(changed)


def test_a_zip_bomb_is_refused_before_it_is_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadDocument, match="times its size unpacked, and 200 are read"):
        extract(bomb("word/media/a.bin", 8), "a.docx")
    monkeypatch.setattr("xgen.text.extract.docx.MAX_RATIO", 10_000)
    with pytest.raises(BadDocument, match="broken"):
        extract(_lie_about_size(bomb("word/media/a.bin", 8)), "a.docx")
    monkeypatch.setattr("xgen.text.extract.docx.MAX_XML_BYTES", 7 << 20)
    with pytest.raises(BadDocument, match="bytes in one of its parts, and 7,340,032 are read"):
        extract(bomb("word/a.xml", 8), "a.docx")
    monkeypatch.setattr("xgen.text.extract.docx.MAX_UNPACKED_BYTES", 7 << 20)
    with pytest.raises(BadDocument, match="bytes unpacked, and 7,340,032 are read"):
        extract(bomb("word/media/a.bin", 8), "a.docx")


def liar(n_megabytes: int) -> bytes:
    """A bomb whose directory says that a part has 100 bytes, and has the checksum of the first 100."""
    data = bytearray(bomb("[Content_Types].xml", n_megabytes))
    at = data.rfind(b"PK\1\2")
    data[at + 16 : at + 20] = zlib.crc32(bytes(100)).to_bytes(4, "little")
    data[at + 24 : at + 28] = (100).to_bytes(4, "little")
    return bytes(data)


def of_another_method(n_megabytes: int) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("word/document.xml", b"<a/>")
        archive.writestr("[Content_Types].xml", bytes(n_megabytes << 20))
    return _lie_about_size(file.getvalue())


def of_many_parts(n_parts: int) -> bytes:
    """A tiny archive whose directory names its one part many times over."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("word/document.xml", b"<a/>")
    data = file.getvalue()
    start, end = data.find(b"PK\1\2"), data.find(b"PK\5\6")
    entries = data[start:end] * n_parts
    counts = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, len(entries), start, 0)
    return data[:start] + entries + counts


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (liar(64), "broken"),
        (of_another_method(16), "broken"),
        (of_many_parts(90_000), "it has 90,000 parts, and 10,000 are read at most"),
    ],
    ids=["lies about its size", "another method", "many parts"],
)
def test_no_archive_takes_more_memory_than_a_block(peak_bytes: Callable, data: bytes, what: str) -> None:
    def refused() -> None:
        with pytest.raises(BadDocument, match=what):
            extract(data, "a.docx")

    refused()  # once before, since what the format needs is imported then
    assert peak_bytes(refused) < len(data) + 2**20


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
@pytest.mark.parametrize("part", ["word/document.xml", "[Content_Types].xml", "word/_rels/document.xml.rels"])
def test_entity_bombs_do_not_go_off(part: str, encoding: str) -> None:
    entities = "".join(f'<!ENTITY e{i} "{f"&e{i - 1};" * 10}">' for i in range(1, 12))
    declared = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE x [<!ENTITY e0 "lol">{entities}]>'
    data = built(lambda word: word.add_paragraph("words"))
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        xml = archive.read(part).decode()
    xml = declared + xml[xml.index("?>") + 2 :].replace("words", "words &e11;")
    with contextlib.suppress(BadDocument):  # refused, or read without what the entities stand for
        assert lines(repacked(data, {part: xml.encode(encoding)})) == ["words"]


def _without_magic() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.txt", "a")
    return file.getvalue()


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b"PK\3\4 no zip at all", "broken"),
        (built(lambda word: word.add_paragraph("words"))[:-300], "broken"),
        (repacked(built(lambda word: None), {"word/document.xml": b"<w:broken"}), "broken"),
        (repacked(built(lambda word: None), {"[Content_Types].xml": b"<x/>"}), "broken"),
        (built(lambda word: None), "no text"),
        (_without_magic(), "not of a Word document"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600), "password"),
    ],
)
def test_bad_files_are_refused_in_one_sentence(tmp_path: Path, data: bytes, what: str) -> None:
    (tmp_path / "bad.docx").write_bytes(data)
    with pytest.raises(BadDocument, match=what) as caught:
        open_document(tmp_path / "bad.docx")
    assert "\n" not in str(caught.value)
