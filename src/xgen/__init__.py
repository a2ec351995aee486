"""xgen: long documents, read on your own hardware.

    import xgen
    reader = xgen.load("reader")
    print(reader.ask(xgen.open("report.pdf"), "Who signed it?"))

Importing the package loads nothing: torch, the document readers and the rest come in with the first call.
"""

from __future__ import annotations

TYPE_CHECKING = False  # that of `typing` takes milliseconds, in which the command would not hear Ctrl-C
if TYPE_CHECKING:
    from pathlib import Path

    from xgen.read.reader import Reader
    from xgen.text.document import Document

__all__ = ["__version__", "load", "open", "pull"]

__version__ = "0.1.0"


def load(
    name_or_folder: str | Path,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | Path | None = None,
    cache: str = "auto",
) -> Reader:
    """Load a pulled model, by its name or from its folder, as a Reader.

    `device` is "auto", "cpu" or "cuda"; `dtype` is "auto" (what this machine computes fastest), "bf16",
    "fp16", "fp32" or "int8" (8-bit weights); `adapter` is the folder of a LoRA adapter of that model, as
    xgen or peft saves it; `cache` is what is kept of a text while it is read, "auto", one of these types or
    "int8". Raises NotPulled if a known model is not on disk yet, BadModel if it is unknown or damaged, or
    the adapter is another model's, XgenError if the memory does not hold it.
    """
    from xgen.bundle import load as load_bundle
    from xgen.read.reader import Reader

    return Reader(load_bundle(name_or_folder, device=device, dtype=dtype, adapter=adapter, cache=cache))


def open(path: str | Path, keep: bool = True) -> Document:
    """Open a document (PDF, HTML, DOCX, Markdown, plain text; "-" is standard input).

    What a PDF, DOCX or HTML file says stays in the cache folder for the next time, for its owner alone,
    unless `keep` is False. Raises BadDocument with one sentence if it cannot be read as text.
    """
    from xgen.text.extract import open_document

    return open_document(str(path), keep)


def pull(name: str, from_file: str | Path | None = None, quiet: bool = False) -> Path:
    """Bring a model onto this disk, once, and return its folder; a second call is instant.

    `from_file` is a GGUF file that is here already; its digest is checked like that of any other.
    """
    from pathlib import Path

    from xgen.bundle import pull as pull_bundle

    return pull_bundle(name, from_file=None if from_file is None else Path(from_file), quiet=quiet)
