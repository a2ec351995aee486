"""Rows of a plan as tensors on the device, made ahead by a thread while the device computes."""

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from xgen.data.pack import Row
from xgen.model.packed import Packed, packed_for
from xgen.model.shape import Shape
from xgen.train.parallel import World

AHEAD = 4
"""Steps that are ready before they are asked for."""


@dataclass(frozen=True)
class Batch:
    """Rows that pass at once: ids, targets, positions, int64 [B, T], and who sees whom (model/packed.py).

    Targets of -1 are not trained.
    """

    ids: Tensor
    targets: Tensor
    positions: Tensor
    packed: Packed


def batch_of(rows: list[Row], device: torch.device) -> Batch:
    """Rows of one length as a batch on `device`, copied without a wait."""
    stacked = np.stack([[getattr(row, field) for row in rows] for field in ("ids", "targets", "position")])
    tensor = torch.from_numpy(stacked)
    if device.type == "cuda":
        tensor = tensor.pin_memory().to(device, non_blocking=True)
    ids, targets, positions = tensor.unbind()
    segment, context = (np.stack([getattr(row, field) for row in rows]) for field in ("segment", "context"))
    return Batch(ids.long(), targets.long(), positions, packed_for(device, segment, context))


@dataclass(frozen=True)
class StepRows:
    """The micro-batches of one step on this process; how many targets they hold, and tokens, and keys seen.

    `n_keys` is the sum over all tokens of the keys that each sees, itself among them.
    """

    batches: tuple[Batch, ...]
    n_trained: int
    n_tokens: int
    n_keys: int

    def flops(self, shape: Shape) -> int:
        """Floating-point operations of the step, twice the forward for the backward; padding counts none."""
        per_key = shape.flops_per_token(1) - shape.flops_per_token(0)
        forward = self.n_tokens * shape.flops_per_token(0) + (self.n_keys - self.n_tokens) * per_key
        return 3 * forward


def step_rows(
    row: Callable[[int], Row], step: int, rows_per_step: int, rows_at_once: int, world: World
) -> StepRows:
    """The rows of `step`: `rows_per_step` of all processes together, `rows_at_once` of one at a time."""
    mine = world.share(range(step * rows_per_step, (step + 1) * rows_per_step))
    rows = [row(index) for index in mine]
    groups = [rows[begin : begin + rows_at_once] for begin in range(0, len(rows), rows_at_once)]
    return StepRows(
        batches=tuple(batch_of(group, world.device) for group in groups),
        n_trained=sum(int((one.targets >= 0).sum()) for one in rows),
        n_tokens=sum(int((one.segment >= 0).sum()) for one in rows),
        n_keys=sum(int((one.position[one.segment >= 0].astype(np.int64) + 1).sum()) for one in rows),
    )


def ahead(steps: Iterable[int], make: Callable[[int], StepRows]) -> Iterator[tuple[int, StepRows]]:
    """Each of `steps` with its rows, made by a thread that keeps AHEAD of them ready.

    What goes wrong in the thread is raised here.
    """
    ready: queue.Queue[tuple[int, StepRows] | BaseException | None] = queue.Queue(AHEAD)
    stop = threading.Event()

    def put(item: tuple[int, StepRows] | BaseException | None) -> None:
        while not stop.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue

    def work() -> None:
        try:
            for step in steps:
                if stop.is_set():
                    return
                put((step, make(step)))
            put(None)
        except BaseException as error:
            put(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        thread.join()
