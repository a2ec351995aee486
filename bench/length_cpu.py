"""What a prefill costs over its length on a CPU, and which part of the model takes it: a table and a plot.

    python bench/length_cpu.py --models smollm2,qwen-0.5b --plot docs/length-cpu.svg

Parts: attention (scores, softmax, values), matrices (all linear maps), the rest (norms, rotary angles,
activations, the cache). Peers' times at their lengths are taken from read-cpu-MODEL.json, if it is there.
The last line printed is the result as JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from machine import commit, machine, now
from read_cpu import text_ids

from xgen.files import write_whole

if TYPE_CHECKING:
    from xgen.bundle import Bundle

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
LENGTHS = (512, 1024, 2048, 4096, 8000)
PARTS = ("attention", "matrices", "rest")


class Stopwatch:
    """Seconds spent inside the functions it was put around."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def around(self, work: Callable[..., Any]) -> Callable[..., Any]:
        """`work`, timed."""

        def timed(*inputs: Any) -> Any:
            started = time.perf_counter()
            out = work(*inputs)
            self.seconds += time.perf_counter() - started
            return out

        return timed


def parts(bundle: "Bundle", ids: Sequence[int], lengths: Sequence[int]) -> dict[str, dict[str, float]]:
    """For each length the seconds of a prefill from nothing by part; of two runs the faster."""
    from torch import nn

    from xgen.engine.cache import Cache
    from xgen.engine.generate import prefill
    from xgen.model.int4 import WeightInt4
    from xgen.model.int8 import WeightInt8

    model, attention, matrices = bundle.model, Stopwatch(), Stopwatch()
    model.attend = attention.around(model.attend)
    for module in model.modules():
        if isinstance(module, nn.Linear | WeightInt8 | WeightInt4):
            module.forward = matrices.around(module.forward)  # type: ignore[method-assign]
    cache = Cache.empty(model, max(lengths))
    prefill(model, cache, ids[:64])
    found = {}
    for n in lengths:
        runs = []
        for _ in range(2):
            cache.cut(0)
            attention.seconds = matrices.seconds = 0.0
            started = time.perf_counter()
            prefill(model, cache, ids[:n])
            total = time.perf_counter() - started
            runs.append((total, attention.seconds, matrices.seconds))
        total, attending, multiplying = min(runs)
        seconds = (attending, multiplying, total - attending - multiplying)
        found[str(n)] = {name: round(s, 3) for name, s in zip(PARTS, seconds, strict=True)}
    return found


def draw(results: Sequence[dict[str, Any]], path: Path) -> None:
    """One panel a model: our time by part over the length, the peers' as lines."""
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams["svg.hashsalt"] = "xgen"  # the same picture for the same numbers
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(results), figsize=(5.2 * len(results), 3.8), squeeze=False)
    for panel, result in zip(panels[0], results, strict=True):
        lengths = [int(n) for n in result["parts"]]
        shares = [[result["parts"][str(n)][part] for n in lengths] for part in PARTS]
        panel.stackplot(lengths, *shares, labels=[f"ours: {part}" for part in PARTS], alpha=0.75)
        for name, points in result["peers"].items():
            xs = sorted(points, key=int)
            panel.plot([int(n) for n in xs], [points[n] for n in xs], "o--", label=name, linewidth=1)
        panel.set(title=result["model"], xlabel="tokens", ylabel="seconds to read them")
        panel.set_xlim(min(lengths), max(lengths))
        panel.set_ylim(0)
        panel.legend(loc="upper left", fontsize=8, frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})


def peers(model: str) -> dict[str, dict[str, float]]:
    """Seconds of each peer at each length, by median, from the result of read_cpu.py."""
    path = RESULTS / f"read-cpu-{model}.json"
    if not path.exists():
        return {}
    table = json.loads(path.read_text("utf-8"))["table"]
    return {
        name: {n: round(int(n) / rate["median"], 2) for n, rate in row["prefill_tok_s"].items()}
        for name, row in table.items()
        if name != "ours"
    }


def main(arguments: Sequence[str]) -> None:
    import torch

    from xgen.bundle import load

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="smollm2,qwen-0.5b")
    parser.add_argument("--lengths", type=lambda said: [int(n) for n in said.split(",")], default=[*LENGTHS])
    parser.add_argument("--plot", type=Path, metavar="FILE")
    parser.add_argument("--out", type=Path, metavar="FILE", default=RESULTS / "length-cpu.json")
    options = parser.parse_args(arguments)
    results = []
    for name in options.models.split(","):
        bundle = load(name, device="cpu")
        ids = text_ids(bundle.folder, max(options.lengths))
        model = Path(name).name
        results.append({"model": model, "parts": parts(bundle, ids, options.lengths), "peers": peers(model)})
    result = {
        "command": " ".join(["python bench/length_cpu.py", *arguments]),
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(torch.device("cpu")),
        "models": results,
    }
    write_whole(options.out, (json.dumps(result, indent=1) + "\n").encode())
    if options.plot:
        draw(results, options.plot)
    for each in results:
        for n, seconds in each["parts"].items():
            shares = ", ".join(f"{part} {s:.2f} s" for part, s in seconds.items())
            print(f"{each['model']:<12}{n:>6} tokens: {sum(seconds.values()):.2f} s ({shares})")
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
