"""Attention in packed rows: several documents in one row of tokens, none of which sees another.

The rule, the only one: query i sees key j iff j <= i and (segment[j] == segment[i] or
segment[j] == context[i]). Of a plain document both are the same; a question about a document has a
segment of its own and the document's as its context, so that it sees the document and itself, not the
other questions. Padding has segment -1, and no token sees it. Axes as in attention.py.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Kind = Literal["dense", "whole", "documents", "groups"]
"""How rows are attended: by a mask of all pairs (any rows, the reference, and what a CPU does); each row
one document, without padding; documents; groups of questions about documents."""


@dataclass(frozen=True)
class Packed:
    """Who sees whom in the rows of one batch, in the form that its kernel wants; all None: kind "whole"."""

    dense_BTT: Tensor | None = None


def mask_of(segment_BT: Tensor, context_BT: Tensor) -> Tensor:
    """The rule as it is defined: bool [B, T, T], True where a query (rows) sees a key (columns).

    A padding token sees itself, so that its softmax is finite; nothing comes of its output.
    """
    n_tokens = segment_BT.shape[1]
    causal_TT = torch.ones(n_tokens, n_tokens, dtype=torch.bool, device=segment_BT.device).tril()
    keys_B1T, own_BT1, context_BT1 = segment_BT[:, None, :], segment_BT[:, :, None], context_BT[:, :, None]
    seen_BTT = (keys_B1T == own_BT1) | (keys_B1T == context_BT1)
    seen_BTT = causal_TT & seen_BTT & (own_BT1 >= 0)
    return seen_BTT | torch.eye(n_tokens, dtype=torch.bool, device=segment_BT.device)


def kind_of(segment_BT: np.ndarray, context_BT: np.ndarray, device: torch.device) -> Kind:
    """The fastest form for these rows (int32 [B, T], as data/pack.py makes them) on a device."""
    if (segment_BT == segment_BT[:, :1]).all() and (segment_BT >= 0).all():
        return "whole"
    if device.type != "cuda":
        return "dense"
    return "documents" if (segment_BT == context_BT).all() else "groups"


def packed_for(
    device: torch.device, segment_BT: np.ndarray, context_BT: np.ndarray, kind: Kind | None = None
) -> Packed:
    """What `attend_packed` needs for these rows, made once for a batch and used by every layer.

    Without a `kind` the fastest for these rows and this device.
    """
    kind = kind or kind_of(segment_BT, context_BT, device)
    if kind == "whole":
        return Packed()
    segment, context = torch.from_numpy(segment_BT).to(device), torch.from_numpy(context_BT).to(device)
    return Packed(dense_BTT=mask_of(segment, context))


def attend_packed(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, packed: Packed) -> Tensor:
    """Attention within packed rows, with gradients; [B, H, T, D] in the dtype of the queries."""
    if packed.dense_BTT is not None:
        mask = packed.dense_BTT[:, None]
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, attn_mask=mask, enable_gqa=True)
    return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=True)
