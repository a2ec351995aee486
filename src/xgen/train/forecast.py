"""What a run will take, before its first step: memory, time, tokens; and whether its longest rows fit."""

import time
from dataclasses import dataclass

import numpy as np
import torch

from xgen.data.pack import Row
from xgen.errors import XgenError
from xgen.model.shape import Shape
from xgen.train.parallel import World
from xgen.train.recipe import Recipe
from xgen.train.rows import StepRows, step_rows
from xgen.train.step import Training, gradients
from xgen.train.teacher import teacher_shape

USUAL_SHARE = 0.4
"""Of the matrix ceiling, what a run is taken to reach where none can be tried."""

H100_FLOPS_PER_S = 740e12
"""A large bf16 matrix product on one H100 (docs/results.md)."""


@dataclass(frozen=True)
class Memory:
    """Bytes on each device: weights with gradients and moments, activations of one micro-step, the sum."""

    state: int
    activations: int

    @property
    def total(self) -> int:
        """Both together."""
        return self.state + self.activations


def memory_per_rank(recipe: Recipe, shape: Shape, n_ranks: int) -> Memory:
    """An estimate of the memory of one of `n_ranks` devices, weights shared out evenly among them.

    A weight has an fp32 master, a gradient and two moments (16 bytes); bf16 adds a copy and its gradient.
    Of each token a layer keeps what its backward pass reads: the inputs of its norms and products.
    """
    n_trained = shape.n_parameters
    if recipe.adapter:
        d_q, d_kv = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        ends = [(shape.d_model, d_q), (shape.d_model, d_kv), (shape.d_model, d_kv), (d_q, shape.d_model)]
        ends += [(shape.d_model, shape.d_ff)] * 2 + [(shape.d_ff, shape.d_model)]
        n_trained = shape.n_layers * recipe.adapter.rank * sum(map(sum, ends))
    narrow = 2 if recipe.dtype == "bf16" else 4
    copies = 2 * narrow if recipe.dtype == "bf16" else 0
    frozen = narrow * (shape.n_parameters if recipe.adapter else 0)
    state = ((16 + copies) * n_trained + frozen) // n_ranks
    if recipe.teacher:  # each device has all of it
        state += narrow * teacher_shape(recipe, recipe.teacher, shape).n_parameters
    heads = (2 * shape.n_heads + 2 * shape.n_kv_heads) * shape.head_dim
    per_token = shape.n_layers * narrow * (4 * shape.d_model + heads + 4 * shape.d_ff)
    tokens = min(recipe.tokens_per_micro_step, max(recipe.longest, recipe.tokens_per_step // n_ranks))
    logits = 2**27 * (narrow + 4)
    return Memory(state, tokens * per_token + logits)


@dataclass(frozen=True)
class StageForecast:
    """What a stage takes on H100s that reach USUAL_SHARE of their matrix ceiling."""

    stage: str
    length: int
    tokens: int
    steps: int
    h100_hours: float


def stage_forecasts(recipe: Recipe, shape: Shape) -> list[StageForecast]:
    """Steps and time of each stage, every row taken as one document."""
    found = []
    for stage in recipe.stages:
        seen = (stage.length - 1) // 2
        flops = 3.0 * stage.tokens * shape.flops_per_token(seen)
        if recipe.teacher:
            flops += stage.tokens * teacher_shape(recipe, recipe.teacher, shape).flops_per_token(seen)
        steps = -(-stage.tokens // recipe.tokens_per_step)
        hours = flops / (USUAL_SHARE * H100_FLOPS_PER_S) / 3600
        found.append(StageForecast(stage.name, stage.length, stage.tokens, steps, hours))
    return found


@dataclass(frozen=True)
class Trial:
    """One micro-step of a stage's longest rows, as it ran: seconds and, on a GPU, the most bytes held."""

    stage: str
    seconds_per_step: float
    peak_bytes: int | None


def try_longest_rows(recipe: Recipe, run: Training, world: World) -> list[Trial]:
    """Run forward and backward of each stage with full rows of one document each, and time the second.

    Nothing of the run changes. Raises XgenError where the device's memory does not take them.
    """
    trials = []
    one = torch.ones((), dtype=torch.float64, device=world.device)
    for stage in recipe.stages:
        n_rows = max(1, recipe.tokens_per_micro_step // stage.length)
        rows = _full_rows(run.model.shape, stage.length, n_rows, world)
        n_micro_steps = max(1, recipe.rows_per_step(stage) // (n_rows * world.size))
        seconds = []
        for _ in range(2):
            started = _now(world)
            try:
                gradients(run, rows.batches, one, world.size)
            except torch.OutOfMemoryError as error:
                raise XgenError(
                    f"stage {stage.name}",
                    f"{n_rows} rows of {stage.length:,} tokens do not fit the device's memory",
                    "lower tokens_per_micro_step, or train on more devices",
                ) from error
            run.weights.zero_gradients()
            seconds.append(_now(world) - started)
        peak = torch.cuda.max_memory_allocated(world.device) if world.device.type == "cuda" else None
        trials.append(Trial(stage.name, seconds[-1] * n_micro_steps, peak))
    return trials


def _full_rows(shape: Shape, length: int, n_rows: int, world: World) -> StepRows:
    random = np.random.default_rng(0)

    def row(index: int) -> Row:
        ids = random.integers(0, shape.vocab_size, length + 1).astype(np.int32)
        one = np.zeros(length, np.int32)
        return Row(ids[:-1], ids[1:], one, one, np.arange(length, dtype=np.int32))

    alone = World(0, 1, world.device)
    return step_rows(row, 0, n_rows, n_rows, alone)


def matrix_ceiling(device: torch.device, dtype: torch.dtype) -> float:
    """FLOP/s of a large square matrix product on `device`, the best of a few."""
    size = 8192 if device.type == "cuda" else 1024
    a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
    world = World(0, 1, device)
    best = float("inf")
    for _ in range(5):
        started = _now(world)
        a @ b
        best = min(best, _now(world) - started)
    return 2.0 * size**3 / best


def _now(world: World) -> float:
    if world.device.type == "cuda":
        torch.cuda.synchronize(world.device)
    return time.perf_counter()
