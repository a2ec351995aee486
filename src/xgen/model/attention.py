"""Causal attention with grouped queries: written out, and the fast form for each device.

Names end in their axes: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
`mask` (bool, [T, S], or [B, T, S] where rows differ) says which keys a query may see; without one the
queries are the last T of S positions and each sees the keys up to its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention

Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None], Tensor]

ROWS = 256
"""Queries a block of `attend_cpu` takes: scores of one block stay in the caches of a CPU."""


def attend_reference(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Tensor | None) -> Tensor:
    """Attention as it is defined, in fp32 (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).

    Returns [B, H, T, D] in the dtype of the queries. The fast forms are tested against this one.
    """
    n_groups = q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD = k_BGSD.repeat_interleave(n_groups, dim=1).float()
    v_BHSD = v_BGSD.repeat_interleave(n_groups, dim=1).float()
    scores_BHTS = q_BHTD.float() @ k_BHSD.transpose(-1, -2) * q_BHTD.shape[-1] ** -0.5
    if mask is None:
        n_queries, n_keys = scores_BHTS.shape[-2:]
        ones = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BHTD.device)
        mask = ones.tril(n_keys - n_queries)
    scores_BHTS = scores_BHTS.masked_fill(~mask[..., None, :, :], float("-inf"))
    out_BHTD: Tensor = scores_BHTS.softmax(-1) @ v_BHSD
    return out_BHTD.to(q_BHTD.dtype)


def attend_cpu(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Tensor | None) -> Tensor:
    """Attention by row blocks of plain matrix products; what a block cannot see is not computed.

    The heads that share their keys form one product. Products of many rows run in the queries'
    dtype, a few rows in the cache's: one-row bf16 products are slow on CPUs.
    """
    n_batch, n_heads, n_queries, head_dim = q_BHTD.shape
    n_kv_heads, n_keys = k_BGSD.shape[1], k_BGSD.shape[2]
    dtype = q_BHTD.dtype if n_queries >= 16 else k_BGSD.dtype
    k_BGDS = k_BGSD.to(dtype).transpose(-1, -2)
    v_BGSD = v_BGSD.to(dtype)
    q_BGHTD = (q_BHTD * head_dim**-0.5).to(dtype).unflatten(1, (n_kv_heads, -1))
    out_BGHTD = torch.empty_like(q_BGHTD)
    first = n_keys - n_queries
    for row in range(0, n_queries, ROWS):
        n_rows = min(ROWS, n_queries - row)
        seen = n_keys if mask is not None else first + row + n_rows
        rows = q_BGHTD[:, :, :, row : row + n_rows].reshape(n_batch, n_kv_heads, -1, head_dim)
        scores = (rows @ k_BGDS[..., :seen]).unflatten(2, (-1, n_rows))
        if mask is not None:
            scores.masked_fill_(~mask[..., None, None, row : row + n_rows, :], float("-inf"))
        elif n_rows > 1:
            future = torch.ones(n_rows, n_rows, dtype=torch.bool).triu(1)
            scores[..., seen - n_rows :].masked_fill_(future, float("-inf"))
        weights = scores.softmax(-1).flatten(2, 3)
        out = weights @ v_BGSD[:, :, :seen]
        out_BGHTD[:, :, :, row : row + n_rows] = out.unflatten(2, (-1, n_rows))
    return out_BGHTD.flatten(1, 2).reshape(n_batch, n_heads, n_queries, head_dim).to(q_BHTD.dtype)


def attend_gpu(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, mask: Tensor | None) -> Tensor:
    """Attention through torch's fused kernels (FlashAttention where there is no mask)."""
    n_queries, n_keys = q_BHTD.shape[2], k_BGSD.shape[2]
    if mask is not None:
        n_groups = q_BHTD.shape[1] // k_BGSD.shape[1]
        k_BHSD, v_BHSD = (x.repeat_interleave(n_groups, dim=1) for x in (k_BGSD, v_BGSD))
        return scaled_dot_product_attention(q_BHTD, k_BHSD, v_BHSD, attn_mask=mask[..., None, :, :])
    if n_queries == 1:
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, enable_gqa=True)
    if n_queries == n_keys:
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=True)
    bias = causal_lower_right(n_queries, n_keys)
    return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, attn_mask=bias, enable_gqa=True)


def attend_for(device: torch.device) -> Attend:
    """The fast form for a device."""
    return attend_gpu if device.type == "cuda" else attend_cpu
