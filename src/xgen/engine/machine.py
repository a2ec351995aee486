"""What this machine computes fastest."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

MANY_ROWS = 128
"""Rows by which the type is chosen: a prefill has at least so many."""

FEW_ROWS = (1, 4, 16)
"""Numbers of rows for which 8-bit weights are tried."""


@dataclass(frozen=True)
class Choice:
    """What to compute with, and the seconds of the trials that decided it (none on a GPU).

    Up to `int8_rows` tokens at once pass through 8-bit weights (model/int8.py); 0 is none.
    """

    dtype: torch.dtype
    int8_rows: int
    seconds: dict[str, float]


def choose(device: torch.device, dtype: torch.dtype | None = None) -> Choice:
    """The type to hold the weights in on `device` (or `dtype`), and how many rows 8-bit ones serve.

    A GPU takes bf16, or fp16 if its hardware has none (before Ampere). CPUs differ by more than ten
    times either way (with AVX-512 or AMX bf16 products are twice as fast as fp32, with AVX2 seven
    times slower), and in where 8-bit weights cease to pay, so both are timed, in
    half a second.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device)[0] >= 8
        return Choice(dtype or (torch.bfloat16 if has_bf16 else torch.float16), 0, {})
    seconds = {}
    if dtype is None:
        trials = {kind: _product_s(MANY_ROWS, kind) for kind in (torch.bfloat16, torch.float32)}
        seconds = {f"{MANY_ROWS} rows, {kind}": s for kind, s in trials.items()}
        dtype = min(trials, key=lambda kind: trials[kind])
    int8_rows = 0
    for n_rows in FEW_ROWS:
        plain, int8 = _product_s(n_rows, dtype), _product_s(n_rows, torch.int8)
        seconds |= {f"{n_rows} rows, {dtype}": plain, f"{n_rows} rows, {torch.int8}": int8}
        if plain < int8:
            break
        int8_rows = n_rows
    return Choice(dtype, int8_rows, seconds)


def compute_dtype(device: torch.device) -> torch.dtype:
    """The type to hold the weights in on `device`."""
    return choose(device).dtype


def _product_s(n_rows: int, dtype: torch.dtype) -> float:
    """Seconds of a product on the CPU, best of 3 after one to warm up; int8 weights multiply bf16 rows.

    The weights of few rows are more than a cache holds, as those of a model are.
    """
    n_out = 4096 if n_rows >= MANY_ROWS else 24576
    weight: Tensor = torch.ones(n_out, 1024, dtype=dtype)
    rows = torch.ones(n_rows, 1024, dtype=torch.bfloat16 if dtype == torch.int8 else dtype)
    scale = torch.ones(n_out, dtype=torch.bfloat16)

    def product() -> Tensor:
        if dtype == torch.int8:
            return torch._weight_int8pack_mm(rows, weight, scale)
        return torch.nn.functional.linear(rows, weight)

    product()
    return min(_time_s(product) for _ in range(3))


def _time_s(work: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
