"""A model for a verb: found on disk, or offered to be pulled, or refused in one sentence."""

import sys
from pathlib import Path

import xgen
from xgen.cards import CARDS, Card, card, pulled_name, read_card
from xgen.errors import NotPulled
from xgen.files import model_folder, shipped_file
from xgen.show import note, screen


def is_on_disk(name: str) -> bool:
    """True if the model `name` has been pulled, or what it adapts."""
    return model_folder(pulled_name(name)).is_dir()


def require_model(name_or_folder: str, offline: bool) -> tuple[Path, Card]:
    """Return a model's folder and card, pulling it first if a person at a terminal says yes.

    Raises BadModel for a name nobody knows and NotPulled for a known model that stays away.
    """
    folder = Path(name_or_folder)
    if "/" in name_or_folder and not folder.is_dir() and is_on_disk(name_or_folder):
        folder = model_folder(name_or_folder)
    if name_or_folder not in CARDS and (folder.is_dir() or folder.name != name_or_folder):
        return folder.resolve(), read_card(folder)
    wanted = card(name_or_folder)
    if not is_on_disk(wanted.name) and shipped_file(wanted.name) is not None:
        return xgen.pull(wanted.name, quiet=True), wanted
    if not is_on_disk(wanted.name) and not _offer(wanted, offline):
        raise NotPulled(wanted.name, "this model is not on disk", way_to(wanted))
    return model_folder(pulled_name(wanted.name)), as_kept(wanted)


def as_kept(known: Card) -> Card:
    """The card of a known model; where somebody gave its name to what he pulled, that one's own."""
    folder = model_folder(known.name)
    return read_card(folder) if known.source is None and folder.is_dir() else known


def way_to(wanted: Card) -> str:
    """What to do to have the model `wanted`, as the last words of an error."""
    if wanted.source is None and wanted.hub_id is not None:
        return f"bring it once with `xgen pull {wanted.name}`, which says first what it takes"
    if wanted.source is None:
        return "it cannot be pulled, name a folder that holds it or choose another from `xgen models`"
    return f"bring it once with `xgen pull {wanted.name}` ({megabytes(wanted.source.n_bytes)})"


def megabytes(n_bytes: int) -> str:
    """A size as people compare it: `491 MB`."""
    return f"{n_bytes / 1e6:,.0f} MB"


def _offer(wanted: Card, offline: bool) -> bool:
    if offline or wanted.source is None or not (sys.stdin.isatty() and screen.is_terminal):
        return False
    note(f"{wanted.name} ({wanted.title}, {wanted.licence}) is not on disk yet.")
    try:
        reply = screen.input(f"Pull it now, {megabytes(wanted.source.n_bytes)}? (y/n) ", markup=False)
    except EOFError:
        return False
    if reply.strip().lower() not in ("y", "yes"):
        return False
    xgen.pull(wanted.name)
    return True
