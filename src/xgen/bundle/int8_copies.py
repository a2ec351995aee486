"""The 8-bit copies of weights that loading keeps in the cache folder."""

import hashlib
from contextlib import suppress
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from xgen.errors import XgenError
from xgen.files import cache_folder, whole_file
from xgen.formats.adapter import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE
from xgen.model.int8 import ALIGNMENT, int8_weights
from xgen.model.transformer import Transformer

INT8_FORM = 3
"""Of the 8-bit copies on the disk; those of another form are made anew."""


def weights_identity(folder: Path, adapter: Path | None = None) -> str:
    """Tells the weights of a folder, changed by an adapter's or not, from others.

    By sizes, times and the files' first and last megabytes; an adapter's configuration counts as well.
    """
    digest = hashlib.sha256()
    paths = sorted(folder.glob("*.safetensors"))
    if adapter is not None:
        paths += [adapter / ADAPTER_FILE, adapter / ADAPTER_WEIGHTS_FILE]
    for path in paths:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}".encode())
        with path.open("rb") as file:
            digest.update(file.read(1 << 20))
            file.seek(max(0, stat.st_size - (1 << 20)))
            digest.update(file.read(1 << 20))
    return digest.hexdigest()


def int8_folder() -> Path:
    """Where the 8-bit copies of weights are."""
    return cache_folder() / "int8"


def int8_copies() -> list[tuple[str, int]]:
    """(model, bytes) of each 8-bit copy of weights; the model is "" where the file does not say it."""
    found = []
    for path in sorted(int8_folder().glob("*.safetensors")):
        model = ""
        with suppress(SafetensorError, OSError), safe_open(path, framework="np") as file:
            model = (file.metadata() or {}).get("model", "")
        with suppress(OSError):  # another process has just replaced it
            found.append((model, path.stat().st_size))
    return found


def kept_int8_weights(folder: Path, adapter: Path | None, model: Transformer) -> dict[str, torch.Tensor]:
    """The 8-bit copies of the weights, mapped from the cache folder; made and kept there at first.

    One file a model folder and adapter, so that those of weights that have changed are overwritten.
    """
    places = [str(place.resolve()) for place in (folder, adapter) if place is not None]
    name = hashlib.sha256("\n".join(places).encode()).hexdigest()
    path = int8_folder() / f"{name}.safetensors"
    of = f"{INT8_FORM} {weights_identity(folder, adapter)}"
    with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("of") == of:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    made = int8_weights(model)
    # a disk that is full or not ours costs a second or two at each start
    with suppress(SafetensorError, OSError, XgenError), whole_file(path) as draft:
        _save_aligned(made, draft, {"of": of, "model": " + ".join(Path(place).name for place in places)})
    return made


def _save_aligned(tensors: dict[str, torch.Tensor], path: Path, said: dict[str, str]) -> None:
    """Save so that the mapped tensors begin at multiples of ALIGNMENT, as their sizes are such multiples.

    The library ends its header at a multiple of 8; eight more characters in it make the other half.
    """
    for padding in ("", " " * (ALIGNMENT // 2)):
        save_file(tensors, path, {**said, "padding": padding})
        with path.open("rb") as file:
            header_bytes = int.from_bytes(file.read(8), "little")
        if (8 + header_bytes) % ALIGNMENT == 0:
            return
