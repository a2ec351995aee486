"""From a file of a package or a repository to its text: which extractor, by name and by content."""

import re
from pathlib import PurePosixPath

from xgen.data.extract.code import code_language, extract_code
from xgen.errors import BadDocument

__all__ = ["FORMATS", "code_language", "extract", "format_of"]

FORMATS = frozenset(
    {
        "html",
        "man",
        "docbook",
        "mallard",
        "rest",
        "tei",
        "text",
        "mo",
        "json",
        "dict",
        "code",
        "markdown",
        "aozora",
    }
)

_MAN_PAGE = re.compile(r"(?:^|/)man(?:/[\w.@-]+)?/man\w+/[^/]+\.[0-9n]\w*$")
_HTML = re.compile(r"\.x?html?(?:\.[a-z]{2}(?:[-_.][\w-]+)?)?$", re.IGNORECASE)
_SUFFIXES = {
    **{".mo": "mo", ".gmo": "mo", ".json": "json", ".page": "mallard", ".docbook": "docbook"},
    **{".rst": "rest", ".md": "markdown", ".markdown": "markdown", ".dict": "dict", ".txt": "text"},
}
_ROOT = re.compile(rb"<(?![?!])(?:\w+:)?(\w+)")
_ROOTS = {"TEI": "tei", "TEI.2": "tei", "page": "mallard", "html": "html"}
_HEAD_BYTES = 4_096
_RUN_CHARACTERS = 4_000
# Of KDE's handbooks, whose own definitions are in another package: those that HTML takes for a sign.
_KDE_ENTITIES = {"eg": "e.g.", "Del": "Del", "Tab": "Tab"}


def format_of(path: str, data: bytes) -> str:
    """The name in `FORMATS` of a file's format, without its compression; "text" where nothing else fits."""
    name = PurePosixPath(path).name
    if _MAN_PAGE.search(path):
        return "man"
    if _HTML.search(name):
        return "html"
    if name.endswith(".rst.txt"):
        return "rest"
    suffix = PurePosixPath(path).suffix.lower()
    if suffix in _SUFFIXES:
        return _SUFFIXES[suffix]
    if suffix == ".xml":
        root = _ROOT.search(data, 0, _HEAD_BYTES)
        return _ROOTS.get(root[1].decode() if root else "", "docbook")
    return "code" if code_language(path) else "text"


def extract(path: str, data: bytes, format: str = "") -> list[tuple[str, str]]:
    """The texts of a file, each with what its id needs beside the path ("", or "#1", "#2", ...).

    Most files are one text; catalogues of messages, dictionaries and collections of sayings are several.
    `format`, one of `FORMATS`, forces an extractor. Raises BadDocument for a file that is not of its format.
    """
    kind = format or format_of(path, data)
    if kind in ("mo", "json", "dict", "sayings"):
        return [(f"#{i}", text) for i, text in enumerate(_texts(kind, path, data), 1)]
    text = _text(kind, path, data)
    return [("", text)] if text.strip() else []


def _texts(kind: str, path: str, data: bytes) -> list[str]:
    from xgen.data.extract.catalogue import extract_json, extract_mo

    if kind == "dict":  # dictd: each entry a headword at the margin and indented lines
        return _runs(re.split(r"\n+(?=\S)", _plain(path, data)), _RUN_CHARACTERS)
    if kind == "sayings":  # fortune(6): parted by lines of "%"
        return _runs(re.split(r"(?m)^%[ \t]*$", _plain(path, data)), _RUN_CHARACTERS)
    return extract_mo(data) if kind == "mo" else extract_json(data)


def _text(kind: str, path: str, data: bytes) -> str:
    if kind == "code":
        return extract_code(data)
    if kind == "text":
        return _plain(path, data)
    if kind == "html":
        from xgen.text.extract.html import extract as extract_html

        return extract_html(data, path).text
    if kind == "man":
        from xgen.data.extract.man import extract_man

        return extract_man(data)
    return _marked_up(kind, data)


def _marked_up(kind: str, data: bytes) -> str:
    if kind == "docbook":
        from xgen.data.extract.docbook import extract_docbook

        return extract_docbook(data, _KDE_ENTITIES)
    if kind == "mallard":
        from xgen.data.extract.mallard import extract_mallard

        return extract_mallard(data)
    if kind == "rest":
        from xgen.data.extract.rest import extract_rest

        return extract_rest(data)
    if kind == "tei":
        from xgen.data.extract.tei import extract_tei

        return extract_tei(data)
    if kind == "markdown":
        from xgen.data.extract.markdown import extract_markdown

        return extract_markdown(data)
    if kind == "aozora":
        from xgen.data.extract.aozora import extract_aozora

        return extract_aozora(data)
    raise BadDocument(kind, "there is no such format", f"choose one of {', '.join(sorted(FORMATS))}")


def _plain(path: str, data: bytes) -> str:
    from xgen.text.extract.plain import decode

    return decode(data, path)[0].replace("\r\n", "\n")


def _runs(pieces: list[str], n_characters: int) -> list[str]:
    """Short pieces in runs of about `n_characters`, so that no collection counts as a long text."""
    runs: list[str] = []
    run: list[str] = []
    for piece in pieces:
        if not piece.strip():
            continue
        run.append(piece.strip("\n").rstrip())
        if sum(map(len, run)) >= n_characters:
            runs.append("\n\n".join(run))
            run = []
    return [*runs, "\n\n".join(run)] if run else runs
