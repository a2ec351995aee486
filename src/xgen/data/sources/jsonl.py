"""JSON lines: one object a line, plain or packed (.gz, .xz, .zst, .bz2); a line that is none is rejected."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources.archives import unpacking
from xgen.errors import XgenError

MAX_LINE_BYTES = 64 << 20
SHOWN_CHARACTERS = 1_000


def download(spec: SourceSpec, downloads: Path, mirror: Path | None, quiet: bool = False) -> None:
    """See that the recipe's files are there; XgenError names one that is not."""
    files_of(spec)


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """A document a line, in the files' order; its id is the file's name and the line's number or own id.

    The licence is the line's, else the recipe's; the language too.
    """
    for path in files_of(spec):
        for n, record, fault, line in records(path):
            name = f"{path.name}:{n}"
            if fault:
                yield Rejected(spec.name, name, spec.language, fault, line[:SHOWN_CHARACTERS])
            else:
                yield document_of(spec, name, record)


def files_of(spec: SourceSpec) -> list[Path]:
    """The files that `paths` names, relative to the recipe's folder; a folder or a glob stands for its files.

    XgenError for a path with no file.
    """
    files = []
    for name in spec.paths:
        path = Path(spec.folder) / name
        found = sorted(path.rglob("*")) if path.is_dir() else sorted(path.parent.glob(path.name))
        found = [file for file in found if file.is_file() and not file.name.startswith(".")]
        if not found:
            raise XgenError(str(path), "there is no such file", f"mend `paths` of the source {spec.name}")
        files += found
    if not files:
        raise XgenError(spec.name, "it names no files", "say which in `paths`")
    return files


def records(path: Path) -> Iterator[tuple[int, dict[str, Any], str, str]]:
    """(line number from 1, object, fault, line) of each line that is not empty; the object is {} if faulty.

    Faults: not_json, not_an_object, not_utf8, line_too_long, file_damaged (nothing can be read after it).
    """
    n = 0
    try:
        with path.open("rb") as raw, unpacking(raw, path.suffix.lstrip(".")) as file:
            while line := file.readline(MAX_LINE_BYTES):
                n += 1
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    yield n, {}, "line_too_long", ""
                    while (rest := file.readline(MAX_LINE_BYTES)) and not rest.endswith(b"\n"):
                        pass
                elif line.strip():
                    record, fault = _parsed(line)
                    yield n, record, fault, line.decode("utf-8", "replace").strip() if fault else ""
    except (OSError, EOFError, ValueError) as error:
        yield n + 1, {}, "file_damaged", str(error)


def document_of(spec: SourceSpec, name: str, record: dict[str, Any]) -> Document | Rejected:
    """The document of a record whose fields the recipe's `fields` names, or why it is none.

    Reasons: no_text, text_is_not_text, no_licence_stated.
    """
    text = record.get(spec.fields.get("text", "text"))
    own = record.get(spec.fields.get("id", "id"))
    name = f"{name.partition(':')[0]}:{own}" if isinstance(own, str | int) and own != "" else name
    tongue = spec.language or _word(record.get(spec.fields.get("language", "language")))
    licence = _word(record.get(spec.fields.get("licence", "licence"))) or spec.licence
    if text is None or text == "":
        return Rejected(spec.name, name, tongue, "no_text", str(record)[:SHOWN_CHARACTERS])
    if not isinstance(text, str):
        return Rejected(spec.name, name, tongue, "text_is_not_text", str(text)[:SHOWN_CHARACTERS])
    if not licence:
        return Rejected(spec.name, name, tongue, "no_licence_stated", text[:SHOWN_CHARACTERS])
    return Document(text, spec.name, name, licence, tongue)


def _parsed(line: bytes) -> tuple[dict[str, Any], str]:
    try:
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError:
        return {}, "not_utf8"
    except (ValueError, RecursionError):
        return {}, "not_json"
    return (record, "") if isinstance(record, dict) else ({}, "not_an_object")


def _word(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""
