"""One engine at work on a CPU, in a process of its own: `python bench/cpu_engines.py ENGINE OPTIONS`.

Prints one line of JSON: seconds of a prefill for each length, seconds a token behind it, the process's
peak memory. This file needs nothing but the engine, so that a peer may live in an environment of its
own. Engines: ours, transformers, llama.cpp, ceilings (what the machine's products and memory reach).
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

N_DECODE = 16
WARM_TOKENS = 64


def measure(
    ids: list[int],
    lengths: list[int],
    prefill: Callable[[list[int]], None],
    step: Callable[[int], None],
) -> dict[str, Any]:
    """Time `prefill` from nothing for each length, then tokens one by one behind it; medians."""
    prefill(ids[:WARM_TOKENS])
    step(ids[0])
    result: dict[str, Any] = {"prefill_s": {}, "decode_s": {}}
    for n in lengths:
        result["prefill_s"][n] = _median([_seconds(lambda n=n: prefill(ids[:n])) for _ in range(repeats(n))])
        times = [_seconds(lambda token=token: step(token)) for token in ids[:N_DECODE]]
        result["decode_s"][n] = _median(times)
    return result


def repeats(n_tokens: int) -> int:
    """How often a prefill is timed: short ones several times, for they are easily disturbed."""
    return 3 if n_tokens <= 2048 else 1


def _median(values: list[float]) -> float:
    return sorted(values)[len(values) // 2]


def ours(options: argparse.Namespace) -> dict[str, Any]:
    import torch

    from xgen.bundle import load
    from xgen.engine.cache import Cache
    from xgen.engine.generate import prefill

    bundle = load(options.folder, device="cpu", dtype=options.dtype)
    model, attend = bundle.model, bundle.model.attend
    caches: dict[int, Cache] = {}  # each as reading so many tokens would have it: long ones are kept in bf16
    spent = [0.0]

    def timed(*inputs: Any) -> torch.Tensor:
        started = time.perf_counter()
        out: torch.Tensor = attend(*inputs)
        spent[0] += time.perf_counter() - started
        return out

    def read(ids: list[int]) -> None:
        if len(ids) not in caches:
            caches.clear()
            caches[len(ids)] = bundle.empty_cache(len(ids) + N_DECODE + 1)
        caches[len(ids)].cut(0)
        prefill(model, caches[len(ids)], ids)

    def step(token: int) -> None:
        (cache,) = caches.values()
        prefill(model, cache, [token])

    result = measure(options.ids, options.lengths, read, step)
    model.attend = timed
    attention: dict[int, float] = {}
    for n in options.lengths if options.parts else []:
        spent[0] = 0.0
        read(options.ids[:n])
        attention[n] = spent[0]
    return {**result, "attention_s": attention, "dtype": str(bundle.dtype).removeprefix("torch.")}


def transformers(options: argparse.Namespace) -> dict[str, Any]:
    import torch
    from transformers import AutoModelForCausalLM, DynamicCache

    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[options.dtype]
    model = AutoModelForCausalLM.from_pretrained(
        options.folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True
    ).eval()
    state: dict[str, Any] = {}

    def run(ids: list[int]) -> None:
        with torch.inference_mode():
            model(torch.tensor([ids]), past_key_values=state["cache"], use_cache=True, logits_to_keep=1)

    def read(ids: list[int]) -> None:
        state["cache"] = DynamicCache(config=model.config)
        run(ids)

    return {**measure(options.ids, options.lengths, read, lambda token: run([token])), "dtype": options.dtype}


def llama_cpp(options: argparse.Namespace) -> dict[str, Any]:
    from llama_cpp import Llama

    llm = Llama(
        str(options.gguf),
        n_ctx=max(options.lengths) + N_DECODE + 1,
        n_threads=options.threads,
        n_threads_batch=options.threads,
        n_batch=512,
        n_ubatch=512,
        flash_attn=True,
        verbose=False,
    )

    def read(ids: list[int]) -> None:
        llm.reset()
        llm.eval(ids)

    return measure(options.ids, options.lengths, read, lambda token: llm.eval([token]))


def requantize(options: argparse.Namespace) -> dict[str, Any]:
    """Write the model of `options.gguf` as Q8_0 to `options.out`, by llama.cpp's own function."""
    import llama_cpp

    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.allow_requantize = llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, True
    names = (os.fsencode(options.gguf), os.fsencode(options.out))
    return {"failed": llama_cpp.llama_model_quantize(*names, params)}


def ceilings(options: argparse.Namespace) -> dict[str, Any]:
    """Products of 2,000 rows by the model's widest matrix (GFLOP/s), and reading memory (GB/s)."""
    import torch

    found: dict[str, Any] = {}
    width, d_ff = options.shape
    for dtype in (torch.float32, torch.bfloat16):
        a, b = torch.randn(2000, width).to(dtype), torch.randn(width, d_ff).to(dtype)
        best = min(_seconds(lambda a=a, b=b: a @ b) for _ in range(5))
        found[f"{str(dtype).removeprefix('torch.')}_gflops"] = 2 * 2000 * width * d_ff / best / 1e9
    big = torch.ones(128 << 20)
    found["memory_gb_s"] = big.nbytes / min(_seconds(big.sum) for _ in range(5)) / 1e9
    return found


def _seconds(run: Callable[[], Any]) -> float:
    started = time.perf_counter()
    run()
    return time.perf_counter() - started


def _peak_mb() -> float:
    """Peak resident memory of this process in MB (10^6 bytes)."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def main() -> None:
    engines = {
        "ours": ours,
        "transformers": transformers,
        "llama.cpp": llama_cpp,
        "requantize": requantize,
        "ceilings": ceilings,
    }
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("engine", choices=engines)
    parser.add_argument("--ids", type=lambda path: json.loads(Path(path).read_text()), default=[])
    parser.add_argument("--lengths", type=lambda said: [int(n) for n in said.split(",")], default=[])
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--gguf", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--shape", type=lambda said: [int(n) for n in said.split(",")])
    parser.add_argument("--parts", action="store_true", help="of ours, the time spent in attention too")
    options = parser.parse_args()
    result = engines[options.engine](options)
    print(json.dumps({**result, "peak_mb": _peak_mb()}))


if __name__ == "__main__":
    main()
