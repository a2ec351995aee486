"""Cross entropy over a vocabulary without ever holding all the logits.

The logits of 65,536 tokens over 49,152 ids are 6 GB and their gradient 6 more. So tokens are taken in
chunks, and the gradients of hidden states and head are computed in the same pass as the loss: what a
chunk needed is gone before the next begins. N tokens, M d_model, V vocabulary.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

UNTRAINED = -1
"""The target of a token that is not trained."""

LOGITS = 2**27
"""Logits a chunk has about: 256 MB in bf16."""


def cross_entropy_reference(hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor) -> Tensor:
    """The same sum by torch's own functions, with all logits at once."""
    logits_NV = torch.nn.functional.linear(hidden_NM, weight_VM)
    wide_NV = logits_NV.to(_wide(logits_NV.dtype))
    return torch.nn.functional.cross_entropy(wide_NV, targets_N, ignore_index=UNTRAINED, reduction="sum")


def cross_entropy(
    hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, chunk_tokens: int | None = None
) -> Tensor:
    """Sum over the trained tokens of -ln softmax(hidden @ weight.T)[target], in nats; fp32, [].

    `targets_N` (int64) is -1 where a token is not trained. Products run in the dtype of `hidden_NM`,
    the softmax in fp32, and the gradient of `weight_VM` is summed over chunks in fp32.
    """
    total: Tensor = _CrossEntropy.apply(hidden_NM, weight_VM, targets_N, chunk_tokens)  # type: ignore[no-untyped-call]
    return total


@torch.no_grad()
def token_losses(
    hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, chunk_tokens: int | None = None
) -> Tensor:
    """The loss of each token in nats, fp32 [N]; 0 where it is not trained. Without gradients."""
    size = chunk_tokens or _chunk_tokens(weight_VM)
    chunks = [slice(begin, begin + size) for begin in range(0, len(hidden_NM), size)]
    return torch.cat([_losses(hidden_NM[chunk] @ weight_VM.t(), targets_N[chunk]) for chunk in chunks])


class _CrossEntropy(torch.autograd.Function):
    """The loss and, in the same pass, the gradients that the backward pass only scales."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, chunk_tokens: int | None
    ) -> Tensor:
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        if not (for_hidden or for_weight):
            return token_losses(hidden_NM, weight_VM, targets_N, chunk_tokens).sum()
        wide = _wide(weight_VM.dtype)
        size = chunk_tokens or _chunk_tokens(weight_VM)
        losses_to_gradients = _compiled() if hidden_NM.is_cuda else _losses_to_gradients
        grad_hidden_NM = torch.empty_like(hidden_NM) if for_hidden else None
        grad_weight_VM = torch.zeros_like(weight_VM, dtype=wide) if for_weight else None
        total = torch.zeros((), dtype=wide, device=hidden_NM.device)
        for begin in range(0, len(hidden_NM), size):
            chunk = slice(begin, begin + size)
            logits_CV = hidden_NM[chunk] @ weight_VM.t()
            total += losses_to_gradients(logits_CV, targets_N[chunk]).sum()
            if grad_hidden_NM is not None:
                torch.mm(logits_CV, weight_VM, out=grad_hidden_NM[chunk])
            if grad_weight_VM is not None:
                _add_product(grad_weight_VM, logits_CV.t(), hidden_NM[chunk])
        ctx.gradients = grad_hidden_NM, grad_weight_VM
        ctx.weight_dtype = weight_VM.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        grad_hidden_NM, grad_weight_VM = ctx.gradients
        ctx.gradients = None
        if grad_hidden_NM is not None:
            grad_hidden_NM.mul_(scale)
        if grad_weight_VM is not None:
            grad_weight_VM = grad_weight_VM.mul_(scale).to(ctx.weight_dtype)
        return grad_hidden_NM, grad_weight_VM, None, None


def _losses(logits_CV: Tensor, targets_C: Tensor) -> Tensor:
    logits_CV = logits_CV.to(_wide(logits_CV.dtype))
    trained_C = targets_C != UNTRAINED
    at_target_C = logits_CV.gather(1, targets_C.clamp(min=0)[:, None])[:, 0]
    return torch.where(trained_C, logits_CV.logsumexp(1) - at_target_C, 0.0)


def _losses_to_gradients(logits_CV: Tensor, targets_C: Tensor) -> Tensor:
    """The losses of a chunk [C]; its logits are overwritten by their gradient, softmax - one-hot."""
    wide_CV = logits_CV.to(_wide(logits_CV.dtype))
    trained_C1 = (targets_C != UNTRAINED)[:, None]
    ids_C1 = targets_C.clamp(min=0)[:, None]
    sums_C1 = wide_CV.logsumexp(1, keepdim=True)
    losses_C1 = torch.where(trained_C1, sums_C1 - wide_CV.gather(1, ids_C1), 0.0)
    is_target_CV = torch.arange(wide_CV.shape[1], device=wide_CV.device) == ids_C1
    gradient_CV = (wide_CV - sums_C1).exp() - is_target_CV.to(wide_CV.dtype)
    logits_CV.copy_(torch.where(trained_C1, gradient_CV, 0.0))
    return losses_C1[:, 0]


@cache
def _compiled() -> Callable[[Tensor, Tensor], Tensor]:
    """One kernel over the logits instead of ten; any number of tokens, as a last chunk is shorter."""
    compiled: Callable[[Tensor, Tensor], Tensor] = torch.compile(_losses_to_gradients, fullgraph=True)
    return compiled


def _add_product(sum_VM: Tensor, a_VC: Tensor, b_CM: Tensor) -> None:
    """sum += a @ b, the sum wider than its factors; a GPU adds inside the product."""
    if sum_VM.dtype == a_VC.dtype:
        sum_VM.addmm_(a_VC, b_CM)
    else:
        sum_VM += a_VC @ b_CM


def _chunk_tokens(weight_VM: Tensor) -> int:
    return max(1, LOGITS // len(weight_VM))


def _wide(dtype: torch.dtype) -> torch.dtype:
    """At least fp32."""
    return torch.promote_types(dtype, torch.float32)
