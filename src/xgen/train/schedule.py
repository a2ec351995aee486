"""The learning rate of a stage, as a table with one entry a step."""

import math

import torch
from torch import Tensor

from xgen.train.recipe import LearningRate


def learning_rates(rate: LearningRate, n_steps: int, tokens_per_step: int) -> Tensor:
    """Rates [n_steps], fp32, of a stage's steps.

    They are looked up by the number of steps that moved the weights, on the device, so a skipped batch
    leaves no trace in what follows. The warm-up is linear and its first step is not zero.
    """
    warmup = rate.warmup_tokens / tokens_per_step
    fall = rate.decay_tokens / tokens_per_step
    return torch.tensor([rate.peak * _share(rate, step, n_steps, warmup, fall) for step in range(n_steps)])


def _share(rate: LearningRate, step: int, n_steps: int, warmup: float, fall: float) -> float:
    if step < warmup:
        return min(1.0, (step + 1) / warmup)
    if rate.decay == "cosine":
        progress = (step - warmup) / max(1.0, n_steps - warmup)
        return rate.final + (1 - rate.final) * 0.5 * (1 + math.cos(math.pi * progress))
    if rate.decay == "linear" and fall > 0:
        return rate.final + (1 - rate.final) * min(1.0, (n_steps - step) / fall)
    return 1.0
