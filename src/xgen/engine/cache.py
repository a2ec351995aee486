"""The keys and values of what was read. The engine owns them, moves them on and cuts them back."""

from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.model.transformer import Transformer


@dataclass
class Cache:
    """Buffers [1, n_kv_heads, capacity, head_dim] a layer, of which `length` tokens are filled."""

    buffers: list[tuple[Tensor, Tensor]]
    length: int = 0

    @classmethod
    def empty(cls, model: Transformer, capacity: int) -> "Cache":
        """Room for `capacity` tokens.

        fp32 on a CPU (one-row products over 16-bit keys are several times slower there), the
        weights' dtype elsewhere.
        """
        shape, weight = model.shape, model.embedding.weight
        dtype = torch.float32 if weight.device.type == "cpu" else weight.dtype
        size = (1, shape.n_kv_heads, capacity, shape.head_dim)
        return cls(
            [
                (
                    torch.empty(size, dtype=dtype, device=weight.device),
                    torch.empty(size, dtype=dtype, device=weight.device),
                )
                for _ in range(shape.n_layers)
            ]
        )

    @property
    def capacity(self) -> int:
        """Tokens that fit."""
        return self.buffers[0][0].shape[2]

    def cut(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        self.length = min(self.length, length)
