import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.model.attention import attend_gpu, attend_reference
from xgen.model.attention_cpu import ROWS, attend_cpu


def inputs(n_queries, n_keys, n_heads=6, n_kv_heads=2, head_dim=16, seed=0, n_batch=1):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(n_batch, n_heads, n_queries, head_dim, generator=generator) * 3
    k = torch.randn(n_batch, n_kv_heads, n_keys, head_dim, generator=generator)
    v = torch.randn(n_batch, n_kv_heads, n_keys, head_dim, generator=generator)
    return q, k, v


@pytest.mark.parametrize(
    ("n_queries", "n_keys"), [(1, 1), (1, 300), (17, 17), (20, 333), (ROWS + 9, ROWS + 9)]
)
@pytest.mark.parametrize("attend", [attend_reference, attend_cpu, attend_gpu])
def test_against_torch_sdpa(attend, n_queries, n_keys):
    q, k, v = inputs(n_queries, n_keys)
    mask = torch.arange(n_keys) <= torch.arange(n_keys - n_queries, n_keys)[:, None]
    expected = torch.nn.functional.scaled_dot_product_attention(
        q.double(), k.double(), v.double(), attn_mask=mask, enable_gqa=True
    )
    torch.testing.assert_close(attend(q, k, v, None), expected.float(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attend", [attend_cpu, attend_gpu])
@pytest.mark.parametrize("n_heads", [2, 14])
def test_law_fast_forms_follow_any_mask(attend, n_heads):
    q, k, v = inputs(ROWS + 3, 2 * ROWS, n_heads=n_heads, seed=1)
    mask = torch.rand(ROWS + 3, 2 * ROWS, generator=torch.Generator().manual_seed(2)) < 0.3
    mask[:, 0] = True
    expected = attend_reference(q, k, v, mask)
    torch.testing.assert_close(attend(q, k, v, mask), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("attend", [attend_reference, attend_cpu, attend_gpu])
@pytest.mark.parametrize("n_queries", [1, 7, ROWS + 3])
def test_law_a_mask_for_each_row_equals_each_row_alone(attend, n_queries):
    q, k, v = inputs(n_queries, 300, seed=3, n_batch=3)
    mask = torch.rand(3, n_queries, 300, generator=torch.Generator().manual_seed(4)) < 0.3
    mask[..., 0] = True
    out = attend(q, k, v, mask)
    for b in range(3):
        row = slice(b, b + 1)
        expected = attend_reference(q[row], k[row], v[row], mask[b])
        torch.testing.assert_close(out[row], expected, atol=1e-5, rtol=1e-5)


shapes = st.tuples(st.sampled_from([(1, 1), (3, 1), (6, 2), (14, 2), (4, 4)]), st.sampled_from([8, 16, 64]))
dtypes = st.sampled_from([torch.float32, torch.bfloat16])


@given(
    shape=shapes,
    n_keys=st.integers(1, 400),
    n_queries=st.integers(1, 400),
    n_batch=st.integers(1, 3),
    masked=st.sampled_from(["no", "all alike", "each its own"]),
    dtype=dtypes,
    seed=st.integers(0, 2**30),
)
@settings(max_examples=150, deadline=None)
def test_law_the_cpu_form_equals_the_reference(shape, n_keys, n_queries, n_batch, masked, dtype, seed):
    """Any lengths, heads, masks; keys and values as slices of a cache, queries as the model has them."""
    (n_heads, n_kv_heads), head_dim = shape
    n_queries = min(n_queries, n_keys)
    q, k, v = inputs(n_queries, n_keys + 5, n_heads, n_kv_heads, head_dim, seed, n_batch)
    q = q.transpose(1, 2).contiguous().transpose(1, 2).to(dtype)
    k, v = k[:, :, :n_keys], v[:, :, :n_keys]
    mask = None
    if masked != "no":
        size = (n_queries, n_keys) if masked == "all alike" else (n_batch, n_queries, n_keys)
        mask = torch.rand(size, generator=torch.Generator().manual_seed(seed)) < 0.3
        mask[..., 0] = True
    out, expected = attend_cpu(q, k, v, mask), attend_reference(q.float(), k, v, mask)
    assert out.dtype == dtype
    if dtype == torch.float32:
        torch.testing.assert_close(out, expected, atol=2e-5, rtol=2e-5)
    else:
        assert (out.float() - expected).norm() / expected.norm() < 2e-2


@given(cuts=st.lists(st.integers(1, 599), max_size=5), shape=shapes, dtype=dtypes)
@settings(max_examples=40, deadline=None)
def test_law_any_chunks_of_a_prefill_equal_the_whole(cuts, shape, dtype):
    (n_heads, n_kv_heads), head_dim = shape
    q, k, v = inputs(600, 600, n_heads, n_kv_heads, head_dim)
    q = q.to(dtype)
    edges = sorted({0, 600, *cuts})
    chunks = [attend_cpu(q[:, :, a:b], k[:, :, :b], v[:, :, :b], None) for a, b in itertools.pairwise(edges)]
    out, expected = torch.cat(chunks, 2).float(), attend_reference(q.float(), k, v, None)
    assert (out - expected).norm() / expected.norm() < (1e-5 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("size", [1.0, 30.0, 1e3, 1e8])
def test_scores_of_any_size_are_weighed_as_the_reference_does(dtype, size):
    """Ordinary ones, and such as no exponential holds."""
    q, k, v = inputs(ROWS, 2 * ROWS, seed=6)
    q, k = q.to(dtype), (k * size).to(dtype).float()  # the reference rounds nothing
    out, expected = attend_cpu(q, k, v, None), attend_reference(q.float(), k, v, None)
    assert out.isfinite().all()
    # where scores are thousands the largest wins alone, and which it is bf16 may not tell
    near = ((out.float() - expected).norm(dim=-1) <= 0.03 * expected.norm(dim=-1)).float().mean()
    assert near > (0.99 if dtype == torch.float32 else 0.95 if size == 1 else 0.7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_keys_far_from_zero_are_as_good_as_near_ones(dtype):
    """What all keys have in common moves all scores of a query alike and must cost nothing."""
    q, k, v = inputs(100, 1000, head_dim=64, seed=7)
    common = torch.randn(64, generator=torch.Generator().manual_seed(8)) * 100
    expected = attend_reference(q.to(dtype).float().double(), k.double(), v.double(), None).float()
    out = attend_cpu(q.to(dtype), k + common, v, None).float()
    assert (out - expected).norm() / expected.norm() < (1e-3 if dtype == torch.float32 else 2e-2)


def test_bf16_products_stay_near_fp32():
    q, k, v = (x.bfloat16().float() for x in inputs(64, 200))
    expected = attend_reference(q, k, v, None)
    out = attend_cpu(q.bfloat16(), k, v, None)
    assert (out.float() - expected).norm() / expected.norm() < 1e-2


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine")
@pytest.mark.parametrize(("n_queries", "n_keys"), [(1, 300), (64, 64), (64, 1024)])
def test_gpu_form_against_the_reference(n_queries, n_keys):
    q, k, v = (x.cuda().bfloat16() for x in inputs(n_queries, n_keys, head_dim=64))
    expected = attend_reference(q.float(), k.float(), v.float(), None)
    out = attend_gpu(q, k, v, None).float()
    assert (out - expected).norm() / expected.norm() < 1e-2
