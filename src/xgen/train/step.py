"""One optimizer step, all of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.model.transformer import Transformer
from xgen.train.optim import AdamW
from xgen.train.parallel import World
from xgen.train.rows import Batch
from xgen.train.spikes import SpikeGuard
from xgen.train.teacher import Teacher
from xgen.train.weights import Weights

METRICS = ("loss", "grad_norm", "learning_rate", "accepted", "trained_tokens")


@dataclass(frozen=True)
class Training:
    """All that a step changes, and the teacher if it has one.

    `applied` counts the steps of this stage that moved the weights.
    """

    model: Transformer
    weights: Weights
    optimizer: AdamW
    guard: SpikeGuard
    applied: Tensor
    teacher: Teacher | None = None


def step(run: Training, batches: Sequence[Batch], n_trained: int, rates: Tensor, world: World) -> Tensor:
    """Forward, backward, judge, move: METRICS of the step, fp64 [5] on the device; no wait for it.

    The loss is the mean over the trained tokens of all micro-steps and processes. A step that the guard
    does not accept changes neither weights nor moments nor statistics nor the learning rate's clock.
    """
    device = run.applied.device
    trained = world.sum(torch.tensor(n_trained, dtype=torch.float64).to(device, non_blocking=True))
    run.weights.zero_gradients()
    loss = world.sum(gradients(run, batches, trained, world.size))
    grad_norm = world.sum(run.weights.squared_grad_norm()).sqrt()
    accepted = run.guard.accepts(loss, grad_norm)
    here = run.applied.clamp(max=len(rates) - 1)
    rate = rates.index_select(0, here[None])[0]  # rates[here] would wait for the device
    run.optimizer.step(rate, grad_norm, accepted)
    run.weights.publish()
    run.guard.remember(loss, grad_norm, accepted)
    run.applied.add_(accepted)
    return torch.stack((loss, grad_norm.double(), rate.double(), accepted.double(), trained))


def gradients(run: Training, batches: Sequence[Batch], trained: Tensor, n_processes: int) -> Tensor:
    """Add this process's gradients of the loss, a mean over `trained` tokens; returns its part, fp64 [].

    Several processes take the mean of their gradients, so each brings `n_processes` times its part.
    """
    per_token = (n_processes / trained).float()
    loss = torch.zeros((), dtype=torch.float64, device=run.applied.device)
    for index, batch in enumerate(batches):
        taught = None if run.teacher is None else run.teacher.teach(batch)
        summed = run.model.loss(batch.ids, batch.targets, batch.positions, batch.packed, taught)
        (summed * per_token).backward()  # type: ignore[no-untyped-call]
        run.weights.take_gradients(first=index == 0)
        loss += summed.detach() / trained
    return loss


def compile_layers(model: Transformer) -> None:
    """Let the layers of a model on a GPU run compiled; one is compiled, the others find it in the cache.

    Each length and kind of rows costs some 20 s once; the whole model as one piece would take minutes.
    Only `forward` is compiled: what hangs on a layer, such as the gathering of its shares, stays outside.
    """
    torch._dynamo.config.recompile_limit = 64  # lengths, kinds of rows, with gradients and without
    for module in (*model.layers, model.norm):
        module.forward = torch.compile(module.forward, fullgraph=True, dynamic=False)
