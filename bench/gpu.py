"""How fast does one GPU read and write a document of XGen-7B's shape, beside transformers and gpt-fast?

    python bench/gpu.py [--gpt-fast FOLDER] [--rounds 5] > bench/results/gpu.json

Random weights, batch 1, bf16. transformers takes part as its users have it: eager reading, a static cache and
its own compiling for writing; gpt-fast (a folder with its model.py and generate.py) with its compiling. Each
engine has a process of its own, with empty caches. While the peers compile, ours is run cold by `xgen bench`,
one process after another: of these `first_s` is what counts. Then all measure in turn, one at a time, round
after round. An 8K document in 8 bits is read under a hard cap of the memory. The last line is the result.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from machine import commit, machine, now

from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.measure import ceilings, decode_s, prefill_s, random_ids, random_model
from xgen.engine.sample import greedy
from xgen.model.memory import Setting
from xgen.model.shape import SHAPES, Shape

ROOT = Path(__file__).parents[1]
SHORT, LONG, WRITTEN = 512, 8192, 128
"""Tokens of a short and of a long document, and those written behind them."""

CAP_BYTES = int(14.6 * 2**30)
"""The usable part of a 16 GB card (T4)."""

Measures = dict[str, Callable[[], float]]
"""By name, what takes part in a round: it returns the seconds of a prefill, or of one token."""


def place(options: argparse.Namespace) -> tuple[Shape, torch.device, int, int, int]:
    """What is measured: smaller on a CPU, where only the bench itself is tested."""
    if torch.cuda.is_available():
        return SHAPES["xgen-7b"], torch.device("cuda"), SHORT, LONG, WRITTEN
    return SHAPES["tiny"], torch.device("cpu"), 32, 64, 4


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def timed(work: Callable[[], object], device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def ours(options: argparse.Namespace, int8: bool) -> Measures:
    """As `xgen` reads and writes; with 8-bit weights the long document's cache is in 8 bits too."""
    shape, device, short, long, written = place(options)
    model = random_model(shape, device, torch.bfloat16, int8)
    made: Measures = {}

    def reading(cache: Cache, n: int) -> float:
        cache.cut(0)
        return timed(lambda: prefill(model, cache, random_ids(shape, n)), device)

    def writing(cache: Cache, n: int, logits: torch.Tensor) -> float:
        cache.cut(n)
        next(generate(model, cache, logits, greedy(), frozenset(), 2))  # records, if another cache was before
        cache.cut(n)
        ids = generate(model, cache, logits, greedy(), frozenset(), written + 1)
        return timed(lambda: list(ids), device) / written

    for n in (short, long):
        cache = Cache.empty(model, n + written + 1, torch.int8 if int8 and n == long else None)
        logits = prefill(model, cache, random_ids(shape, n)).clone()
        made[f"decode {n}"] = lambda cache=cache, n=n, logits=logits: writing(cache, n, logits)
    made[f"prefill {long}"] = lambda cache=cache, n=long: reading(cache, n)
    return made


class Clock:
    """A processor of logits that changes nothing and notes when so many tokens have come."""

    def __init__(self, device: torch.device, after: int) -> None:
        self.device, self.after, self.n, self.began = device, after, 0, 0.0

    def __call__(self, ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Scores as they are."""
        self.n += 1
        if self.n == self.after:
            wait(self.device)
            self.began = time.perf_counter()
        return scores


def transformers(options: argparse.Namespace) -> Measures:
    """`generate` with a static cache, which compiles the step on a GPU; reading is eager, by SDPA."""
    from transformers import LlamaConfig, LlamaForCausalLM
    from transformers.generation import LogitsProcessorList

    shape, device, short, long, written = place(options)
    config = LlamaConfig(
        hidden_size=shape.d_model,
        intermediate_size=shape.d_ff,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_kv_heads,
        head_dim=shape.head_dim,
        vocab_size=shape.vocab_size,
        max_position_embeddings=shape.max_seq_len + 1024,
        rms_norm_eps=shape.norm_eps,
        tie_word_embeddings=False,
        attn_implementation="sdpa",
        eos_token_id=None,
        bos_token_id=None,
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config).to(torch.bfloat16).eval()
    model.to_empty(device=device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    with torch.device(device):  # its frequencies are no parameters
        model.model.rotary_emb = type(model.model.rotary_emb)(config)
    warm_up = 8

    @torch.inference_mode()
    def reading(n: int) -> float:
        ids = torch.tensor([random_ids(shape, n)], device=device)
        return timed(lambda: model(ids, use_cache=True, logits_to_keep=1), device)

    def writing(n: int) -> float:
        ids, clock = torch.tensor([random_ids(shape, n)], device=device), Clock(device, warm_up)
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=warm_up + written,
            do_sample=False,
            cache_implementation="static",
            logits_processor=LogitsProcessorList([clock]),
            pad_token_id=0,
        )
        wait(device)
        return (time.perf_counter() - clock.began) / written

    made: Measures = {f"decode {n}": lambda n=n: writing(n) for n in (short, long)}
    return made | {f"prefill {long}": lambda: reading(long)}


def gpt_fast(options: argparse.Namespace, n: int) -> Measures:
    """Its step compiled as its own command does, with its loop; what is in the cache is random."""
    sys.path.insert(0, options.gpt_fast)
    sys.modules["tokenizer"] = types.ModuleType("tokenizer")  # texts take no part
    sys.modules["tokenizer"].get_tokenizer = None  # type: ignore[attr-defined]
    import generate as theirs
    import model as their_model

    shape, device, _, _, written = place(options)
    arguments = their_model.ModelArgs(
        block_size=n + 2 * written,
        vocab_size=shape.vocab_size,
        n_layer=shape.n_layers,
        n_head=shape.n_heads,
        dim=shape.d_model,
        intermediate_size=shape.d_ff,
        n_local_heads=shape.n_kv_heads,
    )
    with torch.device("meta"):
        model = their_model.Transformer(arguments).to(torch.bfloat16).eval()
    model.to_empty(device=device)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    with torch.device(device):
        model.setup_caches(1, n + 2 * written)
    if device.type == "cuda":
        theirs.decode_one_token = torch.compile(
            theirs.decode_one_token, mode="reduce-overhead", fullgraph=True
        )

    @torch.no_grad()
    def writing() -> float:
        token = torch.tensor([[5]], dtype=torch.int, device=device)
        position = torch.tensor([n], dtype=torch.int, device=device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            seconds = timed(lambda: theirs.decode_n_tokens(model, token, position, written), device)
        return seconds / written

    return {f"decode {n}": writing}


def worker(options: argparse.Namespace) -> None:
    """Load, call everything twice, say how long the first call took; then measure what a line asks for."""
    began = time.perf_counter()
    _, device, short, long, _ = place(options)
    if options.worker.startswith("gpt-fast"):
        made = gpt_fast(options, short if options.worker.endswith("short") else long)
    else:
        made = (
            transformers(options)
            if options.worker == "transformers"
            else ours(options, "8" in options.worker)
        )
    load_s = time.perf_counter() - began
    first_s = {name: timed(call, device) for name, call in made.items()}
    for call in made.values():
        call()
    torch.cuda.empty_cache()
    print(json.dumps({"names": list(made), "load_s": load_s, "first_s": first_s}), flush=True)
    for line in sys.stdin:
        print(json.dumps(made[line.strip()]()), flush=True)


def environment() -> dict[str, str]:
    """Ours, with a cache folder of nothing for each kind of compiler."""
    empty = Path(tempfile.mkdtemp())
    places = {"XGEN_HOME": "xgen", "TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
    return os.environ | {name: str(empty / folder) for name, folder in places.items()}


def started(options: argparse.Namespace, names: list[str]) -> dict[str, subprocess.Popen[str]]:
    """Workers that load and compile."""
    running = {}
    for name in names:
        words = [sys.executable, __file__, "--worker", name, "--gpt-fast", options.gpt_fast]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        running[name] = subprocess.Popen(words, env=environment(), **pipes)
    return running


def ready(running: dict[str, subprocess.Popen[str]]) -> dict[str, Any]:
    """What workers say of themselves once they have compiled."""
    told: dict[str, Any] = {}
    for name, process in running.items():
        line = next((line for line in process.stdout if line.startswith("{")), None)
        told[name] = {"failed": True} if line is None else json.loads(line) | {"s": {}}
        print(name, line, file=sys.stderr, flush=True)
    return told


def rounds(n: int, running: dict[str, subprocess.Popen[str]], told: dict[str, Any]) -> None:
    """Adds the seconds of each round, of each worker and measure, and their median."""
    for _ in range(n):
        for name, of_engine in told.items():
            for measure in of_engine.get("names", ()):
                process = running[name]
                process.stdin.write(measure + "\n")
                process.stdin.flush()
                of_engine["s"].setdefault(measure, []).append(json.loads(process.stdout.readline()))
    for process in running.values():
        process.stdin.close()
        process.wait()
    for of_engine in told.values():
        of_engine["median_s"] = {k: statistics.median(s) for k, s in of_engine.get("s", {}).items()}
        print(json.dumps(of_engine.get("median_s")), file=sys.stderr, flush=True)


def cold(options: argparse.Namespace) -> list[dict[str, Any]]:
    """`xgen bench` in processes of their own, nothing compiled before."""
    tiny = [] if torch.cuda.is_available() else ["--shape", "tiny", "--tokens", "4"]
    _, _, short, long, _ = place(options)
    found = []
    for what, dtype, cache, n in (
        ("prefill", "bf16", "auto", long),
        ("decode", "bf16", "auto", short),
        ("decode", "bf16", "auto", long),
        ("decode", "int8", "auto", short),
        ("decode", "int8", "int8", long),
        ("prefill", "int8", "int8", long),
    ):
        kinds = ["--dtype", dtype, "--cache", cache, "--context", str(n), *tiny]
        began = time.perf_counter()
        words = [sys.executable, "-m", "xgen", "bench", what, *kinds, "--json"]
        ended = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
        result = json.loads(ended.stdout) if ended.returncode == 0 else {"failed": ended.stderr[-500:]}
        found.append(result | {"process_s": time.perf_counter() - began, "command": " ".join(words[2:])})
        print(json.dumps(found[-1]), file=sys.stderr, flush=True)
    return found


def capped(options: argparse.Namespace) -> None:
    """An 8K document read and written behind with 8-bit weights and cache, under the cap."""
    shape, device, _, long, written = place(options)
    if device.type == "cuda":
        whole = torch.cuda.get_device_properties(device).total_memory
        torch.cuda.set_per_process_memory_fraction(CAP_BYTES / whole)
    model = random_model(shape, device, torch.bfloat16, True)
    cache = Cache.empty(model, long, torch.int8)
    began = time.perf_counter()
    logits = prefill(model, cache, random_ids(shape, long - written))
    ids = list(generate(model, cache, logits, greedy(), frozenset(), written))
    told = {"cap_bytes": CAP_BYTES, "tokens": long, "written": len(ids), "s": time.perf_counter() - began}
    if device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        told["most_bytes"] = torch.cuda.max_memory_allocated()
        told["most_held_bytes"] = torch.cuda.max_memory_reserved()
        told["with_driver_bytes"] = total - free
    print(json.dumps(told))


def limits(options: argparse.Namespace) -> dict[str, Any]:
    """What the machine allows, and the least seconds that follow."""
    shape, device, short, long, written = place(options)
    ceiling = ceilings(shape, long, device, torch.bfloat16)
    least = {f"prefill {long}": prefill_s(shape, long, ceiling)}
    for weights, cache, n in (("bf16", "bf16", short), ("bf16", "bf16", long), ("int8", "bf16", short)):
        setting = Setting(weights, cache, "bf16")
        least[f"decode {n}, {weights}"] = decode_s(shape, n + written // 2, setting, ceiling)
    setting = Setting("int8", "int8", "bf16")
    least[f"decode {long}, int8"] = decode_s(shape, long + written // 2, setting, ceiling)
    return {**vars(ceiling), "least_s": least}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gpt-fast", default="", help="a folder of its sources")
    parser.add_argument("--lengths", default="short,long", help="of the documents that gpt-fast takes")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker == "capped":
        return capped(options)
    if options.worker:
        return worker(options)
    peers = [f"gpt-fast {kind}" for kind in options.lengths.split(",")] if options.gpt_fast else []
    running = started(options, [*peers, "transformers"])
    alone = cold(options)
    words = [sys.executable, __file__, "--worker", "capped"]
    in_8_bits = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    print(in_8_bits.stdout, in_8_bits.stderr[-500:], file=sys.stderr, flush=True)
    engines = ready(running)
    of_ours = started(options, ["ours", "ours, 8 bits"])
    engines, running = engines | ready(of_ours), running | of_ours
    found = limits(options)
    torch.cuda.empty_cache()
    rounds(options.rounds, running, engines)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    told = {
        "what": "XGen-7B's shape on one GPU",
        "machine": machine(device),
        "commit": commit(ROOT),
        "date": now(),
    }
    told |= {"command": " ".join(["python", *sys.argv]), "ceilings": found, "engines": engines, "cold": alone}
    told["capped"] = json.loads(in_8_bits.stdout or "null") or {"failed": in_8_bits.stderr[-500:]}
    print(json.dumps(told))
    return None


if __name__ == "__main__":
    main()
