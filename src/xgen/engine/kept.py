"""Documents that stay read: the filled part of a cache in a file, found again by model and ids.

What is kept holds the document's content: the files are for their owner alone (0600), the least
recently used go first when there are more bytes than the limit, and a file that is damaged, of other
weights or of another form is not used. Nothing here costs an answer: whoever calls goes on without.
"""

import hashlib
import json
import os
import re
import time
from array import array
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.errors import XgenError
from xgen.files import cache_folder, whole_file

FORM = "1"
"""Of the files; another one is never read."""

LIMIT_BYTES = 2_000_000_000
"""Of all kept documents together, unless XGEN_CACHE_GB says otherwise."""


@dataclass(frozen=True)
class Kept:
    """A kept document: of which model, the documents' names, its tokens, and when it was used last."""

    path: Path
    model: str
    documents: tuple[str, ...]
    n_tokens: int
    n_bytes: int
    used: float


def folder() -> Path:
    """Where documents are kept."""
    return cache_folder() / "documents"


def limit_bytes() -> int:
    """What all kept documents may take together; XGEN_CACHE_GB=0 keeps none.

    Raises XgenError if XGEN_CACHE_GB is no number of gigabytes.
    """
    said = os.environ.get("XGEN_CACHE_GB", "")
    if not said:
        return LIMIT_BYTES
    if not re.fullmatch(r"\d{1,6}(\.\d+)?", said):
        raise XgenError("XGEN_CACHE_GB", f"{said!r} is no number of gigabytes", "set it to 2, 0.5 or 0")
    return round(float(said) * 1e9)


def key_of(identity: str, ids: Sequence[int]) -> str:
    """The name under which `ids`, read by the weights `identity`, are kept."""
    digest = hashlib.sha256(f"{FORM} {identity} ".encode())
    digest.update(array("l", ids).tobytes())
    return digest.hexdigest()


def keep(key: str, cache: Cache, dtype: torch.dtype, model: str, documents: Sequence[str]) -> bool:
    """Keep what `cache` is filled with, in the type it was computed in; False if it is over the limit.

    Raises OSError or NoRoom where the disk is not to be written or full; nothing half-written stays.
    """
    tensors = dict(_named(cache, dtype))
    n_bytes = sum(tensor.nbytes for tensor in tensors.values())
    if n_bytes > limit_bytes():
        return False
    said = {
        "form": FORM,
        "digest": _digest(tensors),
        "model": model,
        "documents": json.dumps(list(documents)),
        "tokens": str(cache.length),
    }
    _make_room(limit_bytes() - n_bytes)
    folder().mkdir(parents=True, exist_ok=True, mode=0o700)
    with whole_file(_path(key), mode=0o600) as draft:
        _save(tensors, draft, said)
    return True


def recall(key: str, cache: Cache) -> bool:
    """Fill `cache` with what is kept under `key`; False, and the cache empty, if there is nothing sound."""
    path = _path(key)
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
        with suppress(OSError):
            path.unlink()
        return False
    with suppress(OSError):  # removed meanwhile, or not ours: the order of removal suffers, nothing else
        os.utime(path)
    return True


def entries() -> list[Kept]:
    """All kept documents, the last used first; what cannot be read as one is given without a model."""
    found = []
    for path in folder().glob("*.safetensors"):
        with suppress(OSError):  # another process has just removed it
            stat = path.stat()
            model, documents, n_tokens = _described(path)
            found.append(Kept(path, model, documents, n_tokens, stat.st_size, stat.st_mtime))
    return sorted(found, key=lambda kept: -kept.used)


def _described(path: Path) -> tuple[str, tuple[str, ...], int]:
    """Model, documents and tokens by a file's own words; nothing where they are damaged."""
    try:
        with safe_open(path, framework="np") as file:
            said = file.metadata() or {}
        return said["model"], tuple(map(str, json.loads(said["documents"]))), int(said["tokens"])
    except (SafetensorError, KeyError, ValueError, TypeError):
        return "", (), 0


def clear() -> int:
    """Remove all kept documents, half-written ones of killed processes too; returns how many bytes."""
    removed = 0
    for path in [*folder().glob("*.safetensors"), *folder().glob(".*")]:
        with suppress(FileNotFoundError):  # another process was faster
            n_bytes = path.stat().st_size
            path.unlink()
            removed += n_bytes
    return removed


def trim() -> None:
    """Remove what is over the limit, which may have been lowered since."""
    _make_room(limit_bytes())


def _make_room(limit: int) -> None:
    """Remove the least recently used until at most `limit` bytes are left, and drafts an hour old."""
    for draft in folder().glob(".*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > 3600:
                draft.unlink()
    total = 0
    for kept in entries():
        total += kept.n_bytes
        if total > limit:
            with suppress(OSError):
                kept.path.unlink()


def _path(key: str) -> Path:
    return folder() / f"{key}.safetensors"


def _named(cache: Cache, dtype: torch.dtype) -> Iterator[tuple[str, Tensor]]:
    for layer, buffers in enumerate(cache.buffers):
        for name, buffer in zip("kv", buffers, strict=True):
            yield f"{layer:03}.{name}", buffer[0, :, : cache.length].to("cpu", dtype).contiguous()


def _fill(cache: Cache, tensors: dict[str, Tensor]) -> bool:
    """Put the tensors into the cache's buffers; False if they are not of its form or do not fit."""
    places = {
        f"{layer:03}.{name}": buffer[0]
        for layer, buffers in enumerate(cache.buffers)
        for name, buffer in zip("kv", buffers, strict=True)
    }
    if set(places) != set(tensors):
        return False
    length = next(iter(tensors.values())).shape[1]
    for name, place in places.items():
        n_heads, capacity, head_dim = place.shape
        if tensors[name].shape != (n_heads, length, head_dim) or length > capacity:
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
