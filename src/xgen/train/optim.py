"""AdamW that a tensor on the device can hold back."""

import torch
from torch import Tensor

from xgen.train.recipe import Optimizer
from xgen.train.weights import Group, Weights


class AdamW:
    """torch's fused AdamW: decay on matrices only, its rate and whether it moves at all are tensors."""

    def __init__(self, weights: Weights, settings: Optimizer) -> None:
        """Over the masters of `weights`; the moments lie as they do."""
        matrices, vectors = weights.masters
        self.weights = weights
        self.clip = settings.clip
        self.rate = torch.zeros((), device=matrices[0].device)
        self._adamw = torch.optim.AdamW(
            [
                {"params": matrices, "weight_decay": settings.weight_decay},
                {"params": vectors, "weight_decay": 0.0},
            ],
            lr=self.rate,
            betas=settings.betas,
            eps=settings.eps,
            fused=True,
        )
        for master in [*matrices, *vectors]:
            self._adamw.state[master] = {
                "step": torch.zeros((), device=master.device),
                "exp_avg": torch.zeros_like(master),
                "exp_avg_sq": torch.zeros_like(master),
            }

    def step(self, rate: Tensor, grad_norm: Tensor, accepted: Tensor) -> None:
        """Move the masters by their gradients, clipped to a norm of `clip`; or nothing, unless `accepted`.

        Scalars on the device. torch's gradient scaler has the same needs, so the kernel takes the tensor
        that it divides gradients by and the one that says no.
        """
        self.rate.copy_(rate)
        for masters, gradients in zip(self.weights.masters, self.weights.gradients, strict=True):
            for master, gradient in zip(masters, gradients, strict=True):
                master.grad = gradient
        self._adamw.grad_scale = ((grad_norm + 1e-6) / self.clip).clamp(min=1.0)  # type: ignore[attr-defined]
        self._adamw.found_inf = (~accepted).float()  # type: ignore[attr-defined]
        self._adamw.step()

    def moments(self) -> dict[str, tuple[Group, Group]]:
        """First and second moments, laid out as the masters are."""
        return {key: self._state(key) for key in ("exp_avg", "exp_avg_sq")}

    def counts(self) -> Group:
        """How many steps the moments have seen, one tensor for each master."""
        return [count for group in self._state("step") for count in group]

    def _state(self, key: str) -> tuple[Group, Group]:
        matrices, vectors = self.weights.masters
        return [self._adamw.state[m][key] for m in matrices], [self._adamw.state[v][key] for v in vectors]
