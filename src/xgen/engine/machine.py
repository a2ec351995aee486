"""What this machine computes fastest."""

import time

import torch
from torch import Tensor


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type to hold the weights in on `device`.

    A GPU takes bf16, or fp16 if its hardware has none (before Ampere). CPUs differ by more than ten
    times either way (with AVX-512 or AMX bf16 products are twice as fast as fp32, with AVX2 seven
    times slower), so one is timed, in well under a second.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device)[0] >= 8
        return torch.bfloat16 if has_bf16 else torch.float16
    return min((torch.bfloat16, torch.float32), key=_product_s)


def _product_s(dtype: torch.dtype) -> float:
    """Seconds of a product of 512 x 1024 by 1024 x 1024 on the CPU, best of 3 after one to warm up."""
    a: Tensor = torch.ones(512, 1024, dtype=dtype)
    b: Tensor = torch.ones(1024, 1024, dtype=dtype)
    a @ b
    times = []
    for _ in range(3):
        start = time.perf_counter()
        a @ b
        times.append(time.perf_counter() - start)
    return min(times)
