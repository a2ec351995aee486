"""Causal attention with grouped queries: written out, and the fast form for each device.

Names end in their axes: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
`mask` (bool, [T, S], or [B, T, S] where rows differ) says which keys a query may see; without one the
queries are the last T of S positions and each sees the keys up to its own.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from xgen.model.attention_cpu import attend_cpu
from xgen.model.keys_values import Keys, dense

Attend = Callable[[Tensor, Any, Any, Any], Tensor]
"""Attention of queries, keys and values (`Keys`; tensors alone in training) and who sees whom: None, a mask,
or a `Packed` for packed.py's form."""


def attend_reference(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention as it is defined, in fp32 (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).

    Returns [B, H, T, D] in the dtype of the queries. The fast forms are tested against this one.
    """
    n_groups = q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD, v_BHSD = (
        dense(x_BGSD, torch.float32).repeat_interleave(n_groups, dim=1) for x_BGSD in (k_BGSD, v_BGSD)
    )
    scores_BHTS = q_BHTD.float() @ k_BHSD.transpose(-1, -2) * q_BHTD.shape[-1] ** -0.5
    if mask is None:
        n_queries, n_keys = scores_BHTS.shape[-2:]
        ones = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BHTD.device)
        mask = ones.tril(n_keys - n_queries)
    scores_BHTS = scores_BHTS.masked_fill(~mask[..., None, :, :], float("-inf"))
    out_BHTD: Tensor = scores_BHTS.softmax(-1) @ v_BHSD
    return out_BHTD.to(q_BHTD.dtype)


CUDNN_QUERIES = 4096
"""Queries from which cuDNN's attention is worth its plan: it makes one for each new shape, which takes longer
than a whole pass of a small model, and where beams grow each step has a shape of its own."""


def attend_gpu(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention through torch's fused kernels (FlashAttention where there is no mask)."""
    backends = torch.backends.cuda
    allowed: bool = backends.cudnn_sdp_enabled()  # type: ignore[no-untyped-call]
    backends.enable_cudnn_sdp(allowed and q_BHTD.shape[2] >= CUDNN_QUERIES)
    try:
        return _fused(q_BHTD, dense(k_BGSD, q_BHTD.dtype), dense(v_BGSD, q_BHTD.dtype), mask)
    finally:
        backends.enable_cudnn_sdp(allowed)


def _fused(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Tensor | None) -> Tensor:
    n_queries, n_keys = q_BHTD.shape[2], k_BGSD.shape[2]
    if mask is not None:
        n_groups = q_BHTD.shape[1] // k_BGSD.shape[1]
        k_BHSD, v_BHSD = (x.repeat_interleave(n_groups, dim=1) for x in (k_BGSD, v_BGSD))
        return scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=mask[..., None, :, :])
    if n_queries == 1:
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, enable_gqa=True)
    if n_queries == n_keys:
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=True)
    from torch.nn.attention.bias import causal_lower_right  # takes a second, which a CPU need not wait

    bias = causal_lower_right(n_queries, n_keys)
    return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, attn_mask=bias, enable_gqa=True)


def attend_for(device: torch.device) -> Attend:
    """The fast form for a device."""
    return attend_gpu if device.type == "cuda" else attend_cpu
