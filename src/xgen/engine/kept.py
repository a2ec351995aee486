"""Documents that stay read: the filled part of a cache in a file, found again by model and ids.

The files lie on the shelf (shelf.py), for their owner alone and under its limit. One that is damaged, of
other weights or of another form is not used. Nothing here costs an answer: whoever calls goes on without.
"""

import hashlib
import json
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xgen import shelf
from xgen.engine.cache import Cache

FORM = "1"
"""Of the files; another one is never read."""


@dataclass(frozen=True)
class Kept:
    """A kept document: of which model, the documents' names, its tokens, and when it was used last."""

    path: Path
    model: str
    documents: tuple[str, ...]
    n_tokens: int
    n_bytes: int
    used: float


def key_of(identity: str, ids: Sequence[int]) -> str:
    """The name under which `ids`, read by the weights `identity`, are kept."""
    digest = hashlib.sha256(f"{FORM} {identity} ".encode())
    digest.update(array("l", ids).tobytes())
    return digest.hexdigest()


def keep(key: str, cache: Cache, dtype: torch.dtype, model: str, documents: Sequence[str]) -> bool:
    """Keep what `cache` is filled with, in `dtype`, that it was computed in; False if it is over the limit.

    8 bits stay 8 bits.

    Raises OSError or NoRoom where the disk is not to be written or full; nothing half-written stays.
    """
    tensors = dict(_named(cache, dtype))
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    if n_bytes > shelf.limit_bytes():
        return False
    said = {
        "form": FORM,
        "digest": _digest(tensors),
        "model": model,
        "documents": json.dumps(list(documents)),
        "tokens": str(cache.length),
    }
    shelf.make_room(n_bytes)
    with shelf.shelved(shelf.path_of(key, shelf.WHOLE)) as draft:
        _save(tensors, draft, said)
    return True


def recall(key: str, cache: Cache) -> bool:
    """Fill `cache` with what is kept under `key`; False, and the cache empty, if there is nothing sound."""
    path = shelf.path_of(key, shelf.WHOLE)
    cache.cut(0)
    try:
        with safe_open(path, framework="pt") as file:
            said = file.metadata() or {}
            names = sorted(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        return False
    except (SafetensorError, OSError):
        said, tensors = {}, {}
    if said.get("form") != FORM or said.get("digest") != _digest(tensors) or not _fill(cache, tensors):
        shelf.drop(path)
        return False
    shelf.used(path)
    return True


def entries() -> list[Kept]:
    """All kept documents, the last used first; what cannot be read as one is given without a model."""
    found = []
    for file in shelf.files():
        if file.path.suffix == shelf.WHOLE:
            with suppress(OSError):  # another process has just removed it
                found.append(Kept(file.path, *_described(file.path), file.n_bytes, file.used))
    return found


def _described(path: Path) -> tuple[str, tuple[str, ...], int]:
    """Model, documents and tokens by a file's own words; nothing where they are damaged."""
    try:
        with safe_open(path, framework="np") as file:
            said = file.metadata() or {}
        return said["model"], tuple(map(str, json.loads(said["documents"]))), int(said["tokens"])
    except (SafetensorError, KeyError, ValueError, TypeError):
        return "", (), 0


def _named(cache: Cache, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    """What is filled; 8 bits and their scales as they are."""
    for name, buffer in _places(cache).items():
        kind = dtype if len(cache.buffers[0]) == 2 else buffer.dtype
        yield name, buffer[:, : cache.length].to("cpu", kind).contiguous()


def _places(cache: Cache) -> dict[str, Tensor]:
    """The buffers of the one row, [n_kv_heads, capacity, ...], by the names they are kept under."""
    return {
        f"{layer:03}.{name}": buffer[0]
        for layer, buffers in enumerate(cache.buffers)
        for name, buffer in zip(("k", "v", "k_scale", "v_scale"), buffers, strict=False)
    }


def _fill(cache: Cache, tensors: dict[str, Tensor]) -> bool:
    """Put the tensors into the cache's buffers; False if they are not of its form or do not fit."""
    places = _places(cache)
    if set(places) != set(tensors):
        return False
    length = next(iter(tensors.values())).shape[1]
    for name, place in places.items():
        if tensors[name].shape != (place.shape[0], length, *place.shape[2:]) or length > place.shape[1]:
            return False
    for name, place in places.items():
        place[:, :length] = tensors[name]
    cache.length = length
    return True


def _digest(tensors: dict[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)} ".encode())
        digest.update(tensors[name].view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _save(tensors: dict[str, Tensor], path: Path, said: dict[str, str]) -> None:
    try:
        save_file(tensors, path, said)
    except SafetensorError as error:  # how the library reports a full disk
        raise OSError(None, str(error), str(path)) from error
