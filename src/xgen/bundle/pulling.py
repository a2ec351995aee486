"""Bringing a known model onto this disk, once."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from xgen.bundle.published import pull_published
from xgen.cards import Card, Source, card, pulled_name
from xgen.download import fetch
from xgen.errors import BadModel
from xgen.files import model_folder, shipped_file
from xgen.formats.gguf import convert
from xgen.formats.shipped import expand_model
from xgen.hub import Published, published_id
from xgen.show import note


def pull(name: str, from_file: Path | None = None, quiet: bool = False) -> Path:
    """Bring a model into the cache folder, once, and return its folder; a second call is instant.

    `name` is that of a known model, or OWNER/NAME of the hub. One that comes as its makers published it
    is brought by `pull_published`. Of the others the GGUF file (`from_file`, or the first place that has it;
    digest checked) is converted and removed; a model that the package ships is expanded. Of a name that is
    an adapter in the package the model that it changes is brought. A second process waits for the first.
    Raises BadModel for an unknown name or a wrong file, NotPulled if no place has it, NoRoom if the disk is
    full.
    """
    if (hub_id := published_id(name)) is not None:
        return pull_published(Published(hub_id), quiet=quiet)
    name = pulled_name(name)
    known = card(name)
    folder = model_folder(name)
    if folder.is_dir():
        return folder
    shipped = shipped_file(name)
    if shipped is not None:
        with _turn(folder, quiet):
            expand_model(shipped, folder)
        return folder
    source = source_of(known)
    with _turn(folder, quiet):
        if folder.is_dir():
            return folder
        for draft in folder.parent.glob(f".{name}.*/"):  # of a process that was killed
            shutil.rmtree(draft, ignore_errors=True)
        gguf_file = folder.parent / source.file
        fetch(known, gguf_file, from_file=from_file, quiet=quiet)
        if not quiet:
            note(f"{name}: converting, once")
        convert(gguf_file, folder, known)
        gguf_file.unlink(missing_ok=True)
    return folder


def source_of(known: Card) -> Source:
    """Where the GGUF file of a known model is; BadModel if it cannot be pulled."""
    if known.source is None:
        way_out = "name a folder on your disk that holds it"
        raise BadModel(known.name, "this model cannot be pulled", way_out)
    return known.source


@contextmanager
def _turn(folder: Path, quiet: bool) -> Iterator[None]:
    """Wait until no other process is bringing this model, then keep others waiting."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("ab") as lock:
        if sys.platform != "win32":
            import fcntl

            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not quiet:
                    note(f"{folder.name}: another process is bringing it, waiting")
                fcntl.flock(lock, fcntl.LOCK_EX)
        yield
