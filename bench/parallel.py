"""One GPU and several on the same run: are the losses the same, and how much faster is it?

    python bench/parallel.py --corpus DIR [--gpus 2] [--out FOLDER]

Trains the 135M shape of smollm2 for some steps by `xgen train`, with one process and with one a GPU, on the
same corpus with the same tokens a step, at 2K and at 8K. Both runs read the same rows; sums are rounded in
another order, so losses part slowly. The last line is JSON.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RECIPE = """
name = "parallel"
corpus = "any"
dtype = "bf16"
tokens_per_step = 524_288
tokens_per_micro_step = 65_536
checkpoint_steps = 1_000
log_steps = 5
held_out_tokens = 0
[model]
n_layers = 30
d_model = 576
d_ff = 1536
n_heads = 9
n_kv_heads = 3
head_dim = 64
vocab_size = 49_152
max_seq_len = 8192
[[stage]]
name = "2k"
length = 2048
tokens = 5_242_880
max_epochs = 1000
mix = { "*" = 1.0 }
learning_rate = { peak = 6e-4, warmup_tokens = 2_621_440 }
[[stage]]
name = "8k"
length = 8192
tokens = 5_242_880
max_epochs = 1000
mix = { "*" = 1.0 }
learning_rate = { peak = 6e-4, warmup_tokens = 2_621_440 }
"""


def run(words: list[str], recipe: Path, corpus: Path, out: Path) -> list[dict[str, float]]:
    """The metrics of a run of `xgen train` started by `words`."""
    command = [*words, "-m", "xgen", "train", str(recipe), "--corpus", str(corpus), "--out", str(out)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]


def speed(metrics: list[dict[str, float]], stage: str) -> float:
    """Median tokens per second of a stage, its first third left out (compiling, warming up)."""
    own = [line["tokens_per_s"] for line in metrics if line["stage"] == stage]
    return statistics.median(own[len(own) // 3 :])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--gpus", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()) / "xgen-parallel")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    recipe = options.out / "recipe.toml"
    recipe.write_text(RECIPE)
    many = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node",
        str(options.gpus),
    ]
    one = run([sys.executable], recipe, options.corpus, options.out / "one")
    two = run(many, recipe, options.corpus, options.out / "many")
    parted = [abs(a["loss"] - b["loss"]) / a["loss"] for a, b in zip(one, two, strict=True)]
    result = {
        "gpus": options.gpus,
        "steps": len(one),
        "loss_first": [one[0]["loss"], two[0]["loss"]],
        "loss_last": [one[-1]["loss"], two[-1]["loss"]],
        "largest_relative_difference": max(parted),
        "tokens_per_s": {stage: [speed(one, stage), speed(two, stage)] for stage in ("2k", "8k")},
    }
    for stage, (alone, together) in result["tokens_per_s"].items():
        print(
            f"{stage}: {alone:,.0f} tok/s on one, {together:,.0f} on {options.gpus}: {together / alone:.2f}x"
        )
    print(f"losses part by {100 * max(parted):.3f}% at most over {len(one)} steps")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
