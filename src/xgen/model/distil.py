"""Cross entropy with what another model says, beside the one right token (Hinton et al. 2015).

The target of a token is share * softmax(teacher) + (1 - share) * one-hot. As in loss.py the tokens are taken
in chunks, and gradients are computed in the same pass. N tokens, M d_model, U the teacher's, V vocabulary.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from xgen.model.loss import UNTRAINED, add_product, chunks, scaled_gradients, wide_dtype

LOGITS = 2**26
"""Logits that a chunk has of either model at most: 256 MB in fp32, some five times over."""


@dataclass(frozen=True)
class Taught:
    """What a teacher makes of the same tokens.

    Its last hidden states [N, U] and its vocabulary's matrix [V, U]; `share` (0 to 1) of the target is its.
    """

    hidden_NU: Tensor
    weight_VU: Tensor
    share: float


def distilled_reference(hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, taught: Taught) -> Tensor:
    """The same sum by torch's own functions, with all logits at once."""
    trained = targets_N != UNTRAINED
    wide = wide_dtype(hidden_NM.dtype)
    logits_KV = (hidden_NM[trained] @ weight_VM.t()).to(wide)
    told_KV = (taught.hidden_NU[trained] @ taught.weight_VU.t()).to(wide).softmax(1)
    one_hot_KV = torch.nn.functional.one_hot(targets_N[trained], len(weight_VM)).to(wide)
    targets_KV = torch.lerp(one_hot_KV, told_KV, taught.share)
    return torch.nn.functional.cross_entropy(logits_KV, targets_KV, reduction="sum")


def distilled_cross_entropy(
    hidden_NM: Tensor, weight_VM: Tensor, targets_N: Tensor, taught: Taught
) -> Tensor:
    """Sum over the trained tokens of the cross entropy with the mixed target, in nats; fp32, [].

    `targets_N` (int64) is -1 where a token is not trained. Products run in the dtype of their factors, the
    softmax in fp32. It is never 0: an unsure teacher's own entropy stays in it.
    """
    trained = (targets_N != UNTRAINED).nonzero()[:, 0]
    total: Tensor = _Distilled.apply(  # type: ignore[no-untyped-call]
        hidden_NM[trained],
        weight_VM,
        targets_N[trained],
        taught.hidden_NU[trained],
        taught.weight_VU,
        taught.share,
    )
    return total


class _Distilled(torch.autograd.Function):
    """The loss of K trained tokens and, in the same pass, the gradients that backward only scales."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden_KM: Tensor,
        weight_VM: Tensor,
        targets_K: Tensor,
        taught_KU: Tensor,
        weight_VU: Tensor,
        share: float,
    ) -> Tensor:
        of_hidden, of_weight = ctx.needs_input_grad[:2]
        grad_hidden_KM = torch.empty_like(hidden_KM) if of_hidden else None
        wide = wide_dtype(hidden_KM.dtype)
        grad_weight_VM = torch.zeros_like(weight_VM, dtype=wide) if of_weight else None
        total = torch.zeros((), dtype=wide, device=hidden_KM.device)
        for here in chunks(len(hidden_KM), len(weight_VM), max(1, LOGITS // len(weight_VM))):
            logprobs_CV = (hidden_KM[here] @ weight_VM.t()).to(wide).log_softmax(1)
            target_CV = (taught_KU[here] @ weight_VU.t()).to(wide).softmax(1).mul_(share)
            right_C1 = targets_K[here, None]
            target_CV.scatter_add_(1, right_C1, torch.full_like(right_C1, 1 - share, dtype=wide))
            total -= torch.linalg.vecdot(target_CV, logprobs_CV).sum()
            gradient_CV = logprobs_CV.exp_().sub_(target_CV).to(hidden_KM.dtype)
            if grad_hidden_KM is not None:
                torch.mm(gradient_CV, weight_VM, out=grad_hidden_KM[here])
            if grad_weight_VM is not None:
                add_product(grad_weight_VM, gradient_CV.t(), hidden_KM[here])
        ctx.gradients = grad_hidden_KM, grad_weight_VM
        ctx.weight_dtype = weight_VM.dtype
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor) -> tuple[Tensor | None, ...]:
        return *scaled_gradients(ctx, scale), None, None, None, None
