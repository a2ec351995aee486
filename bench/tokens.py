"""How fast do XGen's tokens come, beside the published way (tiktoken, GPT-2's old pattern) and tokenizers?

    python bench/tokens.py gpt2.tiktoken [FILE ...] [--rounds 9]

On one thread, over this repository's pages, its code, and each FILE (any long text). The ways take turns,
and what counts is the best round of each in the processor's time, so that other work on the machine disturbs
little. The ids are compared first. (`pip install ".[tiktoken]"`) Last line: JSON.
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"  # before the libraries read it
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tiktoken
import torch
from machine import commit, machine, now

from xgen.text.tokenizer import Tokenizer
from xgen.text.xgen_tokens import LONGEST_RUNS, read_ranks, xgen_tokenizer_json

ROOT = Path(__file__).parents[1]
PUBLISHED_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def published(ranks: dict[bytes, int]) -> tiktoken.Encoding:
    """As tokenization_xgen.py has it: the runs of white space behind GPT-2's ranks."""
    runs = [mark * n for mark, longest in LONGEST_RUNS.items() for n in range(longest, 1, -1)]
    table = ranks | {run: len(ranks) + 1 + i for i, run in enumerate(runs)}
    return tiktoken.Encoding("published", pat_str=PUBLISHED_SPLIT, mergeable_ranks=table, special_tokens={})


def best_seconds(ways: dict[str, Callable[[], object]], n_rounds: int) -> dict[str, float]:
    seconds = dict.fromkeys(ways, float("inf"))
    for _ in range(n_rounds):
        for name, way in ways.items():
            started = time.process_time()
            way()
            seconds[name] = min(seconds[name], time.process_time() - started)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("ranks", type=Path)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    texts = {
        name: "".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / name).rglob(pattern)))
        for name, pattern in (("docs", "*.md"), ("src", "*.py"))
    }
    texts |= {path.name: path.read_text(encoding="utf-8") for path in arguments.files}
    ranks = read_ranks(arguments.ranks)
    ours, theirs = Tokenizer(xgen_tokenizer_json(ranks)), published(ranks)
    table = {}
    for name, text in texts.items():
        assert ours.encode(text) == theirs.encode_ordinary(text) == ours._plain.encode(text).ids
        ways: dict[str, Callable[[], object]] = {
            "published": lambda: theirs.encode_ordinary(text),  # noqa: B023 - called in this round
            "ours": lambda: ours.encode(text),  # noqa: B023
            "published with offsets": lambda: theirs.decode_with_offsets(theirs.encode_ordinary(text)),  # noqa: B023
            "ours with offsets": lambda: ours.encode_with_offsets(text),  # noqa: B023
            "library tokenizers": lambda: ours._plain.encode(text),  # noqa: B023
        }
        seconds = best_seconds(ways, arguments.rounds)
        n_bytes = len(text.encode())
        table[name] = {
            "bytes": n_bytes,
            "mb_per_s": {way: round(n_bytes / 1e6 / s, 2) for way, s in seconds.items()},
            "ratio": round(seconds["published"] / seconds["ours"], 2),
            "ratio_with_offsets": round(seconds["published with offsets"] / seconds["ours with offsets"], 2),
        }
        print(f"{name:20} {table[name]}", flush=True)
    found = {"machine": machine(torch.device("cpu")), "commit": commit(ROOT), "date": now()}
    print(json.dumps({"tiktoken": tiktoken.__version__, "texts": table, **found}))


if __name__ == "__main__":
    main()
