"""A safetensors file written as its tensors come, so that never more than one of them is in memory."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

DTYPE_NAMES = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int8: "I8"}

LINE_BYTES = 64
"""The first tensor begins where a cache line does, mapped or not."""


def layout(
    kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]], said: Mapping[str, str]
) -> tuple[bytes, dict[str, int]]:
    """The first bytes of a file of tensors of these dtypes and shapes, and where each begins in the file.

    The format is 8 bytes of length, a JSON header, the tensors one after another (safetensors' README).
    `said` are words about the file, which the library calls metadata.
    """
    header: dict[str, Any] = {"__metadata__": dict(said)}
    starts: dict[str, int] = {}
    end = 0
    for name, (dtype, shape) in kinds.items():
        starts[name], end = end, end + torch.Size(shape).numel() * dtype.itemsize
        header[name] = {
            "dtype": DTYPE_NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [starts[name], end],
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % LINE_BYTES)
    first = len(text).to_bytes(8, "little") + text
    return first, {name: len(first) + start for name, start in starts.items()}


def write_tensors(
    path: Path,
    kinds: Mapping[str, tuple[torch.dtype, tuple[int, ...]]],
    tensors: Iterable[tuple[str, Tensor]],
    said: Mapping[str, str],
) -> None:
    """Write the tensors, which come by name in any order, each as `kinds` says.

    Raises ValueError for a tensor of another dtype or shape and for one that did not come, OSError where
    the disk is full.
    """
    first, starts = layout(kinds, said)
    missing = set(kinds)
    with path.open("wb") as file:
        file.write(first)
        for name, tensor in tensors:
            if (tensor.dtype, tuple(tensor.shape)) != kinds[name]:
                raise ValueError(f"{name} is {tensor.dtype} {list(tensor.shape)}")
            file.seek(starts[name])
            file.write(tensor.to("cpu").reshape(-1).view(torch.uint8).numpy().data)
            missing.remove(name)
    if missing:
        raise ValueError(f"{len(missing)} tensors did not come, one is {min(missing)}")
