"""How fast a CPU reads and answers: ours beside transformers and llama.cpp, the same weights, the same run.

    python bench/read_cpu.py --model smollm2 --gguf SmolLM2.gguf --llama-python ~/llama/bin/python

Every engine runs in its own process (bench/cpu_engines.py), one after the other, the whole round
repeated; medians are compared, and the least and the greatest shown. The machine's ceilings are measured
in the same rounds. llama.cpp is given the shipped file and the same requantised to Q8_0 by its own
function. The last line printed is the result as JSON.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import commit, machine, now

from xgen.files import model_folder, write_whole

ROOT = Path(__file__).parents[1]
LENGTHS = (512, 2048, 8000)
FIRST_TOKEN = """
import sys, xgen
reader = xgen.load(sys.argv[1], device="cpu")
next(iter(reader.chat().send("Say hello.")))
print("first", flush=True)
"""


@dataclass(frozen=True)
class Engine:
    """An engine as a command; `name` in the table."""

    name: str
    command: tuple[str, ...]


def engines(options: argparse.Namespace, folder: Path, q8: Path) -> list[Engine]:
    """What takes part: ours always, peers where they are."""
    workers = str(ROOT / "bench" / "cpu_engines.py")
    ours = (sys.executable, workers, "ours", "--folder", str(folder), "--dtype", options.dtype)
    found = [Engine("ours", (*ours, "--parts"))]
    for dtype in options.transformers.split(","):
        words = ("transformers", "--folder", str(folder), "--dtype", dtype)
        found += [Engine(f"transformers {dtype}", (sys.executable, workers, *words))] if dtype else []
    if options.llama_python:
        python = str(options.llama_python)
        for name, file in (("shipped", options.gguf), ("Q8_0", q8)):
            found.append(Engine(f"llama.cpp {name}", (python, workers, "llama.cpp", "--gguf", str(file))))
    return found


def run(command: Sequence[str], threads: int) -> dict[str, Any]:
    """The JSON that a worker prints last; raises CalledProcessError with its words if it fails."""
    env = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    ended = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if ended.returncode:
        sys.stderr.write(ended.stderr)
        ended.check_returncode()
    result: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return result


def first_token_s(folder: Path) -> float:
    """From the start of a process to the first token of a short prompt, imports and loading included."""
    started = time.perf_counter()
    command = [sys.executable, "-c", FIRST_TOKEN, str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - started
    if line != "first\n":
        raise RuntimeError("the first token never came")
    return seconds


def summary(rounds: Sequence[dict[str, Any]], lengths: Sequence[int]) -> dict[str, Any]:
    """Medians with least and greatest over the rounds: tokens a second, and peak MB."""

    def spread(values: Sequence[float]) -> dict[str, float]:
        shown = {"median": statistics.median(values), "least": min(values), "greatest": max(values)}
        return {name: round(value, 2) for name, value in shown.items()}

    return {
        "prefill_tok_s": {str(n): spread([n / r["prefill_s"][str(n)] for r in rounds]) for n in lengths},
        "decode_tok_s": {str(n): spread([1 / r["decode_s"][str(n)] for r in rounds]) for n in lengths},
        "peak_mb": spread([r["peak_mb"] for r in rounds]),
        "attention_share": {
            n: round(
                statistics.median(
                    r["attention_s"][n] / r["prefill_s"][n] for r in rounds if "attention_s" in r
                ),
                3,
            )
            for n in rounds[0].get("attention_s", {})
        },
    }


def ratios(table: dict[str, Any], lengths: Sequence[int]) -> dict[str, Any]:
    """Ours over the best of each peer's forms, by median, at each length."""
    found: dict[str, Any] = {}
    for peer in ("transformers", "llama.cpp"):
        forms = [name for name in table if name.startswith(peer)]
        for kind in ("prefill_tok_s", "decode_tok_s"):
            for n in map(str, lengths):
                best = max((table[name][kind][n]["median"] for name in forms), default=None)
                if best is not None:
                    ratio = table["ours"][kind][n]["median"] / best
                    found.setdefault(f"{kind} / {peer}", {})[n] = round(ratio, 2)
    return found


def lines(table: dict[str, Any], lengths: Sequence[int]) -> list[str]:
    """The table for people."""
    head = [*(f"prefill {n}" for n in lengths), *(f"decode {n}" for n in lengths), "peak MB"]
    shown = [f"{'tok/s, median (least-greatest)':<24}" + "".join(f"{title:>22}" for title in head)]
    for name, row in table.items():
        cells = [row[kind][str(n)] for kind in ("prefill_tok_s", "decode_tok_s") for n in lengths]
        texts = [f"{c['median']:.1f} ({c['least']:.1f}-{c['greatest']:.1f})" for c in cells]
        shown.append(
            f"{name:<24}" + "".join(f"{text:>22}" for text in [*texts, f"{row['peak_mb']['median']:.0f}"])
        )
    return shown


def text_ids(folder: Path, n: int) -> list[int]:
    """The first `n` ids of this project's own documents."""
    from xgen.text.tokenizer import Tokenizer

    text = "\n\n".join(
        (ROOT / "docs" / name).read_text("utf-8") for name in ("xgen-7b.md", "results.md", "log.md")
    )
    ids = Tokenizer.from_folder(folder).encode(text)
    if len(ids) < n:
        raise ValueError(f"the documents have {len(ids)} tokens and {n} are asked for")
    return ids[:n]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="qwen-0.5b", metavar="NAME")
    parser.add_argument("--dtype", default="auto", help="of ours")
    parser.add_argument("--transformers", default="bf16,fp32", help="types, with commas; empty: leave it out")
    parser.add_argument("--llama-python", type=Path, metavar="FILE", help="a Python that has llama_cpp")
    parser.add_argument("--gguf", type=Path, metavar="FILE", help="the file that the model was pulled from")
    parser.add_argument("--lengths", type=lambda said: [int(n) for n in said.split(",")], default=[*LENGTHS])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    if options.llama_python and not options.gguf:
        parser.error("--llama-python needs --gguf")
    return options


def main(arguments: Sequence[str]) -> None:
    import torch

    options = parse(arguments)
    place = Path(options.model)
    folder = place if place.is_dir() else model_folder(options.model)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    rounds: dict[str, list[dict[str, Any]]] = {}
    first: list[float] = []
    ceilings: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        ids, q8 = Path(scratch) / "ids.json", Path(scratch) / "q8_0.gguf"
        ids.write_text(json.dumps(text_ids(folder, max(options.lengths))))
        worker = str(ROOT / "bench" / "cpu_engines.py")
        if options.llama_python:
            words = ("requantize", "--gguf", str(options.gguf), "--out", str(q8))
            run([str(options.llama_python), worker, *words], options.threads)
        common = ("--ids", str(ids), "--lengths", ",".join(map(str, options.lengths)))
        shape = f"{config['hidden_size']},{config['intermediate_size']}"
        for number in range(options.rounds):
            ceilings.append(run([sys.executable, worker, "ceilings", "--shape", shape], options.threads))
            first.append(first_token_s(folder))
            for engine in engines(options, folder, q8):
                rounds.setdefault(engine.name, []).append(run([*engine.command, *common], options.threads))
                print(f"round {number + 1} of {options.rounds}: {engine.name} done", file=sys.stderr)
    table = {name: summary(each, options.lengths) for name, each in rounds.items()}
    result = {
        "command": " ".join(["python bench/read_cpu.py", *arguments]),
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(torch.device("cpu")),
        "model": options.model,
        "dtype": rounds["ours"][0]["dtype"],
        "first_token_s": [round(seconds, 2) for seconds in first],
        "ceilings": {
            name: round(statistics.median(each[name] for each in ceilings), 1)
            for name in ceilings[0]
            if name != "peak_mb"
        },
        "table": table,
        "ratios": ratios(table, options.lengths),
    }
    out = options.out or ROOT / "bench" / "results" / f"read-cpu-{place.name}.json"
    write_whole(out, (json.dumps(result, indent=1) + "\n").encode())
    print("\n".join(lines(table, options.lengths)))
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
