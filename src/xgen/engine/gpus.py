"""The GPUs of this machine: what they compute in, what is free on them, whether our own kernels run there."""

from dataclasses import dataclass

import torch

from xgen.engine.free import NAMES, free_bytes
from xgen.engine.kernels.compiled import CannotCompile, cubin
from xgen.engine.machine import choose


@dataclass(frozen=True)
class Gpu:
    """One GPU: `dtype` by its name on the command line; `no_kernels` says why torch's own are taken there."""

    name: str
    dtype: str
    free_bytes: int
    total_bytes: int
    no_kernels: str | None


def gpus() -> list[Gpu]:
    """Every CUDA device that torch sees, in its order; a kernel is compiled for each, once."""
    if not torch.cuda.is_available():
        return []
    return [_gpu(torch.device("cuda", index)) for index in range(torch.cuda.device_count())]


def _gpu(device: torch.device) -> Gpu:
    dtype, why = NAMES[choose(device).dtype], None
    try:
        flags = {"FP16": None} if dtype == "fp16" else {}
        cubin("rows", {"HEAD_DIM": 128, **flags}, torch.cuda.get_device_capability(device))
    except CannotCompile as error:
        why = str(error)
    total = torch.cuda.mem_get_info(device)[1]
    return Gpu(torch.cuda.get_device_name(device), dtype, free_bytes(device) or 0, total, why)
