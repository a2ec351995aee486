"""Folders of files that one has: each file is a document, in the format that its name tells."""

import re
from collections.abc import Iterator
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.extract import code_language
from xgen.data.licences import licence_of
from xgen.data.recipe import CODE, SourceSpec
from xgen.data.sources.archives import MAX_FILE_BYTES, Member
from xgen.data.sources.jsonl import download, files_of
from xgen.data.sources.packages import file_documents, language_of_path, wanted

__all__ = ["documents", "download"]

_STATEMENT = re.compile(r"(?i)(?:licen[cs]e|copying)(?:\.(?:txt|md|rst))?")


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None) -> Iterator[Document | Rejected]:
    """The wanted files in the order of their names; ids are paths relative to the recipe's folder.

    The licence is the recipe's, else what a LICENSE or COPYING beside a file or above it states. A
    language that neither the recipe nor the path names is "", for the text to tell.
    """
    root = Path(spec.folder)
    is_wanted = wanted(spec, "")
    for path in files_of(spec):
        name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
        if _STATEMENT.fullmatch(path.name) or not is_wanted(name):
            continue
        tongue = spec.language or (code_language(name) if spec.set == CODE else language_of_path(name)) or ""
        licence = spec.licence or _licence_beside(path, root)
        fault = "" if licence else "no_licence_stated"
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            fault = "path_climbs_out"
        elif path.stat().st_size > MAX_FILE_BYTES:
            fault = "file_too_large"
        if fault:
            yield Rejected(spec.name, name, tongue, fault, "")
        else:
            yield from file_documents(spec, name, Member(name, path.read_bytes()), licence, tongue)


def _licence_beside(path: Path, root: Path) -> str:
    for folder in path.parents:
        for statement in sorted(folder.iterdir()):
            if _STATEMENT.fullmatch(statement.name) and statement.is_file():
                return licence_of(statement.read_text("utf-8", "replace"))
        if folder == root:
            break
    return ""
