"""The memory that is free on a device, and the refusal of what does not fit before it is loaded."""

from pathlib import Path

import torch

from xgen.errors import XgenError
from xgen.model.memory import Setting, best_that_fits, longest, needed
from xgen.model.shape import Shape

TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32, "int8": torch.int8}
"""By their names on the command line."""

NAMES = {dtype: name for name, dtype in TYPES.items()}


MUCH = 1 << 30
"""What other programs hold of a GPU is said from so many bytes on: a process's own start takes half of it."""


def free_bytes(device: torch.device) -> int | None:
    """What may be taken: on a GPU also what torch holds without use; None where the system does not tell."""
    if device.type == "cuda":
        held = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + held
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None


def held_by_others(device: torch.device) -> int:
    """Bytes of a GPU that are neither free nor torch's in this process; 0 on a CPU."""
    if device.type != "cuda":
        return 0
    free, total = torch.cuda.mem_get_info(device)
    return max(total - free - torch.cuda.memory_reserved(device), 0)


def told(name: str, shape: Shape, setting: Setting, n_tokens: int, device: torch.device) -> str:
    """What `n_tokens` of a model will take, what is free, and how many would fit; for people."""
    free, wanted = free_bytes(device), needed(shape, setting, n_tokens)
    takes = f"{name}: {setting.weights} weights {_gb(wanted.weights)}, "
    takes += (
        f"{setting.cache} cache of {n_tokens:,} tokens {_gb(wanted.cache)}, to read {_gb(wanted.working)}"
    )
    if free is None:
        return takes
    n_most = longest(shape, setting, free)
    fits = "its whole window fits" if n_most == shape.max_seq_len else f"up to {n_most:,} tokens fit"
    return f"{takes}; {_free(free, device)}, {fits}"


def require_weights(name: str, shape: Shape, setting: Setting, device: torch.device) -> None:
    """Raise XgenError if the weights do not fit on the device, with the largest setting that does.

    What is needed is that of a single token. On a CPU weights of 16 bits are mapped from their file: those
    that are larger than the memory could be read from the disk at each token, for which nobody waits.
    """
    free, least = free_bytes(device), needed(shape, setting, 1)
    if free is None or least.total <= free:
        return
    best = best_that_fits(shape, setting.compute, free)
    if best is None:
        way_out = "nothing of this model fits, use a smaller one"
    else:
        named = f"--dtype {best[0].weights} --cache {best[0].cache}"
        way_out = f"use {named}: {best[0]} fit up to {best[1]:,} tokens"
    takes = (
        f"{setting.weights} weights take {_gb(least.weights)} and {_gb(least.total - least.weights)} to read"
    )
    raise XgenError(name, f"{takes}, and {_free(free, device)}", way_out)


def require_cache(
    shape: Shape, setting: Setting, n_tokens: int, device: torch.device, loaded: bool = True
) -> None:
    """Raise XgenError if `n_tokens` have no room beside the weights; it says how many have.

    The weights are there already, or else will take their part of what is free.
    """
    free, wanted = free_bytes(device), needed(shape, setting, n_tokens)
    if free is not None and not loaded:
        free -= wanted.weights
    if free is None or wanted.cache + wanted.working <= free:
        return
    kinds = [Setting(setting.weights, kind, setting.compute) for kind in (setting.cache, "int8")]
    n_most, kind = max(
        ((longest(shape, each, free + wanted.weights), each.cache) for each in kinds),
        key=lambda pair: pair[0],
    )
    takes = f"{n_tokens:,} tokens take {_gb(wanted.cache)} and {_gb(wanted.working)} to be read"
    raise XgenError(
        f"{setting.cache} cache",
        f"{takes}, and {_free(free, device)}" + ("" if loaded else " beside the weights"),
        f"--cache {kind} fits up to {n_most:,} tokens" if n_most else "use a smaller model",
    )


def no_room(n_tokens: int, device: torch.device) -> XgenError:
    """What to raise where a pass over `n_tokens` found no memory, though there had been enough of it."""
    free = free_bytes(device)
    said = "what was free is no more" if free is None else f"{_free(free, device)} by now"
    return XgenError(
        f"memory of {device}",
        f"a pass over {n_tokens:,} tokens finds no room, {said}",
        "end what else uses it, or take --cache int8 or --dtype int8",
    )


def _free(free: int, device: torch.device) -> str:
    """What is free, and what other programs hold of a GPU, if that is what is missing."""
    said = f"{_gb(max(free, 0))} are free on {device}"
    others = held_by_others(device)
    return said if others < MUCH else f"{said} (other programs hold {_gb(others)} of it)"


def _gb(n_bytes: int) -> str:
    unit, name = next((pair for pair in ((1e9, "GB"), (1e6, "MB")) if n_bytes >= pair[0] / 10), (1e3, "kB"))
    return f"{n_bytes / unit:.1f} {name}"
