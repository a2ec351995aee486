"""Greedy continuations of our own prompts, in several languages and code, held to transformers' in fp32.

A distance below CLOSE between the best and the second logit is a tie: another order of additions may
rightly choose otherwise, and the rest of that continuation is not compared.
"""

import pytest
import torch

from xgen.bundle import load
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.engine.score import read_rows
from xgen.engine.tree import ROOT, Tree

CLOSE = 0.02
N_TOKENS = 16


def continued(bundle, texts):
    """The likeliest ids behind each text, all texts side by side."""
    rows, logits_BV, _ = read_rows(bundle.model, texts, [1] * len(texts), N_TOKENS)
    tree, found = Tree(bundle.model, rows), [logits_BV.argmax(-1)]
    for node in range(N_TOKENS - 1):
        parent = node - 1 if node else ROOT
        logits_BNV = tree.grow(found[-1][:, None].tolist(), [[parent]] * len(texts))
        found.append(logits_BNV[:, 0].argmax(-1))
    return torch.stack(found, dim=1).tolist()


@pytest.mark.model
def test_against_transformers_greedy(pulled, golden):
    """One pass of transformers over prompts and continuations has each of our ids as its first choice."""
    transformers = pytest.importorskip("transformers")
    folder = pulled("smollm2")
    bundle = load(folder, device="cpu", dtype="fp32")
    prompts = [reply["prompt"] for reply in golden("transformers_qwen-0.5b.json")["replies"]]
    texts = [bundle.tokenizer.encode(prompt) for prompt in prompts]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert texts == tokenizer(prompts, add_special_tokens=False).input_ids
    options = {"dtype": torch.float32, "attn_implementation": "eager", "local_files_only": True}
    peer = transformers.AutoModelForCausalLM.from_pretrained(folder, **options).eval()
    texts.sort(key=len)  # so that texts of a length go together, with little padding
    pairs, n_same = list(zip(texts, continued(bundle, texts), strict=True)), 0
    for begin in range(0, len(texts), 10):
        some = pairs[begin : begin + 10]
        whole = [torch.tensor(text + ids[:-1]) for text, ids in some]
        with torch.inference_mode():
            logits_BTV = peer(torch.nn.utils.rnn.pad_sequence(whole, batch_first=True)).logits
        for (text, ids), logits_TV in zip(some, logits_BTV, strict=True):
            values, theirs = logits_TV[len(text) - 1 :][:N_TOKENS].topk(2)
            ties = (values[:, 0] - values[:, 1] < CLOSE).tolist()
            until = ties.index(True) if True in ties else N_TOKENS
            assert ids[:until] == theirs[:until, 0].tolist(), bundle.tokenizer.decode(text)
            n_same += until
    assert len(texts) == 50
    assert n_same >= 0.9 * N_TOKENS * len(texts)


@pytest.mark.model
def test_against_transformers_greedy_golden(pulled, golden):
    """Some of the 50 continuations that tests/golden/make_transformers.py wrote down, text by text."""
    bundle = load(pulled("qwen-0.5b"), device="cpu", dtype="fp32")
    replies = golden("transformers_qwen-0.5b.json")["replies"]
    some = [reply for reply in replies if min(reply["margins"]) >= CLOSE][::7]
    assert len(some) == 6
    ours = continued(bundle, [reply["prompt_ids"] for reply in some])
    for reply, ids in zip(some, ours, strict=True):
        assert bundle.tokenizer.encode(reply["prompt"]) == reply["prompt_ids"]
        assert (ids, bundle.tokenizer.decode(ids)) == (reply["ids"], reply["text"])

    cache = Cache.empty(bundle.model, 64)
    logits = prefill(bundle.model, cache, some[0]["prompt_ids"])
    one_by_one = list(generate(bundle.model, cache, logits, greedy(), set(), 6))
    assert one_by_one == some[0]["ids"][:6]
