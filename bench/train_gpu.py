"""How fast does one GPU train: ours beside transformers, the same work in the same run, and what bounds it?

    python bench/train_gpu.py [--only 27m@2048,7b@8192] [--rounds 7]

Each row is one document of full length; the same shape, vocabulary and loss on both sides, every logit
counted, AdamW at the end of each step. transformers takes part as it is compiled whole, and, a stronger
peer than people have, with each layer and the loss compiled by us. Packed rows are lines of their own.
Each case runs in its own process: all compile side by side, then one after the other measures, its engines
in turn. FLOPs count the causal half of attention. The last line printed is the result as JSON.
"""

import argparse
import gc
import json
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import commit, machine, now
from torch import Tensor
from torch.nn.functional import cross_entropy

from xgen.data.pack import Row
from xgen.model.packed import attend_packed, packed_for
from xgen.model.shape import SHAPES, Shape
from xgen.model.transformer import Transformer
from xgen.train.optim import AdamW
from xgen.train.parallel import World
from xgen.train.recipe import Optimizer
from xgen.train.rows import Batch, batch_of
from xgen.train.spikes import SpikeGuard
from xgen.train.step import Training, compile_layers, step
from xgen.train.weights import Weights

ROOT = Path(__file__).parents[1]
DEVICE = torch.device("cuda")
STEPS = 3
DOCUMENT_TOKENS = 1000
LAYERS_7B = Shape(4, 4096, 11008, 32, 32, 128, 51_200, 8192)


@dataclass(frozen=True)
class Case:
    """A shape at a length, `tokens` in a step; `peers` are those of transformers that take part."""

    name: str
    shape: Shape
    length: int
    tokens: int
    peers: tuple[str, ...]


def cases() -> list[Case]:
    small = Shape(12, 384, 1024, 6, 6, 64, 16_384, 8192, 1e4, 1e-5, True)
    both = ("transformers", "transformers, layers compiled")
    found = [Case(f"27m@{n}", small, n, 65_536, both) for n in (2048, 4096, 8192)]
    found += [Case(f"135m@{n}", SHAPES["smollm2"], n, 65_536, both) for n in (2048, 4096, 8192)]
    return [*found, Case("7b@8192", LAYERS_7B, 8192, 16_384, ())]


def step_flops(case: Case) -> float:
    """Forward and backward of all tokens of a step, head and the causal half of attention included."""
    ends = case.shape.flops_per_token(0) + case.shape.flops_per_token(case.length - 1)
    return 3 * case.tokens * ends / 2


def whole_rows(case: Case, seed: int = 0) -> list[Row]:
    """Rows of one document each, ids at random."""
    rng = np.random.default_rng(seed)
    shape = (case.tokens // case.length, case.length + 1)
    ids = rng.integers(0, case.shape.vocab_size, shape, dtype=np.int32)
    zeros, position = np.zeros(case.length, np.int32), np.arange(case.length, dtype=np.int32)
    return [Row(row[:-1], row[1:], zeros, zeros, position) for row in ids]


def packed_rows(case: Case, seed: int = 0) -> list[Row]:
    """The same with documents of DOCUMENT_TOKENS in the mean, exponentially distributed, cut at row ends."""
    rng = np.random.default_rng(seed)
    rows = []
    for row in whole_rows(case, seed):
        lengths = 1 + rng.exponential(DOCUMENT_TOKENS, case.length).astype(np.int64)
        segment = np.repeat(np.arange(case.length), lengths)[: case.length].astype(np.int32)
        starts = np.flatnonzero(np.append(True, segment[1:] != segment[:-1]))
        position = (np.arange(case.length) - starts[segment]).astype(np.int32)
        rows.append(Row(row.ids, row.targets, segment, segment, position))
    return rows


class Ours:
    """A training step of ours; `kind` is the form of attention (model/packed.py)."""

    def __init__(self, case: Case) -> None:
        torch.manual_seed(0)
        with DEVICE:
            model = Transformer(case.shape, attend_packed)
        for parameter in model.parameters():
            if parameter.ndim == 2:
                torch.nn.init.normal_(parameter, std=0.02)
        compile_layers(model)
        weights = Weights(model, torch.bfloat16)
        settings = Optimizer((0.9, 0.95), 1e-8, 0.1, 1.0, 6.0, 128)
        guard = SpikeGuard(settings.spike_window, settings.spike_sigmas, DEVICE)
        applied = torch.zeros((), dtype=torch.int64, device=DEVICE)
        self.run = Training(model, weights, AdamW(weights, settings), guard, applied)
        self.rates = torch.full((8,), 1e-4, dtype=torch.float64, device=DEVICE)
        self.world = World(0, 1, DEVICE)
        whole, packed = batch_of(whole_rows(case), DEVICE), packed_rows(case)
        documents = batch_of(packed, DEVICE)
        segment = np.stack([row.segment for row in packed])
        groups = packed_for(DEVICE, segment, segment, "groups")
        flexible = Batch(documents.ids, documents.targets, documents.positions, groups)
        self.batches = {"ours": whole, "ours, packed": documents, "ours, packed, flex": flexible}
        self.n_trained = case.tokens

    def step(self, name: str) -> None:
        """One optimizer step over the batch of that name."""
        step(self.run, [self.batches[name]], self.n_trained, self.rates, self.world)


class Theirs:
    """A training step of transformers: bf16 autocast over fp32 weights, torch's fused AdamW."""

    def __init__(self, case: Case, name: str) -> None:
        from transformers import LlamaConfig, LlamaForCausalLM

        shape = case.shape
        config = LlamaConfig(
            hidden_size=shape.d_model,
            intermediate_size=shape.d_ff,
            num_hidden_layers=shape.n_layers,
            num_attention_heads=shape.n_heads,
            num_key_value_heads=shape.n_kv_heads,
            head_dim=shape.head_dim,
            vocab_size=shape.vocab_size,
            max_position_embeddings=shape.max_seq_len,
            rms_norm_eps=shape.norm_eps,
            tie_word_embeddings=shape.tied_head,
            attn_implementation="sdpa",
            use_cache=False,
        )
        with DEVICE:
            self.model = LlamaForCausalLM(config).float().train()
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=True)
        self.ids = torch.from_numpy(np.stack([row.ids for row in whole_rows(case)])).long().to(DEVICE)
        self.loss: Callable[[], Tensor] = self._whole
        if name == "transformers":
            self.compiled = torch.compile(self.model, dynamic=False)
        else:
            self.loss = self._by_layers
            for layer in self.model.model.layers:
                layer.compile(dynamic=False)
            self.head = torch.compile(_loss_of, dynamic=False)

    def _whole(self) -> Tensor:
        loss: Tensor = self.compiled(input_ids=self.ids, labels=self.ids).loss
        return loss

    def _by_layers(self) -> Tensor:
        hidden = self.model.model(input_ids=self.ids).last_hidden_state
        loss: Tensor = self.head(hidden.flatten(0, 1), self.model.lm_head.weight, self.ids.flatten())
        return loss

    def step(self) -> None:
        """One optimizer step."""
        with torch.autocast(DEVICE.type, torch.bfloat16):
            loss = self.loss()
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def _loss_of(hidden: Tensor, weight: Tensor, ids: Tensor) -> Tensor:
    return cross_entropy((hidden @ weight.t()).float(), ids)


def engines(case: Case) -> dict[str, Callable[[], None]]:
    """A step of everything that takes part, each called once, so that it is compiled."""
    torch._dynamo.config.recompile_limit = 64
    ours = Ours(case)
    made: dict[str, Callable[[], None]] = {name: _step_of(ours, name) for name in ours.batches}
    for name in case.peers:
        made[name] = Theirs(case, name).step
    for name, call in made.items():
        began = time.perf_counter()
        _patiently(call)
        print(f"{case.name}: {name}: {time.perf_counter() - began:.0f} s", file=sys.stderr, flush=True)
    return made


def _step_of(ours: Ours, name: str) -> Callable[[], None]:
    return lambda: ours.step(name)


def _patiently(call: Callable[[], None]) -> None:
    """Cases that compile side by side may want the memory at the same time: then wait and try again."""
    for attempt in range(30):
        done = _fits(call)
        gc.collect()
        torch.cuda.empty_cache()
        if done:
            return
        time.sleep(2 + attempt * random.random())
    raise SystemExit("not enough memory on this GPU")


def _fits(call: Callable[[], None]) -> bool:
    """Call it; False if there was no memory for it, and then what it held is gone with this frame."""
    try:
        call()
        torch.cuda.synchronize()
    except torch.OutOfMemoryError:
        return False
    return True


def measured(case: Case, rounds: int, begin: Callable[[], None]) -> dict[str, Any]:
    """What `worker` prints; `begin` waits until it is this case's turn."""
    made = engines(case)
    begin()
    matrices, attention = ceilings(case)
    seconds: dict[str, list[float]] = {name: [] for name in made}
    memory = {}
    for call in made.values():
        call()
    for _ in range(rounds):
        for name, call in made.items():
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
            kept, began = torch.cuda.memory_allocated(), time.perf_counter()
            for _ in range(STEPS):
                call()
            torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - began) / STEPS)
            memory[name] = round((torch.cuda.max_memory_allocated() - kept) / 2**30, 1)
    lines = {}
    for name, all_seconds in seconds.items():
        median = statistics.median(all_seconds)
        lines[name] = {
            "tokens_per_s": round(case.tokens / median),
            "ms": [round(1e3 * x, 2) for x in (median, min(all_seconds), max(all_seconds))],
            "gib_beside_weights": memory[name],
            "ms_by_part": by_part(made[name], 1e3 * median),
        }
        if "packed" not in name:
            tflops = step_flops(case) / median / 1e12
            lines[name] |= {"tflops": round(tflops), "share_of_matrices": round(tflops / matrices, 3)}
    told = {"matrices_tflops": round(matrices), "attention_tflops": attention}
    return {"case": case.name, "tokens": case.tokens, **told, "engines": lines}


def ceilings(case: Case) -> tuple[float, dict[str, int]]:
    """TFLOP/s of a bf16 product 8192 x 8192 x 8192 and of causal attention, forward and backward."""
    a, b = (torch.randn(8192, 8192, device=DEVICE, dtype=torch.bfloat16) for _ in "ab")
    matrices = 2 * 8192**3 / _seconds(lambda: a @ b) / 1e12
    n_rows, shape = case.tokens // case.length, case.shape
    heads = shape.n_heads, shape.n_kv_heads, shape.n_kv_heads
    sizes = [(n_rows, case.length, n, shape.head_dim) for n in heads]
    q, k, v = (torch.randn(size, device=DEVICE, dtype=torch.bfloat16).transpose(1, 2) for size in sizes)
    for x in (q, k, v):
        x.requires_grad_()
    whole = packed_for(DEVICE, np.zeros((1, 1), np.int32), np.zeros((1, 1), np.int32))
    out = attend_packed(q, k, v, whole)
    gradient = torch.randn_like(out)
    forward = _seconds(lambda: attend_packed(q, k, v, whole))
    backward = _seconds(lambda: torch.autograd.grad(out, (q, k, v), gradient, retain_graph=True))
    flops = 2 * case.tokens * case.length * shape.n_heads * shape.head_dim / 1e12
    rates = {"forward": flops / forward, "backward": 2.5 * flops / backward}
    return matrices, {name: round(rate) for name, rate in rates.items()}


def _seconds(call: Callable[[], object]) -> float:
    """Median of ten, by the device's clock."""
    times = []
    for _ in range(12):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        call()
        end.record()
        torch.cuda.synchronize()
        times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times[2:])


PARTS = {
    "attention": ("cudnn", "flash", "flex_attention", "sdpa", "fmha"),
    "matrix products": ("nvjet", "gemm", "cutlass", "cublas"),
    "softmax of the loss": ("_softmax_gradient", "log_softmax"),
    "optimizer": ("multi_tensor", "adam"),
}


def part_of(kernel: str) -> str:
    """The part of the work that a kernel belongs to, by its name."""
    words = kernel.lower()
    return next((part for part, names in PARTS.items() if any(n in words for n in names)), "everything else")


def by_part(call: Callable[[], None], step_ms: float) -> dict[str, float]:
    """Milliseconds of the device in one step by part; "waits" is what is left of `step_ms`."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        call()
        torch.cuda.synchronize()
    parts: dict[str, float] = {}
    for event in profiler.key_averages():
        part = part_of(event.key)
        parts[part] = parts.get(part, 0.0) + event.self_device_time_total / 1e3
    told = {part: round(ms, 2) for part, ms in sorted(parts.items(), key=lambda item: -item[1]) if ms}
    return told | {"waits": round(max(0.0, step_ms - sum(parts.values())), 2)}


def worker(case: Case, rounds: int) -> None:
    """Compile, say so, wait for a line, measure, print the result."""

    def begin() -> None:
        print("ready", flush=True)
        sys.stdin.readline()

    print(json.dumps(measured(case, rounds, begin)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="cases by name, separated by commas")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--worker", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    chosen = {case.name: case for case in cases() if not options.only or case.name in options.only.split(",")}
    if options.worker:
        return worker(chosen[options.worker], options.rounds)
    if not torch.cuda.is_available():
        raise SystemExit("bench/train_gpu.py needs a CUDA GPU")
    large = [name for name in chosen if name.startswith("7b")]  # leaves no memory for others
    results = []
    for names in ([name for name in chosen if name not in large], large):
        results += side_by_side(names, options.rounds)
    told = {"what": "training on one GPU", "machine": machine(DEVICE), "commit": commit(ROOT), "date": now()}
    print(json.dumps(told | {"command": " ".join(["python", *sys.argv]), "results": results}))
    return None


def side_by_side(names: list[str], rounds: int) -> list[dict[str, Any]]:
    """Results of cases that compile at the same time and measure one after the other."""
    running = {}
    for name in names:
        running[name] = _start(name, rounds)
        time.sleep(2)  # their first steps, which want the most memory, come one after the other
    ready = {name: _line(process, "ready") for name, process in running.items()}
    results = []
    for name, process in running.items():
        result = {"case": name, "failed": True}
        if ready[name]:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            result = json.loads(_line(process, "{") or json.dumps(result))
            process.wait()
        results.append(result)
        print(_table(result), file=sys.stderr, flush=True)
    return results


def _start(name: str, rounds: int) -> subprocess.Popen[str]:
    words = [sys.executable, __file__, "--worker", name, "--rounds", str(rounds)]
    return subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _line(process: subprocess.Popen[str], start: str) -> str:
    """The next line of the process that begins so; empty if it ended."""
    assert process.stdout is not None
    return next((line for line in process.stdout if line.startswith(start)), "")


def _table(result: dict[str, Any]) -> str:
    """A few lines for people."""
    if "failed" in result:
        return f"{result['case']}: failed"
    ours = result["engines"]["ours"]["tokens_per_s"]
    lines = [f"{result['case']}: matrices {result['matrices_tflops']} TFLOP/s, {result['attention_tflops']}"]
    for name, line in result["engines"].items():
        ratio = f"ours {ours / line['tokens_per_s']:.2f} x" if name.startswith("trans") else ""
        lines.append(f"  {name:32} {line['tokens_per_s']:>9,} tok/s {line.get('tflops', '')!s:>4} {ratio}")
        lines.append(f"    {line['ms'][0]} ms, {line['gib_beside_weights']} GiB: {line['ms_by_part']}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
