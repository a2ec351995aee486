"""Where keys and values lie and how new ones get there. The caller owns the memory and moves it on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from xgen.model.int4 import WeightInt4
from xgen.model.int8 import Int8Rows, WeightInt8, quantised

if TYPE_CHECKING:
    from xgen.model.transformer import Transformer

SIGMAS = 10.0
"""Keys are taken to reach so far from their biases, in units of a row times an even input; measured, since
inputs are not even (docs/results.md)."""

MOST_UNEVEN = 1024.0

Keys = Tensor | Int8Rows
"""Keys, or values, of all that is seen: [B, G, S, D]."""

KeysValues = Sequence[tuple[Tensor, ...]]
"""For each layer its buffers: keys and values [B, G, capacity, D]; where these are int8 the scales of
their rows as well, fp32 [B, G, capacity]."""


def dense(x_BGSD: Keys, dtype: torch.dtype) -> Tensor:
    """Keys or values as numbers of `dtype`."""
    return x_BGSD.dense(dtype) if isinstance(x_BGSD, Int8Rows) else x_BGSD.to(dtype)


def written(buffers: tuple[Tensor, ...], k_BGTD: Tensor, v_BGTD: Tensor, start: int) -> tuple[Keys, Keys]:
    """Write new keys and values behind the first `start` tokens; all that stand there then.

    In 8 bits each token's key of a head has a scale of its own, so a text that is read in chunks leaves
    what it leaves when read at once, and is seen as it was written, by its own tokens too.
    """
    end = start + k_BGTD.shape[2]
    if len(buffers) == 2:
        keys, values = buffers
        keys[:, :, start:end] = k_BGTD
        values[:, :, start:end] = v_BGTD
        return keys[:, :, :end], values[:, :, :end]
    keys, values, key_scales, value_scales = buffers
    int8, scales = quantised(torch.stack((k_BGTD, v_BGTD)), torch.float32)
    keys[:, :, start:end], values[:, :, start:end] = int8
    key_scales[:, :, start:end], value_scales[:, :, start:end] = scales
    return (
        Int8Rows(keys[:, :, :end], key_scales[:, :, :end]),
        Int8Rows(values[:, :, :end], value_scales[:, :, :end]),
    )


@torch.no_grad()
def even_keys(model: "Transformer") -> None:
    """Scale the keys of `model` so that 8 bits hold them well, and its queries so that nothing else changes.

    A key in 8 bits has one scale, and some models' biases make one pair of its numbers a hundred times
    larger than the others (Qwen2). A pair (i, i + D/2), which is rotated as one, is divided by its expected
    size, and the same pair of the queries multiplied with it, so that products stay what they are; by
    powers of two, which no type rounds. After SmoothQuant (Xiao et al. 2023), with sizes by the weights
    alone: |bias| + SIGMAS * |row * gain of the norm before|.
    """
    shape = model.shape
    n_groups, n_shared, half = shape.n_kv_heads, shape.n_heads // shape.n_kv_heads, shape.head_dim // 2
    layer: Any  # mypy knows no modules of a list
    for layer in model.layers:
        weight_NM = layer.k.dense() if isinstance(layer.k, WeightInt8) else layer.k.weight
        size_N = SIGMAS * (weight_NM.float() * layer.attention_norm.weight.float()).norm(dim=1)
        if layer.k.bias is not None:
            size_N = size_N + layer.k.bias.abs().float()
        size_GP = size_N.view(n_groups, 2, half).amax(1)
        middle_G1 = size_GP.median(-1, keepdim=True).values.clamp(min=1e-20)
        factor_GP = (size_GP / middle_G1).clamp(1 / MOST_UNEVEN, MOST_UNEVEN).log2().round().exp2()
        factor_GD = torch.cat((factor_GP, factor_GP), -1)
        layer.k = _rows_multiplied(layer.k, 1 / factor_GD.flatten())
        layer.q = _rows_multiplied(layer.q, factor_GD.repeat_interleave(n_shared, 0).flatten())


Map = nn.Linear | WeightInt8 | WeightInt4


def _rows_multiplied(layer: Map, factor_N: Tensor) -> Map:
    """The map with its output channels multiplied; the weights that it was made of stay as they are."""

    def times(weight: Tensor | None) -> Any:
        if weight is None:
            return None
        factor = factor_N[:, None] if weight.ndim == 2 else factor_N
        return nn.Parameter(weight * factor.to(weight.dtype), requires_grad=False)

    if isinstance(layer, WeightInt8):
        scale_N = layer.scale_N * factor_N
        return WeightInt8(layer.int8_NK, scale_N, times(layer.bias), layer.max_rows, times(layer.weight))
    if isinstance(layer, WeightInt4):
        groups_CN2 = layer.groups * factor_N[:, None].bfloat16()
        return WeightInt4(layer.packed, groups_CN2, times(layer.weight), times(layer.bias), layer.max_rows)
    made = nn.Linear(layer.in_features, layer.out_features, layer.bias is not None, device="meta")
    made.weight, made.bias = times(layer.weight), times(layer.bias)
    return made
