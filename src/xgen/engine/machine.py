"""What this machine computes fastest."""

import json
import os
import platform
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from xgen.errors import XgenError
from xgen.files import cache_folder, write_whole
from xgen.model.int4 import GROUP
from xgen.model.int4 import product as int4_product

MANY_ROWS = 128
"""Rows by which the type is chosen: a prefill has at least so many."""

FEW_ROWS = (1, 4, 16)
"""Numbers of rows for which 8-bit weights are tried."""


INT4 = torch.uint8
"""Stands for 4-bit weights in a trial: they come two in a byte."""

KEPT_SHAPES = 64
"""Sizes of a product that torch keeps what it prepared for, on a CPU; of itself it keeps 1,024.

A chunk of a prefill has some 40 in qwen-0.5b, again in each layer: of fewer kept, none would be found there.
"""

LEAST_SPAN_S = 0.3
"""Shorter spans say little: the system counts in hundredths of a second."""


@dataclass(frozen=True)
class Choice:
    """What to compute with, and the seconds of the trials that decided it (none on a GPU).

    Up to `int8_rows` tokens at once pass through 8-bit weights by a product of their own
    (model/int8.py); 0 is none. With `int8_only` there are no other weights, and `dtype` is that of the
    activations. With `int4` layers of 4 bits serve there instead (model/int4.py).
    """

    dtype: torch.dtype
    int8_rows: int
    seconds: dict[str, float]
    int8_only: bool = False
    int4: bool = False


def choose(device: torch.device) -> Choice:
    """The type to hold the weights in on `device`, and how many rows 8-bit ones serve.

    A GPU takes bf16, or fp16 if its hardware has none (before Ampere). CPUs differ by more than ten
    times either way (with AVX-512 or AMX bf16 products are twice as fast as fp32, with AVX2 seven
    times slower), and in where 8-bit weights cease to pay, so both are timed, in half a second.
    """
    if device.type == "cuda":
        has_bf16 = torch.cuda.get_device_capability(device)[0] >= 8
        return Choice(torch.bfloat16 if has_bf16 else torch.float16, 0, {})
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # two would wait for each other, and for whoever is at work beside them
    try:
        return _tried()
    finally:
        torch.set_num_threads(n_threads)


def _tried() -> Choice:
    trials = {kind: _product_s(MANY_ROWS, kind) for kind in (torch.bfloat16, torch.float32)}
    seconds = {f"{MANY_ROWS} rows, {kind}": s for kind, s in trials.items()}
    dtype = min(trials, key=lambda kind: trials[kind])
    int8_rows = 0
    for n_rows in FEW_ROWS:
        try:
            plain, int8 = _product_s(n_rows, dtype), _product_s(n_rows, torch.int8)
        except (AttributeError, RuntimeError):
            break  # this torch has no such product: its name is not a public one
        seconds |= {f"{n_rows} rows, {dtype}": plain, f"{n_rows} rows, {torch.int8}": int8}
        if plain < int8:
            break
        int8_rows = n_rows
    return Choice(dtype, int8_rows, seconds, int4=int8_rows > 0 and _int4_pays(seconds))


def _int4_pays(seconds: dict[str, float]) -> bool:
    """Whether 4 bits are so much faster than 8 for one row that two layers of them are, where rows are short.

    With AVX-512 they take half as long, with AVX2 nine tenths. Its seconds are added to those of the trials.
    """
    try:
        int4 = _product_s(1, INT4)
    except (AttributeError, RuntimeError):
        return False
    seconds["1 rows, int4"] = int4
    return int4 < 2 / 3 * seconds[f"1 rows, {torch.int8}"]


def choice_for(device: torch.device, anew: bool = False) -> Choice:
    """What `choose` says, from the cache folder if this machine was tried before and not `anew`."""
    if device.type == "cuda":
        return choose(device)
    path = cache_folder() / "machine.json"
    key = f"{processor()}, {all_threads()} threads, torch {torch.__version__}"
    known = _known(path)
    if key not in known or anew:
        choice = choose(device)
        name = str(choice.dtype).removeprefix("torch.")
        known[key] = {
            "dtype": name,
            "int8_rows": choice.int8_rows,
            "int4": choice.int4,
            "seconds": choice.seconds,
        }
        with suppress(OSError, XgenError):  # a disk that is full costs half a second the next time
            write_whole(path, json.dumps(known, indent=1).encode())
    return _choice(known[key])


@dataclass(frozen=True)
class Clock:
    """Seconds at a moment: of the clock, of the cores we may use at work, of this process."""

    wall: float
    cores: float
    own: float

    @classmethod
    def now(cls) -> "Clock | None":
        """This moment, where the system tells what its cores do (Linux), else None."""
        if sys.platform != "linux":
            return None
        try:
            lines = Path("/proc/stat").read_text(encoding="ascii").splitlines()
            ours = {f"cpu{core}" for core in os.sched_getaffinity(0)}
            ticks = sum(_busy_ticks(line) for line in lines if line.split(maxsplit=1)[0] in ours)
        except (OSError, ValueError):
            return None
        times = os.times()
        own = times.user + times.system + times.children_user + times.children_system
        return cls(time.perf_counter(), ticks / os.sysconf("SC_CLK_TCK"), own)

    def others_since(self, before: "Clock") -> float:
        """How many of our cores other programs kept busy on average."""
        return max(0.0, (self.cores - before.cores - self.own + before.own) / (self.wall - before.wall))


def _busy_ticks(line: str) -> int:
    user, nice, system, _, _, irq, softirq = map(int, line.split()[1:8])
    return user + nice + system + irq + softirq


def bound_kept_shapes() -> None:
    """Bound what torch keeps of its products on a CPU, before the first of them; what the user has set stays.

    For each number of rows oneDNN and torch's layer over it keep some 0.7 MB, and every text has another
    number: a process that had answered a hundred questions held gigabytes. Read at the first product.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(KEPT_SHAPES))


@cache
def all_threads() -> int:
    """How many threads torch takes by itself."""
    return torch.get_num_threads()


def leave_busy_cores(before: Clock | None) -> int:
    """Compute on the cores that others left idle since `before`, on one at least; returns how many.

    Threads that wait for each other wait for the neighbour too: two beside one endless loop are slower
    than one. A number that the user has set (OMP_NUM_THREADS) stays.
    """
    n_threads, now = all_threads(), Clock.now()
    if before is None or now is None or "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    if now.wall - before.wall < LEAST_SPAN_S:
        return torch.get_num_threads()
    n_free = len(os.sched_getaffinity(0)) - round(now.others_since(before))
    torch.set_num_threads(max(1, min(n_threads, n_free)))
    return torch.get_num_threads()


def processor() -> str:
    """The processor by name, with the best instructions that torch uses on it."""
    described, name = Path("/proc/cpuinfo"), ""
    if described.exists():
        lines = described.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    name = name or platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def _known(path: Path) -> dict[str, Any]:
    """The choices kept in a file; none where it cannot be read as such."""
    try:
        known: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        for entry in known.values():
            _choice(entry)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return {}
    return known


def _choice(entry: dict[str, Any]) -> Choice:
    """A choice as it is kept; raises KeyError, TypeError or ValueError for what is none."""
    kinds = {
        str(kind).removeprefix("torch."): kind for kind in (torch.bfloat16, torch.float16, torch.float32)
    }
    seconds = dict(entry["seconds"])
    return Choice(kinds[entry["dtype"]], int(entry["int8_rows"]), seconds, int4=bool(entry["int4"]))


def _product_s(n_rows: int, dtype: torch.dtype) -> float:
    """Seconds of a product on the CPU, best of 3 after one to warm up; int8 and INT4 multiply bf16 rows.

    The weights of few rows are more than a cache holds, as those of a model are.
    """
    n_out = 4096 if n_rows >= MANY_ROWS else 24576
    few_bits = dtype in (torch.int8, INT4)
    rows = torch.ones(n_rows, 1024, dtype=torch.bfloat16 if few_bits else dtype)
    weight: Tensor = torch.ones(n_out, 512 if dtype == INT4 else 1024, dtype=dtype)
    scale = torch.ones(n_out, dtype=torch.bfloat16)
    groups = torch.ones(1024 // GROUP, n_out, 2, dtype=torch.bfloat16) if dtype == INT4 else scale

    def product() -> Tensor:
        if dtype == torch.int8:
            return torch._weight_int8pack_mm(rows, weight, scale)
        if dtype == INT4:
            return int4_product(rows, weight, groups)
        return torch.nn.functional.linear(rows, weight)

    product()
    return min(_time_s(product) for _ in range(3))


def _time_s(work: Callable[[], Tensor]) -> float:
    """Processor time of this thread, the only one at work, in which neighbours do not count.

    On Windows, where that has ticks of 16 ms, time by the clock on the wall.
    """
    now = time.perf_counter if sys.platform == "win32" else time.thread_time
    start = now()
    work()
    return now() - start
