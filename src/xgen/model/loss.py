"""Cross entropy over a vocabulary without ever holding all the logits.

The logits of 65,536 tokens over 49,152 ids are 6 GB and their gradient 6 more. So tokens are taken in
chunks, and the gradients of hidden states and head are computed in the same pass as the loss: what a
chunk needed is gone before the next begins. N tokens, M d_model, V vocabulary.
"""

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

UNTRAINED = -1
"""The target of a token that is not trained."""

LOGITS = 2**28
"""Logits a chunk has at most about: 512 MB in bf16."""


def cross_entropy_reference(hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor) -> Tensor:
    """The same sum by torch's own functions, with all logits at once."""
    logits_NV = torch.nn.functional.linear(hidden_NM, weight_VM)
    wide_NV = logits_NV.to(wide_dtype(logits_NV.dtype))
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
    losses = [
        _losses(hidden_NM[chunk] @ weight_VM.t(), targets_N[chunk])
        for chunk in chunks(len(hidden_NM), len(weight_VM), chunk_tokens)
    ]
    return torch.cat(losses)


class _CrossEntropy(torch.autograd.Function):
    """The loss and, in the same pass, the gradients that the backward pass only scales."""

    @staticmethod
    def forward(
        ctx: Any, hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, chunk_tokens: int | None
    ) -> Tensor:
        for_hidden, for_weight = ctx.needs_input_grad[:2]
        if not (for_hidden or for_weight):
            return token_losses(hidden_NM, weight_VM, targets_N, chunk_tokens).sum()
        wide = wide_dtype(weight_VM.dtype)
        to_gradients = _fastest(hidden_NM.device)
        grad_hidden_NM = torch.empty_like(hidden_NM) if for_hidden else None
        grad_weight_VM = torch.zeros_like(weight_VM, dtype=wide) if for_weight else None
        losses_N = torch.empty(len(hidden_NM), dtype=wide, device=hidden_NM.device)
        for chunk in chunks(len(hidden_NM), len(weight_VM), chunk_tokens):
            logits_CV = hidden_NM[chunk] @ weight_VM.t()
            to_gradients(logits_CV, targets_N[chunk], losses_N[chunk])
            if grad_hidden_NM is not None:
                torch.mm(logits_CV, weight_VM, out=grad_hidden_NM[chunk])
            if grad_weight_VM is not None:
                add_product(grad_weight_VM, logits_CV.t(), hidden_NM[chunk])
        ctx.gradients = grad_hidden_NM, grad_weight_VM
        ctx.weight_dtype = weight_VM.dtype
        return losses_N.sum()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled_gradients(ctx, scale), None, None


def _losses(logits_CV: Tensor, targets_C: Tensor) -> Tensor:
    logits_CV = logits_CV.to(wide_dtype(logits_CV.dtype))
    at_target_C = logits_CV.gather(1, targets_C.clamp(min=0)[:, None])[:, 0]
    return torch.where(targets_C != UNTRAINED, logits_CV.logsumexp(1) - at_target_C, 0.0)


def losses_to_gradients(logits_CV: Tensor, targets_C: Tensor, losses_C: Tensor) -> None:
    """Write the losses of a chunk, and over its logits their gradient, softmax - one-hot."""
    losses_C.copy_(_losses(logits_CV, targets_C))
    gradient_CV = logits_CV.to(losses_C.dtype).softmax(1)
    at_target_C1 = targets_C.clamp(min=0)[:, None]
    gradient_CV.scatter_add_(1, at_target_C1, -torch.ones_like(at_target_C1, dtype=losses_C.dtype))
    logits_CV.copy_(gradient_CV.masked_fill_((targets_C == UNTRAINED)[:, None], 0.0))


def _fastest(device: torch.device) -> Callable[[Tensor, Tensor, Tensor], None]:
    if device.type != "cuda" or find_spec("triton") is None:
        return losses_to_gradients
    from xgen.model import loss_kernel

    return loss_kernel.losses_to_gradients


def scaled_gradients(ctx: Any, scale: Tensor) -> tuple[Tensor | None, Tensor | None]:
    """Gradients of hidden states and head that a forward pass left in `ctx.gradients`, times `scale`."""
    grad_hidden_NM, grad_weight_VM = ctx.gradients
    ctx.gradients = None
    if grad_hidden_NM is not None:
        grad_hidden_NM.mul_(scale)
    if grad_weight_VM is not None:
        out = torch.empty_like(grad_weight_VM, dtype=ctx.weight_dtype)
        grad_weight_VM = torch.mul(grad_weight_VM, scale, out=out)
    return grad_hidden_NM, grad_weight_VM


def add_product(sum_VM: Tensor, a_VC: Tensor, b_CM: Tensor) -> None:
    """sum += a @ b, the sum wider than its factors; a GPU adds inside the product."""
    if sum_VM.dtype == a_VC.dtype:
        sum_VM.addmm_(a_VC, b_CM)
    elif sum_VM.is_cuda:
        torch.addmm(sum_VM, a_VC, b_CM, out_dtype=sum_VM.dtype, out=sum_VM)
    else:
        sum_VM += a_VC @ b_CM


def chunks(n_tokens: int, n_ids: int, chunk_tokens: int | None) -> list[slice]:
    """Chunks alike, of a multiple of 256 tokens where it is not said how many."""
    if chunk_tokens is None:
        n_chunks = -(-n_tokens * n_ids // LOGITS)
        chunk_tokens = -(-n_tokens // n_chunks // 256) * 256
    return [slice(begin, begin + chunk_tokens) for begin in range(0, n_tokens, chunk_tokens)]


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """At least fp32."""
    return torch.promote_types(dtype, torch.float32)
