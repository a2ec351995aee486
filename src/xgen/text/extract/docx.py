"""Word documents (DOCX): paragraphs, list items and tables in the order of the body.

python-docx opens the package and its parts; the body is walked here, because its own iteration passes
over content controls, tracked insertions and text boxes.
"""

import copy
import io
import zipfile
import zlib
from collections.abc import Iterator
from typing import Any

from xgen.errors import BadDocument
from xgen.text.document import Document
from xgen.text.extract.numbering import Numbering
from xgen.text.extract.tables import is_layout, joined, table_lines

MAX_UNPACKED_BYTES = 256 * 2**20
MAX_XML_BYTES = 64 * 2**20  # of one part; a tree takes many times that
MAX_RATIO = 200  # unpacked to packed; XML of real documents packs 5 to 30 times
MAX_PARTS = 10_000
MAX_COLUMNS = 100  # what a gridSpan may pad a row to
_BLOCK_BYTES = 1 << 16

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_MC_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
# Deleted or moved away by a tracked change; the second form of what was already read; properties.
_UNREAD = {_W + tag for tag in ("del", "moveFrom", "pPr", "rPr", "sdtPr", "tblPr", "tblGrid", "sectPr")}
_UNREAD |= {_MC_FALLBACK, _W + "instrText"}
_PICTURES = {
    "{http://schemas.openxmlformats.org/drawingml/2006/picture}pic",
    "{urn:schemas-microsoft-com:vml}imagedata",
}


def extract(data: bytes, name: str) -> Document:
    """The document of a DOCX file; raises BadDocument for a broken, hostile or empty one.

    Page headers come once, at the beginning, footers and notes once, at the end. Numbers that Word
    draws before list items and headings are written out.
    """
    _require_harmless(data, name)
    import docx

    try:
        word = docx.Document(io.BytesIO(data))
        reader = _Reader(word)
        lines = [*reader.margins("header"), *reader.blocks(word.element.body)]
        lines += [*reader.notes(), *reader.margins("footer")]
    except Exception as error:  # python-docx lets errors of zipfile, lxml and its own through
        raise BadDocument(
            name, "this DOCX is broken", "open it in a word processor and save it again"
        ) from error
    text = joined(lines)
    if not text:
        if reader.n_pictures:
            raise BadDocument(
                name, "this DOCX holds pictures but no text", "recognise their text (OCR) first"
            )
        raise BadDocument(name, "this DOCX holds no text", "name a file with text in it")
    dropped = [f"pictures left out: {reader.n_pictures}"] if reader.n_pictures else []
    if reader.n_comments:
        dropped.append(f"comments left out: {reader.n_comments}")
    return Document(name, text, dropped=tuple(dropped))


def _require_harmless(data: bytes, name: str) -> None:
    """Refuse an archive that is too large in any respect; never holds more than a block of it unpacked."""
    n_parts = data.count(b"PK\1\2")  # with what begins each entry of its directory; reading that takes memory
    if n_parts > MAX_PARTS:
        raise _too_large(name, n_parts, "parts", MAX_PARTS)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise BadDocument(name, "this DOCX is broken (no ZIP archive)", "save it again") from error
    parts = archive.infolist()
    if "word/document.xml" not in {part.filename for part in parts}:
        raise BadDocument(
            name, "it is a ZIP archive, but not of a Word document", "unpack it or save it as DOCX"
        )
    if any(part.flag_bits & 1 for part in parts):
        raise BadDocument(name, "it is encrypted", "save it without a password")
    n_bytes = sum(part.file_size for part in parts)
    largest = max(part.file_size for part in parts if part.filename.endswith((".xml", ".rels")))
    limits = [
        (n_bytes, MAX_UNPACKED_BYTES, "bytes unpacked"),
        (largest, MAX_XML_BYTES, "bytes in one of its parts"),
        (n_bytes // max(len(data), 1), MAX_RATIO, "times its size unpacked"),
    ]
    for value, limit, what in limits:
        if value > limit:
            raise _too_large(name, value, what, limit)
    for part in parts:
        if not _is_as_large_as_stated(archive, part):
            raise BadDocument(
                name, "this DOCX is broken (a part is not what its directory says)", "save it again"
            )


def _too_large(name: str, value: int, what: str, limit: int) -> BadDocument:
    return BadDocument(name, f"it has {value:,} {what}, and {limit:,} are read at most", "cut it into parts")


def _is_as_large_as_stated(archive: zipfile.ZipFile, part: zipfile.ZipInfo) -> bool:
    """Whether a part unpacks to the size that the limits were held against, found out a block at a time.

    To be known before python-docx reads it whole: zipfile then unpacks up to 2 GB of it, and cuts off what is
    beyond the stated size only afterwards; of the methods that Word does not write it unpacks all.
    """
    if part.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return False
    larger = copy.copy(part)
    larger.file_size += 1  # else zipfile stops at the stated size, whatever follows
    try:
        with archive.open(larger) as file:
            n_bytes = sum(len(block) for block in iter(lambda: file.read(_BLOCK_BYTES), b""))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, ValueError, OSError):
        return False
    return n_bytes == part.file_size


class _Reader:
    """Walks one document's XML and keeps count of lists, notes and what is left out."""

    def __init__(self, word: Any) -> None:
        self.word = word
        self.numbering = Numbering(word)
        self.n_pictures = 0
        self.n_comments = sum(1 for _ in self._elements("comments", "comment"))

    def blocks(self, parent: Any) -> Iterator[str]:
        """Lines of paragraphs and tables below `parent`, with blank lines between."""
        for element in parent:
            if element.tag == _W + "p":
                yield from self.paragraph(element)
            elif element.tag == _W + "tbl":
                yield from ["", *self.table(element), ""]
            elif isinstance(element.tag, str) and element.tag not in _UNREAD:
                yield from self.blocks(element)  # content controls, tracked insertions, custom XML

    def paragraph(self, p: Any) -> Iterator[str]:
        boxes: list[Any] = []
        text = "".join(self.inline(p, boxes)).strip()
        if text:
            mark = self.numbering.mark(p)
            first, *rest = [" ".join(line.split(" ")).strip() for line in text.splitlines()]
            if not mark:
                yield ""
            yield mark + first
            yield from rest
            if not mark:
                yield ""
        for box in boxes:
            yield from self.blocks(box)

    def inline(self, parent: Any, boxes: list[Any]) -> Iterator[str]:
        """The text of a paragraph; text boxes hanging on it are put into `boxes`."""
        for element in parent:
            tag = element.tag
            if tag == _W + "t":
                yield element.text or ""
            elif tag == _W + "tab":
                yield "\t"
            elif tag in {_W + "br", _W + "cr"}:
                yield "\n"
            elif tag == _W + "noBreakHyphen":
                yield "-"
            elif tag in {_W + "footnoteReference", _W + "endnoteReference"}:
                prefix = "e" if tag == _W + "endnoteReference" else ""
                yield f"[{prefix}{element.get(_W + 'id')}]"
            elif tag == _W + "txbxContent":
                boxes.append(element)
            elif tag in _PICTURES:
                self.n_pictures += 1
            elif isinstance(tag, str) and tag not in _UNREAD:
                yield from self.inline(element, boxes)

    def table(self, table: Any) -> Iterator[str]:
        """One line a row; of a table that arranges the page, its cells one after the other."""
        if table.find(f".//{_W}tc//{_W}tbl") is None:
            rows = self._rows(table)
            if not is_layout(rows):
                yield from table_lines(rows)
                return
        for cell in _children(table, "tc"):
            yield from self.blocks(cell)

    def _rows(self, table: Any) -> list[list[str]]:
        """Cells by grid column; a cell merged downwards is said in each of its rows."""
        rows: list[list[str]] = []
        for tr in _children(table, "tr"):
            row: list[str] = []
            for cell in _children(tr, "tc"):
                merge, span = cell.find(f"{_W}tcPr/{_W}vMerge"), cell.find(f"{_W}tcPr/{_W}gridSpan")
                goes_on = merge is not None and merge.get(_W + "val", "continue") == "continue"
                if goes_on and rows and len(row) < len(rows[-1]):
                    row.append(rows[-1][len(row)])
                else:
                    row.append(joined(list(self.blocks(cell))))
                n_columns = int(span.get(_W + "val", "1")) if span is not None else 1
                row.extend([""] * (min(n_columns, MAX_COLUMNS) - 1))
            rows.append(row)
        return rows

    def margins(self, kind: str) -> Iterator[str]:
        """The different headers or footers, each once."""
        seen: set[str] = set()
        for root in self._roots(kind):
            text = joined(list(self.blocks(root)))
            if text and text not in seen:
                seen.add(text)
                yield from ["", *text.splitlines(), ""]

    def notes(self) -> Iterator[str]:
        for kind, prefix in (("footnote", ""), ("endnote", "e")):
            for note in self._elements(f"{kind}s", kind):
                text = " ".join(joined(list(self.blocks(note))).split())
                if text and note.get(_W + "type") is None:
                    yield from ["", f"[{prefix}{note.get(_W + 'id')}] {text}"]

    def _elements(self, kind: str, tag: str) -> Iterator[Any]:
        for root in self._roots(kind):
            yield from root.iterchildren(_W + tag)

    def _roots(self, kind: str) -> list[Any]:
        """Root elements of the parts of one kind, such as "footnotes", by the name of the part."""
        from docx.oxml import parse_xml  # resolves no entities

        rels = [rel for rel in self.word.part.rels.values() if rel.reltype.endswith(f"/{kind}")]
        parts = {str(rel.target_part.partname): rel.target_part for rel in rels if not rel.is_external}
        return [parse_xml(part.blob) for _, part in sorted(parts.items())]


def _children(parent: Any, tag: str) -> Iterator[Any]:
    """Elements `tag` below `parent`, not looking inside them nor inside what a tracked change deleted."""
    for element in parent:
        if element.tag == _W + tag:
            yield element
        elif isinstance(element.tag, str) and element.tag not in _UNREAD:
            yield from _children(element, tag)
