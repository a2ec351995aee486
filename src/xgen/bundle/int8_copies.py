"""The 8-bit copies of weights that loading keeps in the cache folder."""

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from xgen.bundle.finding import Found
from xgen.errors import XgenError
from xgen.files import cache_folder, require_room, shipped_adapter, shipped_text, whole_file
from xgen.formats.adapter import ADAPTER_FILE, ADAPTER_WEIGHTS_FILE
from xgen.formats.stream import write_tensors
from xgen.model.attention import attend_for
from xgen.model.int8 import quantised_weight
from xgen.model.rounding import compensated_model
from xgen.model.shape import Shape
from xgen.show import note, progress
from xgen.text.tokenizer import Tokenizer

INT8_FORM = 8
"""Of the 8-bit copies on the disk; those of another form are made anew."""

MOST_COMPENSATED = 2_000_000_000
"""Parameters of the largest model whose rounding makes up for itself: of more it takes many minutes, and
large models lose less."""

DRAFT_S = 3600
"""A copy that is being made is written to more often than that."""

TEXT_IDS = 128
"""Tokens of each text of which inputs are measured. Many beginnings, since all later tokens look at the first
one, whose keys and values are then to be good."""

N_RANDOM = 8
"""Texts of ids drawn at random beside those that the package brings: for what these do not speak of."""


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


def clear_int8_copies() -> int:
    """Remove the 8-bit copies of weights; how many bytes. What uses them now goes on doing so.

    What a process that was killed left of one an hour ago goes too.
    """
    removed = 0
    for path in int8_folder().glob("*.safetensors*"):  # of a draft's name this is the middle
        with suppress(OSError):  # another process was first, or Windows has it open
            stat = path.stat()
            if path.suffix == ".safetensors" or time.time() - stat.st_mtime > DRAFT_S:
                path.unlink()
                removed += stat.st_size
    return removed


def can_be_compensated(shape: Shape) -> bool:
    """Whether a model is rounded with care: not a large one, and none with Qwen2's biases.

    For `reader` it made the perplexity a quarter higher: its last layers' weights move by several steps
    (docs/results.md), why is not known.
    """
    return shape.n_parameters <= MOST_COMPENSATED and not shape.qkv_bias


def place_of_copy(found: Found, kind: str) -> tuple[Path, str]:
    """Where the copy of a model's weights is, one file a kind, folder and adapter, and what it is called.

    An adapter of the package counts by its name: where the package lies changes with each installation.
    """
    places = [place.resolve() for place in (found.folder, found.adapter) if place is not None]
    said = [place.name if _is_shipped(place) else str(place) for place in places]
    digest = hashlib.sha256("\n".join(said).encode()).hexdigest()
    return int8_folder() / f"{digest}{kind}.safetensors", " + ".join(place.name for place in places)


def _is_shipped(folder: Path) -> bool:
    own = shipped_adapter(folder.name)
    return own is not None and own.resolve() == folder


def kept_int8_weights(
    found: Found, weights: Mapping[str, Tensor], device: torch.device, alone: bool = False
) -> dict[str, Tensor]:
    """NAME.int8 and NAME.scale of every matrix, mapped from the cache folder; made and kept there at first.

    What is to serve `alone` is rounded with care (model/rounding.py) by a text that the package brings, if
    `can_be_compensated`. All else is rounded to the nearest, in a second.

    They are made of the file's `weights` (by our parameter names), changed by the adapter, on `device`,
    and written one by one: what is in memory meanwhile is one of them. One file a model folder and
    adapter, so that those of weights that have changed are overwritten.
    """
    careful = alone and can_be_compensated(found.shape)
    path, model = place_of_copy(found, "-alone" if careful else "")
    of = f"{INT8_FORM} {weights_identity(found.folder, found.adapter)}"
    if (kept := kept_copy(path, of)) is not None:
        return kept
    matrices = [name for name, tensor in weights.items() if tensor.ndim == 2]

    def exact(name: str) -> Tensor:
        return found.changed(weights[name].to(device), name)

    def made() -> Iterator[tuple[str, Tensor]]:
        plain = ((name, quantised_weight(exact(name))) for name in matrices)
        with progress("rounding to 8 bits", len(matrices), "matrices") as advance:
            for name, (int8_NK, scale_N) in _compensated(found, exact, device) if careful else plain:
                short = name.removesuffix(".weight")
                yield f"{short}.int8", int8_NK
                yield f"{short}.scale", scale_N
                advance(1)

    keep_copy(path, _kinds(weights, matrices), made(), {"of": of, "model": model})
    kept = kept_copy(path, of)
    return dict(made()) if kept is None else kept


def _compensated(
    found: Found, exact: Callable[[str], Tensor], device: torch.device
) -> Iterator[tuple[str, tuple[Tensor, Tensor]]]:
    tokenizer = Tokenizer.from_folder(found.folder)
    ids = torch.tensor(tokenizer.encode(shipped_text("rounding")))
    length = min(TEXT_IDS, len(ids))
    seeded = torch.Generator().manual_seed(0)
    drawn_BT = torch.randint(tokenizer.vocab_size, (N_RANDOM, length), generator=seeded)
    ids_BT = torch.cat((ids[: len(ids) // length * length].view(-1, length), drawn_BT))
    return compensated_model(found.shape, attend_for(device), exact, ids_BT.to(device))


def keep_copy(
    path: Path,
    kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensors: Iterable[tuple[str, Tensor]],
    said: Mapping[str, str],
) -> None:
    """Write a copy, whole, if the disk has room for it.

    One that is full or not ours, which is said, costs some seconds at each start, and memory for all of them.
    """
    try:
        require_room(path.parent, sum(dtype.itemsize * prod(size) for dtype, size in kinds.values()))
        with whole_file(path) as draft:
            write_tensors(draft, kinds, tensors, said)
    except (OSError, XgenError) as error:
        reason = error.what if isinstance(error, XgenError) else (error.strerror or str(error)).lower()
        note(f"the copy of the weights in fewer bits is not kept, so each start makes it anew: {reason}")


def kept_copy(path: Path, of: str) -> dict[str, Tensor] | None:
    """The tensors of a copy, mapped; None if it is not there, damaged, or not made as `of` says."""
    with suppress(SafetensorError, OSError), safe_open(path, framework="pt") as file:
        if (file.metadata() or {}).get("of") == of:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
    return None


def _kinds(
    weights: Mapping[str, Tensor], matrices: Sequence[str]
) -> dict[str, tuple[torch.dtype, tuple[int, ...]]]:
    """What the file holds: all that is large at the front, where it begins at multiples of ALIGNMENT."""
    kinds: dict[str, tuple[torch.dtype, tuple[int, ...]]] = {}
    for name in matrices:
        kinds[f"{name.removesuffix('.weight')}.int8"] = torch.int8, tuple(weights[name].shape)
    for name in matrices:
        kinds[f"{name.removesuffix('.weight')}.scale"] = torch.bfloat16, (len(weights[name]),)
    return kinds
