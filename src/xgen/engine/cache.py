"""The keys and values of what was read. The engine owns them, moves them on and cuts them back."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.model.transformer import Transformer

Buffers = list[tuple[Tensor, Tensor]]
"""Keys and values of each layer, [rows, n_kv_heads, capacity, head_dim]."""


def empty_buffers(model: Transformer, n_rows: int, capacity: int) -> Buffers:
    """Room for `capacity` tokens in each of `n_rows` rows.

    fp32 on a CPU (one-row products over 16-bit keys are several times slower there), the weights'
    dtype elsewhere.
    """
    shape = model.shape
    dtype = torch.float32 if model.device.type == "cpu" else model.dtype
    size = (n_rows, shape.n_kv_heads, capacity, shape.head_dim)

    def room() -> Tensor:
        return torch.zeros(size, dtype=dtype, device=model.device)

    return [(room(), room()) for _ in range(shape.n_layers)]


@dataclass
class Cache:
    """One text's keys and values, of which `length` tokens are filled."""

    buffers: Buffers
    length: int = 0

    @classmethod
    def empty(cls, model: Transformer, capacity: int) -> "Cache":
        """Room for `capacity` tokens."""
        return cls(empty_buffers(model, 1, capacity))

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
