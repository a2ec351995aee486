"""Attention in packed rows: several documents in one row of tokens, none of which sees another.

The rule, the only one: query i sees key j iff j <= i and (segment[j] == segment[i] or
segment[j] == context[i]). Of a plain document both are the same; a question about a document has a
segment of its own and the document's as its context, so that it sees the document and itself, not the
other questions. Padding has segment -1, and no token sees it. Axes as in attention.py.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch
from torch import Tensor
from torch.library import custom_op
from torch.nn.functional import scaled_dot_product_attention

if TYPE_CHECKING:
    from torch.nn.attention.flex_attention import BlockMask

Kind = Literal["dense", "whole", "documents", "groups"]
"""How rows are attended: by a mask of all pairs (any rows, the reference, and what a CPU does); each row
one document, without padding; documents; groups of questions about documents."""


@dataclass(frozen=True)
class Packed:
    """Who sees whom in the rows of one batch, in the form that its kernel wants; all None: kind "whole"."""

    dense_BTT: Tensor | None = None
    documents: "Documents | None" = None
    blocks: "BlockMask | None" = None


@dataclass(frozen=True)
class Documents:
    """Where documents begin in rows laid end to end: int32 [n + 1]; and the longest's tokens, on the CPU."""

    starts: Tensor
    longest: Tensor


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
    if kind == "documents":
        return Packed(documents=_documents_of(device, segment_BT))
    segment, context = (torch.from_numpy(x).to(device, non_blocking=True) for x in (segment_BT, context_BT))
    if kind == "groups":
        return Packed(blocks=_blocks_of(segment, context))
    return Packed(dense_BTT=mask_of(segment, context))


def _documents_of(device: torch.device, segment_BT: np.ndarray) -> Documents:
    """Rows end to end, each document and each padding a stretch of its own."""
    is_first_BT = np.ones(segment_BT.shape, dtype=bool)
    is_first_BT[:, 1:] = segment_BT[:, 1:] != segment_BT[:, :-1]
    starts = np.append(np.flatnonzero(is_first_BT), segment_BT.size).astype(np.int32)
    on_device = torch.from_numpy(starts).to(device, non_blocking=True)
    torch._dynamo.maybe_mark_dynamic(on_device, 0)  # else each number of documents were compiled anew
    return Documents(on_device, torch.tensor(np.diff(starts).max()))


def _blocks_of(segment_BT: Tensor, context_BT: Tensor) -> "BlockMask":
    """Which blocks of 128 x 128 pairs hold any, and which hold all; a padding token sees padding."""
    from torch.nn.attention.flex_attention import create_block_mask

    def sees(b: Tensor, h: Tensor, i: Tensor, j: Tensor) -> Tensor:
        key = segment_BT[b, j]
        return (j <= i) & ((key == segment_BT[b, i]) | (key == context_BT[b, i]))

    n_rows, n_tokens = segment_BT.shape
    return create_block_mask(sees, n_rows, None, n_tokens, n_tokens, device=segment_BT.device)


def attend_packed(q_BHTD: Tensor, k_BGSD: Tensor, v_BGSD: Tensor, packed: Packed) -> Tensor:
    """Attention within packed rows, with gradients; [B, H, T, D] in the dtype of the queries.

    On a GPU "whole" and "documents" want 16-bit types, and "groups" is to be called in compiled code.
    "whole" is left to torch, which prefers cuDNN's kernel on a Hopper GPU, 1.4 to 1.6 times as fast as
    FlashAttention 2. `sdpa_kernel(..., set_priority=True)` must not ask for it: where it is the first to
    look at the order of preference, it leaves behind one that has cuDNN last, for the whole process.
    """
    if packed.dense_BTT is not None:
        mask = packed.dense_BTT[:, None]
        return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, attn_mask=mask, enable_gqa=True)
    if packed.documents is not None:
        rows = [x.transpose(1, 2).flatten(0, 1) for x in (q_BHTD, k_BGSD, v_BGSD)]
        out: Tensor = _attend_documents(*rows, packed.documents.starts, packed.documents.longest)[0]
        return out.view(len(q_BHTD), -1, *out.shape[1:]).transpose(1, 2)
    if packed.blocks is not None:
        from torch.nn.attention.flex_attention import flex_attention

        out = flex_attention(q_BHTD, k_BGSD, v_BGSD, block_mask=packed.blocks, enable_gqa=True)
        return out
    return scaled_dot_product_attention(q_BHTD, k_BGSD, v_BGSD, is_causal=True, enable_gqa=True)


@custom_op("xgen::attend_documents", mutates_args=())
def _attend_documents(
    q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, starts: Tensor, longest: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """FlashAttention over documents that lie end to end: output, log-sum-exp, random state.

    An operation of its own because the longest document, a number to torch's, would be compiled in.
    """
    size = int(longest)
    out, sums, state, *_ = torch.ops.aten._flash_attention_forward(
        q_NHD, k_NGD, v_NGD, starts, starts, size, size, 0.0, True, False
    )
    return out, sums, state


@_attend_documents.register_fake
def _(q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, starts: Tensor, longest: Tensor) -> tuple[Tensor, ...]:
    n_tokens, n_heads, _ = q_NHD.shape
    sums = q_NHD.new_empty(n_heads, n_tokens, dtype=torch.float32)
    return torch.empty_like(q_NHD), sums, q_NHD.new_empty(2, dtype=torch.uint64)


@custom_op("xgen::attend_documents_backward", mutates_args=())
def _attend_documents_backward(
    grad_NHD: Tensor,
    q_NHD: Tensor,
    k_NGD: Tensor,
    v_NGD: Tensor,
    starts: Tensor,
    longest: Tensor,
    out_NHD: Tensor,
    sums: Tensor,
    state: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    size, unused = int(longest), torch.empty(0, device=q_NHD.device)
    gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten._flash_attention_backward(
        grad_NHD, q_NHD, k_NGD, v_NGD, out_NHD, sums, starts, starts, size, size, 0.0, True, state, unused
    )
    return gradients


@_attend_documents_backward.register_fake
def _(grad_NHD: Tensor, q_NHD: Tensor, k_NGD: Tensor, v_NGD: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
    return torch.empty_like(q_NHD), torch.empty_like(k_NGD), torch.empty_like(v_NGD)


def _keep(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    ctx.save_for_backward(*inputs, *output)


def _backward(ctx: Any, grad_NHD: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
    return *_attend_documents_backward(grad_NHD, *ctx.saved_tensors), None, None


_attend_documents.register_autograd(_backward, setup_context=_keep)
