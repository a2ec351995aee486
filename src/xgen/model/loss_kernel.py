"""The loss's softmax on a GPU, in Triton: imported only where there is one.

The compiler's form of `loss.losses_to_gradients` splits rows of 49,152 logits into parts and moves 0.37
TB/s (H100); one program a row, which reads twice and writes once, is bounded by the memory.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 16_384
"""Logits of a row that a program holds at once."""


def losses_to_gradients(logits_CV: Tensor, targets_C: Tensor, losses_C: Tensor) -> None:
    """As `loss.losses_to_gradients`, for contiguous logits."""
    n_tokens, n_ids = logits_CV.shape
    with torch.cuda.device(logits_CV.device):
        _softmax_gradient[(n_tokens,)](logits_CV, targets_C, losses_C, n_ids, BLOCK, num_warps=16)


@triton.jit  # type: ignore[untyped-decorator]
def _softmax_gradient(logits, targets, losses, n_ids, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    row = tl.program_id(0).to(tl.int64)
    logits += row * n_ids
    target = tl.load(targets + row)
    at_target = tl.load(logits + tl.maximum(target, 0)).to(tl.float32)
    top = float("-inf")
    total = 0.0
    for begin in range(0, n_ids, BLOCK):
        ids = begin + tl.arange(0, BLOCK)
        x = tl.load(logits + ids, mask=ids < n_ids, other=float("-inf")).to(tl.float32)
        higher = tl.maximum(top, tl.max(x, 0))
        total = total * tl.exp(top - higher) + tl.sum(tl.exp(x - higher), 0)
        top = higher
    log_sum = top + tl.log(total)
    is_trained = target >= 0
    tl.store(losses + row, tl.where(is_trained, log_sum - at_target, 0.0))
    for begin in range(0, n_ids, BLOCK):
        ids = begin + tl.arange(0, BLOCK)
        x = tl.load(logits + ids, mask=ids < n_ids, other=float("-inf")).to(tl.float32)
        gradient = tl.exp(x - log_sum) - tl.where(ids == target, 1.0, 0.0)
        gradient = tl.where(is_trained, gradient, 0.0)
        tl.store(logits + ids, gradient.to(logits.dtype.element_ty), mask=ids < n_ids)
