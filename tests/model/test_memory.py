from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine.cache import empty_buffers
from xgen.engine.generate import CHUNK
from xgen.model import int8, memory
from xgen.model.int8 import add_int8
from xgen.model.memory import PASS_TOKENS, Setting, best_that_fits, longest, needed
from xgen.model.shape import SHAPES
from xgen.model.transformer import Transformer

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16, "int8": torch.int8}
GIB = 1 << 30


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("biases", [True, False])
@pytest.mark.parametrize("kind", ["int8", "bf16"])
def test_against_the_memory_that_a_model_takes(tied, biases, kind, matrices_in_8_bits):
    shape = replace(SHAPES["tiny"], tied_head=tied, qkv_bias=biases, n_layers=3)
    model = Transformer(shape).bfloat16()
    if kind == "int8":
        add_int8(model, matrices_in_8_bits(model), alone=True)
    held = sum(t.nbytes for t in (*model.parameters(), *model.buffers()))
    ours = needed(shape, Setting(kind, "bf16", "bf16"), 1).weights
    assert abs(ours - held) <= 4 * shape.vocab_size  # an embedding has no bf16 scales, a tied head's has


@pytest.mark.parametrize("kind", list(DTYPES))
def test_against_the_memory_that_a_cache_takes(kind):
    shape = SHAPES["tiny"]
    with torch.device("meta"):
        buffers = empty_buffers(Transformer(shape), 1, 77, DTYPES[kind])
    held = sum(t.nbytes for layer in buffers for t in layer)
    assert needed(shape, Setting("bf16", kind, "bf16"), 77).cache == held


def test_it_counts_the_passes_that_are_made():
    assert (CHUNK, int8.ROOM["cuda"]) == (PASS_TOKENS, memory.BACK_AT_ONCE)


@settings(deadline=None, max_examples=60)
@given(
    free=st.integers(0, 40 * GIB),
    weights=st.sampled_from(["bf16", "int8"]),
    cache=st.sampled_from(["bf16", "int8"]),
)
def test_law_the_longest_fits_and_one_more_does_not(free, weights, cache):
    shape, setting = SHAPES["xgen-7b"], Setting(weights, cache, "bf16")
    n = longest(shape, setting, free)
    assert n == 0 or needed(shape, setting, n).total <= free
    assert n == shape.max_seq_len or needed(shape, setting, n + 1).total > free


def test_xgen_7b_with_its_whole_window_on_a_16_gb_card():
    """8 bits within 10 GB, and under the usable part of a T4 with room; 16 bits are not."""
    shape = SHAPES["xgen-7b"]
    found = needed(shape, Setting("int8", "int8", "fp16"), 8192)
    assert found.total < 10e9
    assert found.total < 14.6 * GIB - 4 * GIB
    assert needed(shape, Setting("fp16", "fp16", "fp16"), 8192).total > 16 * GIB
    setting, n_tokens = best_that_fits(shape, "fp16", int(14.6 * GIB))
    assert (str(setting), n_tokens) == ("int8 weights with a fp16 cache", 8192)
    setting, n_tokens = best_that_fits(shape, "fp16", 9 * 10**9)
    assert str(setting) == "int8 weights with an int8 cache"
    assert 4096 < n_tokens < 8192
    assert best_that_fits(shape, "fp16", 6 * 10**9) is None
