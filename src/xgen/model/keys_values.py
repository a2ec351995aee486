"""Where keys and values lie and how new ones get there. The caller owns the memory and moves it on."""

from collections.abc import Sequence

import torch
from torch import Tensor

from xgen.model.int8 import Int8Rows, quantised

Keys = Tensor | Int8Rows
"""Keys, or values, of all that is seen: [B, G, S, D]."""

KeysValues = Sequence[tuple[Tensor, ...]]
"""For each layer its buffers: keys and values [B, G, capacity, D]; where these are int8 the scales of
their rows as well, fp32 [B, G, capacity]."""


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
