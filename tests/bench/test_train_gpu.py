"""What the bench counts; what it measures needs a GPU."""

import dataclasses

import numpy as np
import pytest

pytest.importorskip("pydantic")  # the extra `train`
train_gpu = pytest.importorskip("train_gpu")


@pytest.mark.parametrize("case", train_gpu.cases(), ids=lambda case: case.name)
def test_flops_are_three_forwards_of_every_position(case):
    forwards = sum(case.shape.flops_per_token(position) for position in range(case.length))
    assert train_gpu.step_flops(case) == 3 * forwards * case.tokens // case.length


def test_packed_rows_are_full_rows_of_documents_with_places_of_their_own():
    case = dataclasses.replace(train_gpu.cases()[0], tokens=8192)
    rows = train_gpu.packed_rows(case)
    assert len(rows) == 4
    for row in rows:
        assert len(row.segment) == case.length
        assert len(np.unique(row.segment)) > 1
        for segment in np.unique(row.segment):
            here = np.flatnonzero(row.segment == segment)
            assert np.array_equal(row.position[here], here - here[0])


def test_kernels_belong_to_parts():
    """Names as torch's profiler printed them on an H100."""
    names = {
        "cudnn_generated_fort_native_sdpa_sm90_flash_bprop_wgmma_f16_knob_26_64x64x64_1x4x1": "attention",
        "void pytorch_flash::flash_fwd_kernel<Flash_fwd_kernel_traits<64, cutlass::bfloat16_t>>": "attention",
        "triton_tem_fused_flex_attention_backward_0": "attention",
        "fmha_cutlassB_bf16_aligned_64x64_k64_sm80": "attention",
        "nvjet_sm90_tst_128x256_64x4_1x2_h_bz_coopA_NNN": "matrix products",
        "_softmax_gradient": "softmax of the loss",
        "triton_poi_fused__unsafe_view_mul_silu_3": "everything else",
    }
    assert {name: train_gpu.part_of(name) for name in names} == names
