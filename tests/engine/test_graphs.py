"""On a GPU: one CUDA graph a token against the written-out pass in fp32, with noise of 16 bits allowed."""

import pytest
import torch
from torch import nn

from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.graphs import Decoder, decoder_for
from xgen.engine.kept import keep, recall
from xgen.engine.many_tokens import reader_for
from xgen.engine.sample import greedy
from xgen.engine.speculate import Lookup
from xgen.model.attention import attend_gpu, attend_reference
from xgen.model.int8 import add_int8, dequantised, quantised
from xgen.model.shape import Shape
from xgen.model.transformer import Transformer

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
]

SHAPES = {
    "as many keys as queries": Shape(2, 64, 160, 4, 4, 64, 512, 1024),
    "grouped, biases, tied": Shape(3, 320, 704, 10, 2, 64, 1501, 1024, 1e6, 1e-6, True, True),
    "seven share, heads of 128": Shape(2, 256, 512, 7, 1, 128, 768, 1024),
    "wide": Shape(1, 4096, 11008, 32, 32, 128, 2048, 1024),
}
N = 600


def two_models(shape: Shape, dtype: torch.dtype, int8: bool = False) -> tuple[Transformer, Transformer]:
    """The same random weights, in `dtype` (or 8 bits) and written out in fp32."""
    torch.manual_seed(0)
    with torch.device("cuda"):
        model, exact = Transformer(shape, attend_gpu), Transformer(shape, attend_reference)
    for name, p in model.named_parameters():
        p.data.normal_(std=1.5 * p.shape[-1] ** -0.5 if p.ndim == 2 else 0.3)
        p.data.add_(1.0 if "norm" in name else 0.0)
    model.to(dtype).eval().requires_grad_(False)
    exact.load_state_dict(model.state_dict())
    exact.eval().requires_grad_(False)
    if int8:
        weights = {}
        for name, one in list(model.named_modules()):
            if isinstance(one, nn.Linear | nn.Embedding):
                pair = quantised(one.weight)
                weights[f"{name}.int8"], weights[f"{name}.scale"] = pair
                exact.get_submodule(name).weight.copy_(dequantised(pair[0], pair[1].float(), torch.float32))
        add_int8(model, weights, alone=True)
    return model, exact


def ids_of(shape: Shape) -> list[int]:
    return torch.randint(0, shape.vocab_size, (N,), generator=torch.Generator().manual_seed(1)).tolist()


NOISE = {torch.bfloat16: 0.06, torch.float16: 0.01}


@pytest.mark.parametrize("int8", [False, True])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", SHAPES)
def test_against_the_written_out_pass(name, dtype, int8):
    shape = SHAPES[name]
    model, exact = two_models(shape, dtype, int8)
    cache = Cache.empty(model, N + 40, torch.int8 if int8 else None)
    expected_cache = Cache.empty(exact, N + 40, torch.int8 if int8 else None)
    assert reader_for(model, cache) is not None
    logits = prefill(model, cache, ids_of(shape))
    noise = NOISE[dtype] + (0.03 if int8 else 0)  # where a key is rounded to another integer
    with torch.inference_mode():
        ids = torch.tensor([ids_of(shape)], device="cuda")
        expected = exact.logits(exact(ids, cache=expected_cache.buffers)[0, -1])
        assert (logits - expected).norm() < noise * expected.norm()
        for position in range(N, N + 30):
            token = int(expected.argmax())
            hidden = exact(
                torch.tensor([[token]], device="cuda"), cache=expected_cache.buffers, start=position
            )
            expected = exact.logits(hidden[0, 0])
            decoder = decoder_for(model, cache)
            logits = decoder.after(token, position)
            assert (logits - expected).norm() < noise * expected.norm()
            first, second = expected.topk(2).values
            if first - second > 4 * noise * expected.std():
                assert int(logits.argmax()) == int(expected.argmax())


@pytest.mark.parametrize("name", SHAPES)
def test_law_ids_chosen_on_the_device_are_those_chosen_on_the_host(name):
    shape = SHAPES[name]
    model, _ = two_models(shape, torch.bfloat16)
    cache, hidden, ends = Cache.empty(model, N + 60), [3, 5], {7}
    logits = prefill(model, cache, ids_of(shape)).clone()
    choose, lengths = greedy(hidden), []
    written = []
    for token in generate(model, cache, logits, choose, frozenset(), 50):
        written.append(token)
        lengths.append(cache.length)
    assert lengths == list(range(N, N + 50))
    assert not set(written) & set(hidden)
    cache.cut(N)
    one_by_one = list(generate(model, cache, logits, choose.__call__, frozenset(), 50))
    assert one_by_one == written
    cache.cut(N)
    ends = {written[20]}
    until_end = list(generate(model, cache, logits, choose, ends, 50))
    assert until_end == written[: written.index(written[20])]


def test_guesses_are_checked_as_on_a_cpu():
    shape = SHAPES["grouped, biases, tied"]
    model, _ = two_models(shape, torch.float16)
    cache, ids, choose = Cache.empty(model, N + 60), ids_of(shape), greedy()
    logits = prefill(model, cache, ids).clone()
    alone = list(generate(model, cache, logits, choose, frozenset(), 40))
    cache.cut(N)
    guessed = list(generate(model, cache, logits, choose, frozenset(), 40, Lookup([*ids, *alone])))
    assert guessed == alone


@pytest.mark.parametrize("kind", [None, torch.int8])
def test_a_read_document_is_kept_and_read_again(kind, tmp_path, monkeypatch):
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    shape = SHAPES["seven share, heads of 128"]
    model, _ = two_models(shape, torch.bfloat16)
    cache = Cache.empty(model, N + 60, kind)
    logits = prefill(model, cache, ids_of(shape)).clone()
    written = list(generate(model, cache, logits, greedy(), frozenset(), 30))
    cache.cut(N)
    assert keep("key", cache, torch.bfloat16, "model", ["document"])
    again = Cache.empty(model, N + 60, kind)
    assert recall("key", again)
    assert list(generate(model, again, logits, greedy(), frozenset(), 30)) == written


def test_a_decoder_goes_with_its_cache():
    model, _ = two_models(SHAPES["as many keys as queries"], torch.bfloat16)
    cache = Cache.empty(model, 32)
    first = decoder_for(model, cache)
    assert isinstance(first, Decoder)
    assert decoder_for(model, cache) is first
    assert decoder_for(model, Cache.empty(model, 32)) is not first
    cache.length = 32
    assert decoder_for(model, cache) is None
