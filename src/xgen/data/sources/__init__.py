"""Where documents come from, one file a kind of source. Each file has the same two functions:

download(spec, downloads, mirror, quiet=False)   have what is needed on this machine; nothing to do twice
documents(spec, downloads, mirror)               the documents in one order, and what is rejected and why
"""

import importlib
from collections.abc import Iterator
from pathlib import Path

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec


def download(spec: SourceSpec, downloads: Path, mirror: Path | None = None, quiet: bool = False) -> None:
    """Have the source on this machine, by the ordinary client of its kind; XgenError if it cannot be had."""
    importlib.import_module(f"xgen.data.sources.{spec.kind}").download(spec, downloads, mirror, quiet)


def documents(spec: SourceSpec, downloads: Path, mirror: Path | None = None) -> Iterator[Document | Rejected]:
    """The source's documents and rejected texts; XgenError if it is not on this machine."""
    module = importlib.import_module(f"xgen.data.sources.{spec.kind}")
    found: Iterator[Document | Rejected] = module.documents(spec, downloads, mirror)
    return found
