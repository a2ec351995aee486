"""From what the user names (files, folders, patterns, "-") to documents."""

import glob
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from xgen.errors import BadDocument
from xgen.shelf import make_room
from xgen.text.document import Document

MAX_TEXT_BYTES = 64 * 2**20
MAX_PDF_BYTES = 256 * 2**20

_HTML_SUFFIXES = {".html", ".htm", ".xhtml"}
_TEXT_SUFFIXES = {"", ".txt", ".text", ".md", ".markdown", ".rst", ".adoc", ".org", ".tex", ".csv", ".tsv"}
READABLE_SUFFIXES = {".pdf", ".docx"} | _HTML_SUFFIXES | _TEXT_SUFFIXES  # what is looked for in a folder

_WAY_OUT = "name a PDF, HTML, DOCX, Markdown or text file"


Extract = Callable[[bytes, str], Document]


def open_document(path: str | Path, keep: bool = False) -> Document:
    """The document of one file, or of standard input for "-".

    The first bytes decide the format, the suffix where they cannot. With `keep` what a PDF, DOCX or
    HTML file says stays on the disk, and is not extracted again while its bytes are the same
    (text/kept.py). Raises BadDocument, in one sentence, for a file that is missing, a folder, empty,
    binary, too large, broken or encrypted.
    """
    document = _open(path, keep)
    if keep:
        make_room()
    return document


def _open(path: str | Path, keep: bool) -> Document:
    name = str(path)
    try:
        if name == "-":
            return _document(sys.stdin.buffer, name, "", keep)
        with Path(path).open("rb") as file:
            return _document(file, name, Path(path).suffix.lower(), keep)
    except FileNotFoundError:
        raise BadDocument(name, "there is no such file", "check the name") from None
    except IsADirectoryError:
        raise BadDocument(name, "it is a folder", "name a file in it") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        if Path(path).is_dir():  # Windows says "permission denied" for a folder
            raise BadDocument(name, "it is a folder", "name a file in it") from None
        reason = getattr(error, "strerror", None) or str(error)
        raise BadDocument(name, f"it cannot be read ({reason.lower()})", "check its rights") from None


def open_documents(patterns: Sequence[str], keep: bool = False) -> tuple[list[Document], list[str]]:
    """The documents of files, folders (with all below them), glob patterns and "-", and what was skipped.

    A file that is named must be readable, else BadDocument. What a folder or a pattern turns up and
    cannot be read is skipped; the second list names each in a sentence, hidden files and folders too.
    Sorted by path within a folder or pattern; a file found twice is opened once. `keep` as in
    `open_document`.
    """
    documents: dict[str, Document] = {}
    skipped: list[str] = []
    for pattern in patterns:
        if not pattern.strip():
            raise BadDocument("FILE", "its name is empty", _WAY_OUT)
        path = Path(pattern)
        if pattern == "-" or path.is_file() or not (path.is_dir() or glob.has_magic(pattern)):
            if _key(pattern) not in documents:
                documents[_key(pattern)] = _open(pattern, keep)
            continue
        n_readable = 0
        for name, obstacle in _search(pattern):
            fault = obstacle
            if not fault and _key(name) not in documents:
                try:
                    documents[_key(name)] = _open(name, keep)
                except BadDocument as error:
                    fault = error.what
            if fault:
                skipped.append(f"{name}: {fault}")
            n_readable += not fault
        if not n_readable:
            raise BadDocument(pattern, "no readable document is there", _WAY_OUT)
    if keep:
        make_room()
    return list(documents.values()), skipped


def _key(name: str) -> str:
    return name if name == "-" else os.path.realpath(name)


def _search(pattern: str) -> Iterator[tuple[str, str]]:
    """(file, why it is skipped or "") for all that a folder or a glob pattern holds, sorted."""
    if Path(pattern).is_dir():
        yield from _walk(Path(pattern))
        return
    for name in sorted(glob.glob(pattern, recursive=True)):
        if Path(name).is_file():
            yield name, ""
        elif "**" not in pattern:  # there the folders' files are matches of their own
            yield from _walk(Path(name))


def _walk(folder: Path) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(folder.iterdir())
    except OSError as error:
        yield str(folder), f"it cannot be read ({(error.strerror or str(error)).lower()})"
        return
    for entry in entries:
        if entry.name.startswith("."):
            yield str(entry), "it is hidden"
        elif entry.is_dir():
            if entry.is_symlink():  # it may lead back up
                yield str(entry), "it is a link to a folder"
            else:
                yield from _walk(entry)
        elif not entry.is_file():
            yield str(entry), "it is not an ordinary file"
        elif entry.suffix.lower() not in READABLE_SUFFIXES:
            yield str(entry), f"{entry.suffix} files are not read from folders"
        else:
            yield str(entry), ""


def _document(file: BinaryIO, name: str, suffix: str, keep: bool) -> Document:
    head = file.read(1024)
    extract, limit = _format_of(head, suffix)
    size = len(head) + _bytes_left(file)
    if size > limit:
        raise _too_large(name, f"{-(-size // 2**20):,} MB", limit)
    data = head + file.read(limit + 1 - len(head))  # a pipe has no size, and a file may grow meanwhile
    if len(data) > limit:
        raise _too_large(name, f"more than {limit >> 20} MB", limit)
    if not data:
        raise BadDocument(name, "it is empty", "name a file with text in it")
    if keep and extract.__module__ != f"{__name__}.plain":  # plain text is decoded as fast as found again
        from xgen.text.kept import extracted_once

        return extracted_once(extract, data, name)
    return extract(data, name)


def _bytes_left(file: BinaryIO) -> int:
    """How much is still to be read from an ordinary file; 0 for what has no size, such as a pipe."""
    try:
        facts = os.fstat(file.fileno())
        return max(facts.st_size - file.tell(), 0) if stat.S_ISREG(facts.st_mode) else 0
    except OSError:
        return 0


def _too_large(name: str, size: str, limit: int) -> BadDocument:
    return BadDocument(name, f"it has {size}, and {limit >> 20} MB are read at most", "cut it into parts")


def _format_of(head: bytes, suffix: str) -> tuple[Extract, int]:
    """The extractor and the most bytes it is given: by the first bytes, then by the suffix."""
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(b"%pdf-") or suffix == ".pdf":
        from xgen.text.extract import pdf

        return pdf.extract, MAX_PDF_BYTES
    if head.startswith(b"PK\3\4"):
        from xgen.text.extract import docx

        return docx.extract, MAX_TEXT_BYTES
    looks_like_html = start.startswith((b"<!doctype html", b"<html")) and suffix not in _TEXT_SUFFIXES - {""}
    if looks_like_html or suffix in _HTML_SUFFIXES:
        from xgen.text.extract import html

        return html.extract, MAX_TEXT_BYTES
    from xgen.text.extract import plain

    return plain.extract, MAX_TEXT_BYTES
