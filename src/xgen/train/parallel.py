"""One process or many: who reads which rows, what is added up, and weights that are shared out."""

import os
from dataclasses import dataclass

import torch
from torch import Tensor

from xgen.errors import XgenError


@dataclass(frozen=True)
class World:
    """This process among those of the run; one device each."""

    rank: int
    size: int
    device: torch.device

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.size > 1:
            torch.distributed.all_reduce(tensor)
        return tensor

    def share(self, rows: range) -> range:
        """The rows of a step that this process reads: every `size`-th, so that none is read twice."""
        return rows[self.rank :: self.size]

    def any(self, said: bool) -> bool:
        """Whether one of the processes says so; all must ask, and each waits for the others."""
        return bool(self.sum(torch.tensor(float(said), device=self.device))) if self.size > 1 else said

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            torch.distributed.barrier()


def join_world(device: str) -> World:
    """The world that `torchrun` set up by its environment variables, or a world of one.

    `device` is "auto", "cpu" or "cuda"; each process of one machine takes the GPU of its local rank.
    XgenError for "cuda" where there is none.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise XgenError("device 'cuda'", "this machine has none, or torch does not see it", "use cpu")
    size = int(os.environ.get("WORLD_SIZE", "1"))
    rank = int(os.environ.get("RANK", "0"))
    on_gpu = device != "cpu" and torch.cuda.is_available()
    place = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0"))) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    if size > 1:
        torch.distributed.init_process_group("nccl" if on_gpu else "gloo")
    return World(rank, size, place)


def leave_world(world: World) -> None:
    """End the processes' group in the order that gloo survives: all here, then away.

    Whatever holds weights must be gone before; without the barrier processes abort now and then.
    """
    if world.size > 1:
        import gc

        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()
