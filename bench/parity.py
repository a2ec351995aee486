"""Do the same weights compute the same as in transformers: logits to 8K positions, bf16's noise, greedy text?

    python bench/parity.py --models smollm2,xgen-small --work FOLDER

`xgen-small` is made here: XGen-7B's format (its configuration, vocabulary, pickled fp32 shards) at a small
size with random weights, saved as it was published and brought over as by `xgen import`. Everything is
compared with transformers in fp64 (or fp32, which is quicker) over one text: the logits of every position in
fp32 and in bf16, ours as the engine computes them (prefill in chunks behind a cache), theirs in one pass. KL
is of the reference to the other, in nats a token. Then the likeliest continuations of 50 prompts, in fp32.
What is done of it goes into bench/results/parity.json; the last line printed is the result as JSON.
"""

import argparse
import gc
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from importing import published
from machine import commit, machine, now
from read_cpu import text_ids
from torch import Tensor

from xgen.bundle import load
from xgen.bundle.importing import import_model
from xgen.engine.cache import Cache
from xgen.engine.generate import CHUNK, generate, prefill
from xgen.engine.sample import greedy
from xgen.files import model_folder, write_whole
from xgen.model.shape import Shape

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "bench" / "results"
sys.path.insert(0, str(ROOT / "tests" / "golden"))
LENGTHS = (4096, 8192)
ROWS = 256
XGEN_SMALL = Shape(6, 512, 1376, 8, 8, 64, 51_200, 8192)

Logits = Callable[[int, int], Tensor]
"""The logits [rows, V] of the positions from one to another."""


def numbers(size: Sequence[int]) -> Tensor:
    """Random weights of a size that neither dies out nor explodes: matrices by their width, norms near 1."""
    return torch.randn(size) * size[-1] ** -0.5 if len(size) > 1 else 1 + 0.1 * torch.randn(size)


def xgen_small(work: Path, ranks: Path) -> Path:
    """The folder of a model in XGen's format, imported from the form in which XGen was published."""
    source, folder = work / "published", work / "xgen-small"
    if not folder.is_dir():
        shutil.rmtree(source, ignore_errors=True)
        torch.manual_seed(0)
        published(source, XGEN_SMALL, ranks, numbers)
        import_model(source, folder, "fp32", quiet=True)
    return folder


@torch.inference_mode()
def ours(folder: Path, dtype: str, ids: Sequence[int]) -> Logits:
    """Our logits by the engine's own path; weights and activations of the type asked for."""
    bundle = load(folder, device="cpu", dtype=dtype)
    cache = Cache.empty(bundle.model, len(ids))
    hidden = []
    for begin in range(0, len(ids), CHUNK):
        chunk = torch.tensor([ids[begin : begin + CHUNK]])
        hidden.append(bundle.model(chunk, cache=cache.buffers, start=cache.length)[0])
        cache.length += chunk.shape[1]
    hidden_TM = torch.cat(hidden)
    return lambda begin, end: bundle.model.logits(hidden_TM[begin:end])


@torch.inference_mode()
def theirs(folder: Path, dtype: torch.dtype, ids: Sequence[int]) -> Logits:
    """transformers' logits, in one pass."""
    model = peer(folder, dtype)
    hidden_TM = model.model(torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    return lambda begin, end: model.lm_head(hidden_TM[begin:end])


def peer(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True).eval()


@torch.inference_mode()
def compared(reference: Logits, other: Logits, lengths: Sequence[int]) -> dict[str, dict[str, float]]:
    """For each length the distances over the positions up to it."""
    found, n, total, largest, difference, same = {}, 0, 0.0, 0.0, 0.0, 0
    for begin in range(0, max(lengths), ROWS):
        wanted, got = (each(begin, begin + ROWS).double() for each in (reference, other))
        p, q = wanted.log_softmax(-1), got.log_softmax(-1)
        kl = (p.exp() * (p - q)).sum(-1)
        n, total, largest = n + len(kl), total + float(kl.sum()), max(largest, float(kl.max()))
        difference = max(difference, float((wanted - got).abs().max()))
        same += int((wanted.argmax(-1) == got.argmax(-1)).sum())
        if n in lengths:
            found[str(n)] = {
                "largest_logit_difference": difference,
                "mean_kl": total / n,
                "largest_kl": largest,
                "top_1_agreement": same / n,
            }
    return found


@torch.inference_mode()
def greedy_texts(folder: Path, prompts: Sequence[str], n_tokens: int) -> dict[str, Any]:
    """How many prompts are continued with the same ids; where not, how near the two best logits were.

    transformers reads a prompt with our continuation once: as long as each id is its own first choice, its
    greedy text is ours.
    """
    bundle, model = load(folder, device="cpu", dtype="fp32"), peer(folder, torch.float32)
    choose = greedy(bundle.hidden_ids)
    n_same, partings = 0, []
    for prompt in prompts:
        ids = bundle.tokenizer.encode(prompt)
        cache = Cache.empty(bundle.model, len(ids) + n_tokens)
        logits = prefill(bundle.model, cache, ids)
        mine = list(generate(bundle.model, cache, logits, choose, frozenset(), n_tokens))
        behind = model(torch.tensor([ids + mine])).logits[0, len(ids) - 1 : -1]
        behind[:, sorted(bundle.hidden_ids)] = float("-inf")
        best = behind.topk(2)
        same = (best.indices[:, 0] == torch.tensor(mine)).tolist()
        n_same += all(same)
        if not all(same):
            at = same.index(False)
            margin = float(best.values[at, 0] - best.values[at, 1])
            partings.append({"prompt": prompt, "token": at, "margin": margin})
    return {"prompts": len(prompts), "tokens_each": n_tokens, "equal": n_same, "partings": partings}


def logits_compared(folder: Path, lengths: Sequence[int], exact: torch.dtype) -> dict[str, Any]:
    """The distances of ours and of transformers' from transformers in the type `exact`."""
    ids = text_ids(folder, max(lengths))
    reference = theirs(folder, exact, ids)
    found: dict[str, Any] = {"reference": f"transformers {str(exact).removeprefix('torch.')}"}
    for name, make in (
        ("ours fp32", lambda: ours(folder, "fp32", ids)),
        ("transformers fp32", lambda: theirs(folder, torch.float32, ids)),
        ("ours bf16", lambda: ours(folder, "bf16", ids)),
        ("transformers bf16", lambda: theirs(folder, torch.bfloat16, ids)),
    ):
        if name == "transformers fp32" and exact == torch.float32:
            continue
        found[name] = compared(reference, make(), lengths)
        gc.collect()
        print(f"{folder.name:<12} {name:<18}", json.dumps(found[name]), flush=True)
    return found


def keep(model: str, part: str, found: dict[str, Any]) -> None:
    """Put one part of one model's result into the file, beside the others'."""
    path = RESULTS / "parity.json"
    result = json.loads(path.read_text("utf-8")) if path.exists() else {"models": {}}
    result["models"].setdefault(model, {})[part] = found
    write_whole(path, (json.dumps(result, indent=1) + "\n").encode())


def main(arguments: Sequence[str]) -> None:
    from prompts import PROMPTS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="smollm2,xgen-small")
    parser.add_argument("--parts", default="logits,greedy")
    parser.add_argument("--lengths", type=lambda said: [int(n) for n in said.split(",")], default=[*LENGTHS])
    parser.add_argument("--reference", choices=["float64", "float32"], default="float64")
    parser.add_argument("--tokens", type=int, default=32, help="of each continuation")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the model that is made")
    parser.add_argument("--ranks", type=Path, default=ROOT / ".." / "shared" / "tokens" / "gpt2.tiktoken")
    options = parser.parse_args(arguments)
    result = {}
    for name in options.models.split(","):
        folder = xgen_small(options.work, options.ranks) if name == "xgen-small" else model_folder(name)
        for part in options.parts.split(","):
            if part == "greedy":
                found = greedy_texts(folder, PROMPTS, options.tokens)
            else:
                found = logits_compared(folder, options.lengths, getattr(torch, options.reference))
            found |= {
                "command": f"python bench/parity.py --models {name} --parts {part} --work FOLDER"
                + f" --reference {options.reference}" * (part == "logits"),
                "date": now(),
                "commit": commit(ROOT),
                "machine": machine(torch.device("cpu")),
            }
            keep(name, part, found)
            result[f"{name}, {part}"] = found
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
