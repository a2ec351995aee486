"""Outlier steps: seen before the optimizer moves, without a word to the host, and left out.

A step is an outlier if its loss or gradient norm is not finite, or above the mean of the last accepted
ones by some standard deviations (OLMo-core's skip-step optimizer: 6 over 128 steps, from half of them
on). Weights that do not move can stay where gradients are large, so a guard that only ever says no would
end the training; hence PATIENCE. Everything here is a tensor on the device.
"""

import torch
from torch import Tensor

PATIENCE = 8
"""Rejected steps in a row after which it is not the batches that are odd: the bounds begin anew."""

MARGIN = 0.1
"""A bound is at least this share above the mean: where losses hardly vary, deviations say little."""


class SpikeGuard:
    """The losses and gradient norms of the last accepted steps, and the bounds that follow from them."""

    def __init__(self, window: int, sigmas: float, device: torch.device) -> None:
        """`window` steps are remembered; the bound is `sigmas` standard deviations above their mean."""
        self.sigmas = sigmas
        self.seen_2W = torch.zeros(2, window, dtype=torch.float64, device=device)
        self.n_accepted = torch.zeros((), dtype=torch.int64, device=device)
        self.n_rejected = torch.zeros((), dtype=torch.int64, device=device)  # in a row
        self._order_W = torch.arange(window, device=device)

    def accepts(self, loss: Tensor, grad_norm: Tensor) -> Tensor:
        """Whether a step (scalars) is no outlier: a bool tensor []."""
        now_2 = torch.stack((loss, grad_norm)).double()
        return (now_2.isfinite() & (now_2 <= self.bounds())).all()

    def bounds(self) -> Tensor:
        """The bounds of loss and gradient norm, [2], fp64; infinite before half a window was accepted."""
        filled_W = self._order_W < self.n_accepted
        count = filled_W.sum().clamp(min=1)
        mean_2 = (self.seen_2W * filled_W).sum(1) / count
        spread_2 = ((self.seen_2W - mean_2[:, None]).square() * filled_W).sum(1).div(count).sqrt()
        bounds_2 = mean_2 + torch.maximum(self.sigmas * spread_2, MARGIN * mean_2.abs())
        return torch.where(count >= len(self._order_W) // 2, bounds_2, torch.inf)

    def remember(self, loss: Tensor, grad_norm: Tensor, accepted: Tensor) -> None:
        """Take an accepted step into the window; of another nothing stays but that it was rejected."""
        here_W = (self._order_W == self.n_accepted % len(self._order_W)) & accepted
        now_2 = torch.stack((loss, grad_norm)).double()
        self.seen_2W = torch.where(here_W, now_2[:, None], self.seen_2W)
        rejected = torch.where(accepted, 0, self.n_rejected + 1)
        gives_up = rejected >= PATIENCE
        self.n_accepted = torch.where(gives_up, 0, self.n_accepted + accepted)
        self.n_rejected = torch.where(gives_up, 0, rejected)

    def forget(self) -> None:
        """Begin anew: a stage of another length or mix has losses of its own."""
        self.seen_2W.zero_()
        self.n_accepted.zero_()
        self.n_rejected.zero_()

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint keeps."""
        return {
            "spikes.seen": self.seen_2W,
            "spikes.accepted": self.n_accepted,
            "spikes.rejected": self.n_rejected,
        }

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from `state()` of an equal guard."""
        self.seen_2W.copy_(state["spikes.seen"])
        self.n_accepted.copy_(state["spikes.accepted"])
        self.n_rejected.copy_(state["spikes.rejected"])
