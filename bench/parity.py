"""Do the same weights compute the same as in transformers: logits to 8K positions, bf16's noise, greedy text?

    python bench/parity.py --models smollm2,xgen-small --work FOLDER

`xgen-small` is made here: XGen-7B's format (its configuration, vocabulary, pickled fp32 shards) at a small
size with random weights, saved as it was published and brought over as by `xgen import`. Everything is
compared with transformers in fp64 over one text: the logits of every position in fp32 and in bf16, ours as
the engine computes them (prefill in chunks behind a cache), theirs in one pass. KL is of the reference to
the other, in nats a token. Then the likeliest continuations of 50 prompts, in fp32. The last line printed is
the result as JSON.
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
    """How many prompts are continued with the same ids; where not, how near the two best logits were."""
    bundle, model = load(folder, device="cpu", dtype="fp32"), peer(folder, torch.float32)
    choose = greedy(bundle.hidden_ids)
    n_same, partings = 0, []
    for prompt in prompts:
        ids = bundle.tokenizer.encode(prompt)
        cache = Cache.empty(bundle.model, len(ids) + n_tokens)
        logits = prefill(bundle.model, cache, ids)
        mine = list(generate(bundle.model, cache, logits, choose, frozenset(), n_tokens))
        options = {"do_sample": False, "max_new_tokens": n_tokens, "min_new_tokens": n_tokens}
        hidden = {"suppress_tokens": sorted(bundle.hidden_ids)} if bundle.hidden_ids else {}
        whole = model.generate(torch.tensor([ids]), pad_token_id=0, **options, **hidden)[0].tolist()
        their = whole[len(ids) :]
        if mine == their:
            n_same += 1
            continue
        at = next(i for i, (a, b) in enumerate(zip(mine, their, strict=False)) if a != b)
        best = model(torch.tensor([ids + mine[:at]])).logits[0, -1].topk(2).values
        partings.append({"prompt": prompt, "token": at, "margin": float(best[0] - best[1])})
    return {"prompts": len(prompts), "tokens_each": n_tokens, "equal": n_same, "partings": partings}


def measured(folder: Path, lengths: Sequence[int], n_tokens: int) -> dict[str, Any]:
    from prompts import PROMPTS

    ids = text_ids(folder, max(lengths))
    reference = theirs(folder, torch.float64, ids)
    found: dict[str, Any] = {}
    for name, make in (
        ("ours fp32", lambda: ours(folder, "fp32", ids)),
        ("transformers fp32", lambda: theirs(folder, torch.float32, ids)),
        ("ours bf16", lambda: ours(folder, "bf16", ids)),
        ("transformers bf16", lambda: theirs(folder, torch.bfloat16, ids)),
    ):
        found[name] = compared(reference, make(), lengths)
        gc.collect()
        print(f"{folder.name:<12} {name:<18}", json.dumps(found[name]), flush=True)
    return {"to_fp64": found, "greedy": greedy_texts(folder, PROMPTS, n_tokens)}


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--models", default="smollm2,xgen-small")
    parser.add_argument("--lengths", type=lambda said: [int(n) for n in said.split(",")], default=[*LENGTHS])
    parser.add_argument("--tokens", type=int, default=32, help="of each continuation")
    parser.add_argument("--work", type=Path, required=True, help="a folder for the model that is made")
    parser.add_argument("--ranks", type=Path, default=ROOT / ".." / "shared" / "tokens" / "gpt2.tiktoken")
    options = parser.parse_args(arguments)
    models = {}
    for name in options.models.split(","):
        folder = xgen_small(options.work, options.ranks) if name == "xgen-small" else model_folder(name)
        models[name] = measured(folder, options.lengths, options.tokens)
    result = {
        "command": f"python bench/parity.py --models {options.models} --work FOLDER",
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(torch.device("cpu")),
        "models": models,
    }
    write_whole(RESULTS / "parity.json", (json.dumps(result, indent=1) + "\n").encode())
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1:])
