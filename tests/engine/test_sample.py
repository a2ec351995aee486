import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.engine import sample
from xgen.engine.sample import Sampling, candidates, greedy, not_repeating, sampler
from xgen.errors import XgenError

LOGITS = st.lists(st.integers(-400, 400).map(lambda n: n / 40), min_size=2, max_size=24, unique=True)
SAMPLINGS = st.builds(
    Sampling,
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    top_k=st.sampled_from([0, 1, 3, 10, 99]),
    top_p=st.sampled_from([1.0, 0.9, 0.5, 0.01]),
    min_p=st.sampled_from([0.0, 0.05, 0.3, 0.9]),
)


@pytest.fixture(scope="module", params=[2, 1024])
def sorted_at_first(request):
    """How many ids are sorted before it is known whether they suffice."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "MOSTLY_ENOUGH", request.param)
        yield


@pytest.mark.usefixtures("sorted_at_first")
@given(logits=LOGITS, sampling=SAMPLINGS)
@settings(max_examples=200, deadline=None)
def test_against_transformers_cuts_in_their_order(logits, sampling):
    transformers = pytest.importorskip("transformers")
    warpers = [transformers.TemperatureLogitsWarper(sampling.temperature)]
    if sampling.top_k:
        warpers.append(transformers.TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(transformers.TopPLogitsWarper(sampling.top_p))
    if sampling.min_p:
        warpers.append(transformers.MinPLogitsWarper(sampling.min_p))
    scores = torch.tensor([logits])
    for warp in warpers:
        scores = warp(None, scores)
    ids, probabilities = candidates(torch.tensor(logits), sampling)
    ours = torch.zeros(len(logits)).index_put((ids,), probabilities)
    torch.testing.assert_close(ours, scores[0].softmax(-1), atol=1e-6, rtol=1e-5)


def test_the_cuts_stand_in_the_order_of_transformers_generate():
    transformers = pytest.importorskip("transformers")
    model = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            hidden_size=8,
            intermediate_size=8,
            num_hidden_layers=1,
            num_attention_heads=1,
            num_key_value_heads=1,
            vocab_size=9,
        )
    )
    config = transformers.GenerationConfig(
        do_sample=True, temperature=0.5, top_k=3, top_p=0.9, min_p=0.1, repetition_penalty=1.2
    )
    processors = model._get_logits_processor(config, input_ids_seq_length=1, device="cpu")
    names = [type(each).__name__ for each in processors]
    assert names == [
        *("RepetitionPenaltyLogitsProcessor", "TemperatureLogitsWarper"),
        *("TopKLogitsWarper", "TopPLogitsWarper", "MinPLogitsWarper"),
    ]


@given(
    logits=LOGITS,
    said=st.lists(st.integers(0, 23), max_size=9),
    penalty=st.sampled_from([0.7, 1.0, 1.3, 5.0]),
)
@settings(max_examples=200, deadline=None)
def test_against_transformers_repetition_penalty(logits, said, penalty):
    """Theirs counts the prompt's ids too, unless told how many these are; ours the reply's alone."""
    transformers = pytest.importorskip("transformers")
    said = [token % len(logits) for token in said]
    theirs = transformers.RepetitionPenaltyLogitsProcessor(penalty, prompt_ignore_length=2)
    expected = theirs(torch.tensor([[0, 1, *said]]), torch.tensor([logits]))[0]
    given_to: list[torch.Tensor] = []
    coming = iter([*said, 0])

    def choose(logits_V):
        given_to.append(logits_V)
        return next(coming)

    choose_anew = not_repeating(choose, penalty)
    for _ in range(len(said) + 1):
        choose_anew(torch.tensor(logits))
    torch.testing.assert_close(given_to[-1], expected)


def test_a_penalty_moves_the_likeliest_on():
    choose = not_repeating(greedy([2]), 2.0)
    assert [choose(torch.tensor([4.0, 3.0, 9.0, -1.0])) for _ in range(3)] == [0, 1, 0]
    assert not_repeating(choose, 1.0) is choose


def test_hidden_ids_are_never_chosen():
    logits = torch.tensor([0.0, 5.0, 3.0])
    assert greedy()(logits) == 1
    assert greedy([1])(logits) == 2
    assert {sampler(Sampling(5.0, seed=s), [1])(logits) for s in range(50)} == {0, 2}
    assert {sampler(Sampling(5.0, top_k=2, seed=s), [1])(logits) for s in range(50)} == {0, 2}
    assert {sampler(Sampling(5.0, top_k=3, seed=s), [0, 1])(logits) for s in range(50)} == {2}


def test_law_sampling_follows_the_distribution():
    logits = torch.tensor([0.0, 1.0, 2.0, 3.0])
    draw = sampler(Sampling(2.0, seed=1))
    counts = torch.bincount(torch.tensor([draw(logits) for _ in range(4000)]), minlength=4) / 4000
    torch.testing.assert_close(counts, (logits / 2).softmax(-1), atol=0.03, rtol=0)


def test_cuts_of_sampling():
    logits = torch.tensor([4.0, 3.0, 2.0, -1.0])
    assert {sampler(Sampling(3.0, top_k=2, seed=s))(logits) for s in range(60)} == {0, 1}
    assert {sampler(Sampling(1.0, top_p=0.5, seed=s))(logits) for s in range(60)} == {0}
    assert {sampler(Sampling(9.0, min_p=0.7, seed=s))(logits) for s in range(99)} == {0, 1, 2}
    assert sampler(Sampling())(logits) == 0


@pytest.mark.parametrize("cut", [{"top_k": 5}, {"top_p": 0.5}, {"min_p": 0.1}])
def test_a_cut_of_nothing_is_refused(cut):
    with pytest.raises(XgenError, match="it cuts draws, and at --temperature 0 nothing is drawn"):
        Sampling(**cut)


def test_the_same_seed_draws_the_same():
    logits = torch.linspace(0, 1, 50)
    one, other = (sampler(Sampling(2.0, seed=7)) for _ in range(2))
    assert [one(logits) for _ in range(20)] == [other(logits) for _ in range(20)]


@pytest.mark.parametrize(
    ("field", "number"),
    [("temperature", each) for each in (-1.0, 1e-40, 101.0, math.nan, math.inf)]
    + [
        ("top_k", -1),
        ("top_p", 0.0),
        ("top_p", 1.5),
        ("top_p", math.nan),
        ("min_p", 1.0),
        ("min_p", math.nan),
    ]
    + [("repetition_penalty", each) for each in (0.0, -2.0, math.inf, math.nan)]
    + [("seed", -1), ("seed", 2**63)],
)
def test_a_number_out_of_range_is_named(field, number):
    with pytest.raises(XgenError, match=f"--{field.replace('_', '-')}: .* is out of range; use "):
        Sampling(**{field: number})
