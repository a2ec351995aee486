"""Causal attention with grouped queries: written out, and the fast form for each device.

Names end in their axes: B batch, H query heads, G key-value heads, T queries, S keys, D head_dim.
`mask` (bool, [T, S], or [B, T, S] where rows differ) says which keys a query may see; without one the
queries are the last T of S positions and each sees the keys up to its own.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from xgen.model.int8 import Int8Rows
from xgen.model.keys_values import Keys

Attend = Callable[[Tensor, Any, Any, Any], Tensor]
"""Attention of queries, keys and values (`Keys`; tensors alone in training) and who sees whom: None, a mask,
or a `Packed` for packed.py's form."""

ROWS = 448
"""Rows a block of `attend_cpu` has about: scores of one block stay in the caches of a CPU."""

FEW = 64
"""Rows that share their keys, under which `attend_cpu` computes in fp32 and all at once."""

ROOM = 1 << 20
"""Numbers of a cache that are brought to fp32 at once for them."""


def attend_reference(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention as it is defined, in fp32 (Vaswani et al. 2017; grouped queries: Ainslie et al. 2023).

    Returns [B, H, T, D] in the dtype of the queries. The fast forms are tested against this one.
    """
    n_groups = q_BHTD.shape[1] // k_BGSD.shape[1]
    k_BHSD, v_BHSD = (
        _dense(x_BGSD, torch.float32).repeat_interleave(n_groups, dim=1) for x_BGSD in (k_BGSD, v_BGSD)
    )
    scores_BHTS = q_BHTD.float() @ k_BHSD.transpose(-1, -2) * q_BHTD.shape[-1] ** -0.5
    if mask is None:
        n_queries, n_keys = scores_BHTS.shape[-2:]
        ones = torch.ones(n_queries, n_keys, dtype=torch.bool, device=q_BHTD.device)
        mask = ones.tril(n_keys - n_queries)
    scores_BHTS = scores_BHTS.masked_fill(~mask[..., None, :, :], float("-inf"))
    out_BHTD: Tensor = scores_BHTS.softmax(-1) @ v_BHSD
    return out_BHTD.to(q_BHTD.dtype)


def attend_cpu(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention by plain matrix products, of all the heads that share their keys at once; no gradients.

    Many rows go block by block in the queries' dtype; a few (one token, some beams) all at once in fp32:
    products of few rows are slow in bf16. A cache in fewer bits is brought to these types in parts.
    """
    n_rows = q_BHTD.shape[2] * q_BHTD.shape[1] // k_BGSD.shape[1]
    return (_at_once if n_rows < FEW else _in_blocks)(q_BHTD, k_BGSD, v_BGSD, mask)


def _at_once(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Every query against all keys, in batched products (N: batch x key heads, R: rows of one)."""
    n_batch, _, n_queries, head_dim = q_BHTD.shape
    n_keys = k_BGSD.shape[2]
    q_NRD = (q_BHTD.float() * head_dim**-0.5).reshape(n_batch * k_BGSD.shape[1], -1, head_dim)
    parts = [torch.bmm(q_NRD, k_NPD.transpose(1, 2)) for _, k_NPD in _parts(k_BGSD)]
    scores_NRS = parts[0] if len(parts) == 1 else torch.cat(parts, -1)
    if isinstance(k_BGSD, Int8Rows):
        scores_NRS *= k_BGSD.scale.flatten(0, 1)[:, None]
    if mask is None and n_queries > 1:
        mask = torch.ones(n_queries, n_keys, dtype=torch.bool).tril(n_keys - n_queries)
    if mask is not None:
        scores_BHTS = scores_NRS.view(n_batch, -1, n_queries, n_keys)
        scores_BHTS.masked_fill_(~mask[..., None, :, :], float("-inf"))
    weights_NRS = scores_NRS.softmax(-1)
    if isinstance(v_BGSD, Int8Rows):
        weights_NRS *= v_BGSD.scale.flatten(0, 1)[:, None]
    sums = [torch.bmm(weights_NRS[..., here], v_NPD) for here, v_NPD in _parts(v_BGSD)]
    out_NRD = sums[0] if len(sums) == 1 else torch.stack(sums).sum(0)
    return out_NRD.view(q_BHTD.shape).to(q_BHTD.dtype)


def _parts(x_BGSD: Keys) -> Iterator[tuple[slice, Tensor]]:
    """Keys or values in fp32, some at a time in the same memory, without the scales of 8 bits.

    What is in fp32 already comes at once, as it is. N: batch x heads, P: the keys of the slice.
    """
    rows_BGSD = x_BGSD.int8 if isinstance(x_BGSD, Int8Rows) else x_BGSD
    rows_NSD = rows_BGSD.flatten(0, 1)
    n_rows, n_keys, head_dim = rows_NSD.shape
    if rows_NSD.dtype == torch.float32:
        yield slice(0, n_keys), rows_NSD
        return
    size = max(1, min(n_keys, ROOM // (n_rows * head_dim)))
    room_NPD = torch.empty(n_rows, size, head_dim)
    for begin in range(0, n_keys, size):
        part_NPD = rows_NSD[:, begin : begin + size]
        yield slice(begin, begin + size), room_NPD[:, : part_NPD.shape[1]].copy_(part_NPD)


def _in_blocks(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Blocks of queries against the keys up to their last one: what lies behind is not computed.

    A pass over the scores costs as much as a product, and fresh memory more. So all blocks write into
    the same memory, the scale is in the queries, the diagonal alone is masked, and the softmax
    overwrites the scores. X: the query heads of one key head.
    """
    n_batch, n_heads, n_queries, head_dim = q_BHTD.shape
    n_kv_heads, n_keys = k_BGSD.shape[1:3]
    n_shared, first = n_heads // n_kv_heads, n_keys - n_queries
    k_BGSD, v_BGSD = _dense(k_BGSD, q_BHTD.dtype), _dense(v_BGSD, q_BHTD.dtype)
    q_BTGXD = q_BHTD.transpose(1, 2).view(n_batch, n_queries, n_kv_heads, n_shared, head_dim)
    out_BTGXD = torch.empty(q_BTGXD.shape, dtype=q_BHTD.dtype)
    size = min(n_queries, max(16, ROWS // n_shared // 16 * 16))
    room_TXD = q_BHTD.new_empty(size, n_shared, head_dim)
    room = q_BHTD.new_empty(size * n_shared * n_keys)
    hidden = torch.ones(size, size, dtype=torch.bool).triu(1) if mask is None else ~mask
    for batch, group, begin in product(range(n_batch), range(n_kv_heads), range(0, n_queries, size)):
        n_rows = min(size, n_queries - begin)
        n_seen = n_keys if mask is not None else first + begin + n_rows
        here = batch, slice(begin, begin + n_rows), group
        rows_TXD = torch.mul(q_BTGXD[here], head_dim**-0.5, out=room_TXD[:n_rows])
        scores_RS = room[: n_rows * n_shared * n_seen].view(-1, n_seen)
        torch.mm(rows_TXD.view(-1, head_dim), k_BGSD[batch, group, :n_seen].t(), out=scores_RS)
        scores_TXS = scores_RS.view(n_rows, n_shared, n_seen)
        if mask is None:
            diagonal_TXT = scores_TXS[..., n_seen - n_rows :]
            diagonal_TXT.masked_fill_(hidden[:n_rows, None, :n_rows], float("-inf"))
        else:
            rows_hidden = hidden[here[1]] if mask.ndim == 2 else hidden[here[:2]]
            scores_TXS.masked_fill_(rows_hidden[:, None], float("-inf"))
        torch.softmax(scores_RS, -1, out=scores_RS)
        torch.mm(scores_RS, v_BGSD[batch, group, :n_seen], out=rows_TXD.view(-1, head_dim))
        out_BTGXD[here] = rows_TXD
    return out_BTGXD.flatten(2, 3).transpose(1, 2)


def attend_gpu(q_BHTD: Tensor, k_BGSD: Keys, v_BGSD: Keys, mask: Tensor | None) -> Tensor:
    """Attention through torch's fused kernels (FlashAttention where there is no mask)."""
    k_BGSD, v_BGSD = _dense(k_BGSD, q_BHTD.dtype), _dense(v_BGSD, q_BHTD.dtype)
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


def _dense(x_BGSD: Keys, dtype: torch.dtype) -> Tensor:
    return x_BGSD.dense(dtype) if isinstance(x_BGSD, Int8Rows) else x_BGSD.to(dtype)


def attend_for(device: torch.device) -> Attend:
    """The fast form for a device."""
    return attend_gpu if device.type == "cuda" else attend_cpu
