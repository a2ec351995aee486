"""How fast a shape reads and writes on this machine, with random weights, beside what the machine allows.

The ceilings are measured in the same run: a copy, a matrix product, causal attention. One token reads every
weight and all that is kept of the text once, so the memory's rate bounds it; many tokens multiply.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.model.attention import attend_for
from xgen.model.int8 import FEW_ROWS, add_int8
from xgen.model.memory import Setting, token_bytes, weight_bytes
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

MEASURED = 6
"""Times that a thing is done; the first does not count."""


@dataclass(frozen=True)
class Ceilings:
    """Bytes a second, read and written, of a copy; FLOPs a second of a square product and of attention."""

    copy: float
    product: float
    attention: float


def ceilings(shape: Shape, n_tokens: int, device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Of `device` in `dtype`; attention is causal, of `n_tokens` over themselves in one layer of `shape`."""
    on_gpu = device.type == "cuda"
    n_bytes, side = (1 << 30, 8192) if on_gpu else (1 << 26, 512)
    source = torch.randint(0, 255, (n_bytes,), dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copy_s = _seconds(lambda: target.copy_(source), device)
    a, b = (torch.randn(side, side, device=device).to(dtype) for _ in "ab")
    product_s = _seconds(lambda: a @ b, device)
    heads = (shape.n_heads, shape.n_kv_heads, shape.n_kv_heads)
    q, k, v = (torch.randn(1, n_tokens, n, shape.head_dim, device=device).to(dtype) for n in heads)
    attend = attend_for(device)
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    attention_s = _seconds(lambda: attend(q, k, v, None), device)
    attention = 2 * n_tokens**2 * shape.n_heads * shape.head_dim
    return Ceilings(2 * n_bytes / copy_s, 2 * side**3 / product_s, attention / attention_s)


def random_model(
    shape: Shape, device: torch.device, dtype: torch.dtype, int8: bool, int8_rows: int = 0
) -> Transformer:
    """A model of random weights in `dtype`, or in 8 bits with the rest in `dtype`; nothing is made twice.

    With `int8_rows` so many rows pass through other ones in 8 bits, as where a model has copies (add_int8).
    """
    with torch.device("meta"):
        model = Transformer(shape, attend_for(device)).to(dtype)
    weights: dict[str, Tensor] = {}
    for name, module in list(model.named_modules()):
        if (int8 or int8_rows) and isinstance(module, nn.Linear | nn.Embedding):
            size, rows = module.weight.shape, module.weight.shape[0]
            weights[f"{name}.int8"] = torch.randint(-127, 128, size, dtype=torch.int8, device=device)
            # uniform integers deviate by 73.3
            weights[f"{name}.scale"] = torch.full((rows,), 0.02 / 73.3, device=device)
    for name, parameter in list(model.named_parameters()):
        if int8 and f"{name.removesuffix('.weight')}.int8" in weights:
            continue
        made = torch.ones(parameter.shape, dtype=dtype, device=device)
        if parameter.ndim == 2:
            made.normal_(std=0.02)
        owner, _, own_name = name.rpartition(".")
        setattr(model.get_submodule(owner), own_name, nn.Parameter(made, requires_grad=False))
    if weights:
        add_int8(model, weights, int8_rows or FEW_ROWS, alone=int8)
    return model.requires_grad_(False).eval()


def random_ids(shape: Shape, n: int) -> list[int]:
    """So many ids, the same each time."""
    return torch.randint(0, shape.vocab_size, (n,), generator=torch.Generator().manual_seed(0)).tolist()


def measured_prefill(
    model: Transformer,
    n_tokens: int,
    cache_dtype: torch.dtype,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Seconds of reading `n_tokens` ids up to the last one's logits: the first time, and the median after.

    `advance(1)` is called after each of MEASURED times.
    """
    cache = Cache.empty(model, n_tokens + 1, cache_dtype)
    ids = random_ids(model.shape, n_tokens)

    def read() -> None:
        cache.cut(0)
        prefill(model, cache, ids)
        advance(1)

    first_s, *rest = _each_s(read, MEASURED, model.device)
    return {"first_s": first_s, "s": statistics.median(rest), "rounds_s": rest}


def measured_decode(
    model: Transformer,
    n_tokens: int,
    n_written: int,
    cache_dtype: torch.dtype,
    advance: Callable[[int], None] = lambda n: None,
) -> dict[str, Any]:
    """Seconds of `n_written` greedy ids behind `n_tokens` others, and of the first one of all.

    `first_s` is from the first look at the text to the first id behind it, whatever is compiled included.
    `advance(1)` is called after each of MEASURED times.
    """
    cache = Cache.empty(model, n_tokens + n_written + 1, cache_dtype)
    ids, choose = random_ids(model.shape, n_tokens), greedy()
    started = time.perf_counter()
    logits = prefill(model, cache, ids)
    next(generate(model, cache, logits, choose, frozenset(), 2))
    first_s = time.perf_counter() - started

    def write() -> None:
        cache.cut(n_tokens)
        for _ in generate(model, cache, logits, choose, frozenset(), n_written + 1):
            pass  # the first is chosen from `logits`
        advance(1)

    _, *rest = _each_s(write, MEASURED, model.device)
    return {"first_s": first_s, "s": statistics.median(rest), "rounds_s": rest}


def prefill_s(shape: Shape, n_tokens: int, ceiling: Ceilings) -> float:
    """The least seconds: every layer's products, and what the last token alone needs of the last layer."""
    whole = shape.flops_per_token(0) - 2 * shape.vocab_size * shape.d_model
    of_layer = whole / shape.n_layers
    keys_values = 4 * shape.d_model * shape.n_kv_heads * shape.head_dim
    products = n_tokens * (whole - of_layer + keys_values)
    attention = 2 * n_tokens**2 * shape.n_heads * shape.head_dim * (shape.n_layers - 1)
    return products / ceiling.product + attention / ceiling.attention


def decode_s(shape: Shape, n_tokens: int, setting: Setting, ceiling: Ceilings) -> float:
    """The least seconds of a token behind `n_tokens`: the text and all weights but the embedding are read."""
    unread = 0 if shape.tied_head else weight_bytes(shape, setting) * shape.vocab_size * shape.d_model
    read = weight_bytes(shape, setting) - unread / shape.n_parameters
    return (read + n_tokens * token_bytes(shape, setting.cache)) / ceiling.copy


def _each_s(work: Callable[[], None], n: int, device: torch.device) -> list[float]:
    """Seconds of `work`, each of `n` times, by the clock on the wall."""
    found = []
    for _ in range(n):
        _wait(device)
        started = time.perf_counter()
        work()
        _wait(device)
        found.append(time.perf_counter() - started)
    return found


def _seconds(work: Callable[[], object], device: torch.device) -> float:
    """Of `work`, the median of five."""

    def often() -> None:
        for _ in range(n):
            work()

    n = 10 if device.type == "cuda" else 1  # a GPU's waits are long beside its work
    return statistics.median(_each_s(often, 6, device)[1:]) / n


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
