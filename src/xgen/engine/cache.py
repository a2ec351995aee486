"""The keys and values of what was read. The engine owns them, moves them on and cuts them back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.model.transformer import Transformer

Buffers = list[tuple[Tensor, ...]]
"""Of each layer keys and values, [rows, n_kv_heads, capacity, head_dim], and in 8 bits their scales
(model/keys_values.py)."""

LONG = 3072
"""Tokens from which on keys and values of bf16 are faster for a single query than of fp32 (one_token_cpu.py);
before, calls cost more than what is read."""


def default_dtype(device: torch.device, dtype: torch.dtype, capacity: int) -> torch.dtype:
    """What keys and values are kept in where activations are of `dtype`: that, but fp32 on a CPU, where few
    rows are multiplied in fp32, unless there is room for LONG texts in a cache of bf16."""
    if device.type != "cpu" or (dtype == torch.bfloat16 and capacity >= LONG):
        return dtype
    return torch.float32


def empty_buffers(
    model: Transformer, n_rows: int, capacity: int, dtype: torch.dtype | None = None
) -> Buffers:
    """Room for `capacity` tokens in each of `n_rows` rows, in `dtype` or the default one."""
    shape, dtype = model.shape, dtype or default_dtype(model.device, model.dtype, capacity)
    size = (n_rows, shape.n_kv_heads, capacity, shape.head_dim)
    sizes = [(size, dtype)] * 2 + [(size[:-1], torch.float32)] * (2 if dtype == torch.int8 else 0)
    return [
        tuple(torch.zeros(size, dtype=dtype, device=model.device) for size, dtype in sizes)
        for _ in range(shape.n_layers)
    ]


@dataclass
class Cache:
    """One text's keys and values, of which `length` tokens are filled."""

    buffers: Buffers
    length: int = 0

    @classmethod
    def empty(cls, model: Transformer, capacity: int, dtype: torch.dtype | None = None) -> "Cache":
        """Room for `capacity` tokens, kept in `dtype` (a float type or int8) or the default one."""
        return cls(empty_buffers(model, 1, capacity, dtype))

    @property
    def capacity(self) -> int:
        """Tokens that fit."""
        return self.buffers[0][0].shape[2]

    def cut(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        self.length = min(self.length, length)


@dataclass
class Rows:
    """Several texts side by side: row b has `lengths[b]` tokens in the first of `width` slots.

    What is written next goes behind `width` in every row; the slots between a shorter row's end and
    `width` are seen by nobody.
    """

    buffers: Buffers
    lengths: Sequence[int]
    width: int

    @classmethod
    def of(cls, cache: Cache) -> "Rows":
        """The one row of a cache, in place: nothing is copied."""
        return cls(cache.buffers, (cache.length,), cache.length)

    @property
    def capacity(self) -> int:
        """Slots of a row."""
        return self.buffers[0][0].shape[2]
