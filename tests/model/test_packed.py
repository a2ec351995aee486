import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.model.attention import attend_reference
from xgen.model.packed import attend_packed, kind_of, mask_of, packed_for

CPU = torch.device("cpu")


def rows(pieces, n_tokens, questions=False):
    """One row per list of lengths; with `questions` every piece after the first asks about the first."""
    segment = np.full((len(pieces), n_tokens), -1, np.int32)
    context = np.full((len(pieces), n_tokens), -1, np.int32)
    for b, lengths in enumerate(pieces):
        at = 0
        for index, length in enumerate(lengths):
            segment[b, at : at + length] = index
            context[b, at : at + length] = 0 if questions else index
            at += length
    return segment, context


def inputs(n_rows, n_tokens, n_heads=4, n_kv_heads=2, head_dim=16, seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [(n_rows, n, n_tokens, head_dim) for n in (n_heads, n_kv_heads, n_kv_heads)]
    return [torch.randn(size, generator=generator) * 2 for size in sizes]


def test_the_rule_as_words_say_it():
    """Written out by hand: a document of two tokens, a question of two about it, another of one, padding."""
    segment, context = rows([[2, 2, 1]], 6, questions=True)
    seen = mask_of(torch.from_numpy(segment), torch.from_numpy(context))[0].int()
    expected = [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 1],
    ]
    assert seen.tolist() == expected


lengths = st.lists(st.integers(1, 14), min_size=1, max_size=5).filter(lambda pieces: sum(pieces) <= 40)


@given(pieces=st.lists(lengths, min_size=1, max_size=3), questions=st.booleans(), seed=st.integers(0, 999))
@settings(max_examples=60, deadline=None)
def test_law_a_packed_row_equals_its_pieces_one_by_one(pieces, questions, seed):
    segment, context = rows(pieces, 40, questions)
    q, k, v = inputs(len(pieces), 40, seed=seed)
    kind = kind_of(segment, context, CPU)
    out = attend_packed(q, k, v, packed_for(CPU, segment, context, kind))
    for b, row in enumerate(pieces):
        at = 0
        for index, length in enumerate(row):
            own = torch.arange(at, at + length)
            seen = torch.cat((torch.arange(row[0]), own)) if questions and index else own
            here = q[b : b + 1, :, own], k[b : b + 1, :, seen], v[b : b + 1, :, seen]
            torch.testing.assert_close(out[b, :, own], attend_reference(*here, None)[0], atol=1e-5, rtol=1e-5)
            at += length


@pytest.mark.parametrize("questions", [False, True])
def test_law_perturbing_one_document_moves_no_gradient_of_another(questions):
    """Two documents (or two questions about one) and padding; the other one's gradients stay bit for bit."""
    segment, context = rows([[20, 13, 17]], 64, questions)
    packed = packed_for(CPU, segment, context, kind_of(segment, context, CPU))
    check_perturbation(packed, slice(20, 33), slice(33, 50), CPU, torch.float32)


def check_perturbation(packed, changed, other, device, dtype, attend=attend_packed):
    gradients = []
    for noise in (0.0, 1.0):
        q, k, v = (x.to(device, dtype) for x in inputs(1, 64))
        for x in (q, k, v):
            x[:, :, changed] += noise
            x.requires_grad_()
        weights = inputs(1, 64, seed=1)[0].to(device, dtype)
        out = attend(q, k, v, packed)
        (out * weights)[:, :, other].sum().backward()
        assert all(x.grad[:, :, other].abs().sum() > 0 for x in (q, k, v))
        assert all(x.grad[:, :, changed].abs().sum() == 0 for x in (q, k, v))
        assert all(x.grad[:, :, 50:].abs().sum() == 0 for x in (q, k, v)), "padding"
        gradients.append([x.grad[:, :, other] for x in (q, k, v)])
    for before, after in zip(*gradients, strict=True):
        assert torch.equal(before, after)


def test_padding_is_finite_and_the_kind_is_seen():
    segment, context = rows([[5, 6]], 16)
    q, k, v = inputs(1, 16)
    assert attend_packed(q, k, v, packed_for(CPU, segment, context, "dense")).isfinite().all()
    gpu = torch.device("cuda")
    assert kind_of(segment, context, CPU) == "dense"
    assert kind_of(segment, context, gpu) == "documents"
    assert kind_of(*rows([[16]], 16), gpu) == "whole"
    assert kind_of(*rows([[5, 4, 4]], 16, questions=True), gpu) == "groups"


needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")


def on_gpu(pieces, n_tokens, kind, questions):
    """The form for these rows and the attention as the compiled layers call it."""
    device = torch.device("cuda")
    segment, context = rows(pieces, n_tokens, questions)
    assert kind_of(segment, context, device) == kind
    attend = torch.compile(attend_packed, fullgraph=True, dynamic=False)
    dense = packed_for(device, segment, context, "dense")
    return attend, packed_for(device, segment, context), dense, torch.from_numpy(segment >= 0)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("kind", ["documents", "groups"])
def test_law_on_a_gpu_perturbing_one_document_moves_no_gradient_of_another(kind):
    attend, packed, _, _ = on_gpu([[20, 13, 17]], 64, kind, kind == "groups")
    check_perturbation(packed, slice(20, 33), slice(33, 50), torch.device("cuda"), torch.bfloat16, attend)


@pytest.mark.gpu
@needs_gpu
@pytest.mark.parametrize("n_heads", [6, 9])
@pytest.mark.parametrize("kind", ["whole", "documents", "groups"])
def test_gpu_forms_and_their_gradients_against_the_dense_form_in_fp32(kind, n_heads):
    pieces = [[384], [384]] if kind == "whole" else [[200, 31, 100], [1, 1, 360, 22]]
    attend, packed, dense, real = on_gpu(pieces, 384, kind, kind == "groups")
    q, k, v = (x.cuda().bfloat16() for x in inputs(2, 384, n_heads, 3, 64))
    weights = inputs(2, 384, n_heads, 3, 64, seed=1)[0].cuda() * real[:, None, :, None].cuda()
    results = []
    for form, here, dtype in ((attend, packed, torch.bfloat16), (attend_packed, dense, torch.float32)):
        leaves = [x.to(dtype).requires_grad_() for x in (q, k, v)]
        out = form(*leaves, here)
        results.append([out * (weights != 0), *torch.autograd.grad((out * weights).sum(), leaves)])
    for ours, expected in zip(*results, strict=True):
        assert (ours.float() - expected).norm() / expected.norm() < 2e-2
