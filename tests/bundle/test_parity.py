"""An imported model beside transformers over its whole window; bench/parity.py has the long form."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from xgen.bundle import load
from xgen.bundle.importing import import_model
from xgen.engine.cache import Cache
from xgen.engine.generate import CHUNK, generate, prefill
from xgen.engine.sample import greedy

N = 8192
CLOSE = 1e-3


@pytest.fixture
def folder(stranger: Callable, tmp_path: Path) -> Path:
    source, _ = stranger(max_position_embeddings=N)
    import_model(source, tmp_path / "mine", "fp32", quiet=True)
    return tmp_path / "mine"


def peer(folder: Path, dtype: torch.dtype) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype).eval()


@torch.inference_mode()
def ours(folder: Path, dtype: str, ids: Sequence[int]) -> torch.Tensor:
    """Logits [T, V] of every position, in chunks behind a cache as the engine reads."""
    model = load(folder, device="cpu", dtype=dtype).model
    cache, parts = Cache.empty(model, len(ids)), []
    for begin in range(0, len(ids), CHUNK):
        chunk = torch.tensor([ids[begin : begin + CHUNK]])
        parts.append(model.logits(model(chunk, cache=cache.buffers, start=begin)[0]))
    return torch.cat(parts)


@torch.inference_mode()
def theirs(folder: Path, dtype: torch.dtype, ids: Sequence[int]) -> torch.Tensor:
    return peer(folder, dtype)(torch.tensor([ids])).logits[0]


def kl(reference: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    p, q = (each.double().log_softmax(-1) for each in (reference, other))
    return (p.exp() * (p - q)).sum(-1)


def test_against_transformers_every_position_of_8192(folder: Path) -> None:
    """In fp32 as near to fp64 as transformers is; in bf16 within its noise, though our scores have 16 bits.

    These random weights make scores far larger than a trained model's: bench/results/parity.json has that.
    """
    ids = torch.randint(0, 299, (N,), generator=torch.Generator().manual_seed(1)).tolist()
    reference = theirs(folder, torch.float64, ids)
    for dtype, kind, slack in (("fp32", torch.float32, 2.0), ("bf16", torch.bfloat16, 1.75)):
        mine, their = ours(folder, dtype, ids), theirs(folder, kind, ids)
        for end in (N // 2, N):
            one, other = (kl(reference[:end], each[:end]) for each in (mine, their))
            assert one.mean() < slack * other.mean()
            assert one.max() < 2 * slack * other.max()
        largest = [float((reference - each).abs().max()) for each in (mine, their)]
        assert largest[0] < 2 * slack * largest[1]
        assert dtype == "bf16" or largest[0] < 1e-3


@torch.inference_mode()
def test_against_transformers_50_greedy_texts(folder: Path) -> None:
    bundle, model = load(folder, device="cpu", dtype="fp32"), peer(folder, torch.float32)
    generator = torch.Generator().manual_seed(2)
    choose, n_compared = greedy(bundle.hidden_ids), 0
    prompts = [torch.randint(4, 299, (n,), generator=generator).tolist() for n in range(1, 51)]
    for prompt in prompts:
        cache = Cache.empty(bundle.model, len(prompt) + 16)
        logits = prefill(bundle.model, cache, prompt)
        mine = list(generate(bundle.model, cache, logits, choose, frozenset(), 16))
        behind = model(torch.tensor([prompt + mine])).logits[0, len(prompt) - 1 : -1]
        behind[:, sorted(bundle.hidden_ids)] = float("-inf")
        best = behind.topk(2)
        clear = (best.values[:, 0] - best.values[:, 1] > CLOSE).tolist()
        until = clear.index(False) if False in clear else 16
        assert mine[:until] == best.indices[:until, 0].tolist()
        n_compared += until
    assert n_compared > 0.9 * 16 * 50
