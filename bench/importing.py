"""What an import takes in memory and time: XGen-7B's format with fewer layers, made here of random numbers.

    python bench/importing.py --folder FOLDER --layers 6 --cap

Pickled fp32 shards with their index are made in FOLDER (6.5 GB for 6 layers, once), then imported as bf16
by the command in a process of its own. Reported: the kernel's high-water mark of that process (VmHWM, which
counts mapped pages of the files as well) and of its own memory alone (RssAnon, looked at every 20 ms).
With --cap the process runs once more in a memory control group (version 1, needs root) that allows 2 GB and
the largest tensor for everything, the page cache too. The last line printed is the result as JSON.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from machine import commit, machine, now

from xgen.files import write_whole
from xgen.formats.folder import ROTARY_BUFFER, foreign_name, parameter_shapes, write_json
from xgen.model.shape import SHAPES, Shape

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
GROUPS = Path("/sys/fs/cgroup/memory")
ALLOWED_BYTES = 2_000_000_000


def published(
    folder: Path,
    shape: Shape,
    ranks: Path,
    numbers: Callable[[Sequence[int]], torch.Tensor] = torch.randn,
    n_shards: int = 3,
) -> None:
    """A folder as XGen-7B was published, but for its size and its numbers."""
    folder.mkdir(parents=True)
    names = list(parameter_shapes(shape))
    share = -(-len(names) // n_shards)
    weight_map: dict[str, str] = {}
    total = 0
    for index in range(n_shards):
        file = f"pytorch_model-{index + 1:05}-of-{n_shards:05}.bin"
        state = {}
        for name in names[index * share : (index + 1) * share]:
            state[foreign_name(name)] = numbers(parameter_shapes(shape)[name])
            if name.endswith(".q.weight"):
                layer = name.split(".")[1]
                angles = 1 / shape.rope_theta ** (torch.arange(0, shape.head_dim, 2) / shape.head_dim)
                state[f"model.layers.{layer}.self_attn.{ROTARY_BUFFER}"] = angles
        torch.save(state, folder / file)
        weight_map |= dict.fromkeys(state, file)
        total += sum(tensor.nbytes for tensor in state.values())
    index_file = folder / "pytorch_model.bin.index.json"
    write_json(index_file, {"metadata": {"total_size": total}, "weight_map": weight_map})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": shape.d_model,
        "intermediate_size": shape.d_ff,
        "max_position_embeddings": shape.max_seq_len,
        "num_attention_heads": shape.n_heads,
        "num_hidden_layers": shape.n_layers,
        "pad_token_id": 0,
        "vocab_size": shape.vocab_size,
    }
    write_json(folder / "config.json", config)
    write_json(folder / "generation_config.json", {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0})
    write_json(folder / "tokenizer_config.json", {"tokenizer_class": "XgenTokenizer"})
    shutil.copy(ranks, folder / "gpt2.tiktoken")


def measured(words: list[str], cap_bytes: int | None = None) -> dict[str, Any]:
    """Run a command and watch its memory; with `cap_bytes` in a control group of that size."""
    group = GROUPS / f"import_{os.getpid()}"
    if cap_bytes:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(cap_bytes))
    own = {"VmHWM": 0, "RssAnon": 0}
    started = time.perf_counter()
    try:
        enter = "echo $$ > " + str(group / "cgroup.procs") + "; " if cap_bytes else ""
        process = subprocess.Popen(["sh", "-c", f'{enter}exec "$@"', "sh", *words], stdout=subprocess.DEVNULL)
        while process.poll() is None:
            with suppress(OSError):
                for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
                    key, _, value = line.partition(":")
                    if key in own:
                        own[key] = max(own[key], int(value.split()[0]) * 1024)
            time.sleep(0.02)
        seconds = time.perf_counter() - started
        peak = int((group / "memory.max_usage_in_bytes").read_text()) if cap_bytes else None
    finally:
        if cap_bytes:
            group.rmdir()
    if process.returncode:
        raise SystemExit(f"the import ended with {process.returncode}")
    found = {"seconds": round(seconds, 1), "VmHWM_bytes": own["VmHWM"], "RssAnon_bytes": own["RssAnon"]}
    return found | ({"cap_bytes": cap_bytes, "cgroup_peak_bytes": peak} if cap_bytes else {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the shards and the result may lie")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--shards", type=int, default=3)
    parser.add_argument("--ranks", type=Path, default=ROOT / ".." / "shared" / "tokens" / "gpt2.tiktoken")
    parser.add_argument("--cap", action="store_true", help="once more in a memory control group")
    options = parser.parse_args()
    shape = replace(SHAPES["xgen-7b"], n_layers=options.layers)
    source, target = (
        options.folder / f"published-{options.layers}-{options.shards}",
        options.folder / "imported",
    )
    if not source.exists():
        published(source, shape, options.ranks, n_shards=options.shards)
    largest = 4 * shape.vocab_size * shape.d_model
    words = [sys.executable, "-m", "xgen", "import", str(source), str(target)]
    runs = []
    for cap in (None, ALLOWED_BYTES + largest)[: 1 + options.cap]:
        shutil.rmtree(target, ignore_errors=True)
        runs.append(measured(words, cap))
        print(json.dumps(runs[-1]))
    result = {
        "bench": "importing",
        "command": f"python bench/importing.py --folder FOLDER --layers {options.layers} "
        f"--shards {options.shards}" + " --cap" * options.cap,
        "machine": machine(torch.device("cpu")),
        "commit": commit(ROOT),
        "date": now(),
        "layers": options.layers,
        "shards": options.shards,
        "source_bytes": sum(path.stat().st_size for path in source.glob("*.bin")),
        "target_bytes": (target / "model.safetensors").stat().st_size,
        "largest_tensor_bytes": largest,
        "allowed_bytes": ALLOWED_BYTES + largest,
        "runs": runs,
    }
    write_whole(RESULTS / "importing.json", (json.dumps(result, indent=2) + "\n").encode())
    print(json.dumps(result))


if __name__ == "__main__":
    main()
