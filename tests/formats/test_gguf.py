import base64
import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.constants import GGMLQuantizationType
from gguf.quants import quantize
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.errors import BadModel, NoRoom
from xgen.formats import folder as folder_format
from xgen.formats import gguf as gguf_format
from xgen.formats.folder import load_weights, read_shape
from xgen.formats.gguf import ROTARY_FACTORS, ROTARY_FIELDS, TESTED_KINDS, convert
from xgen.formats.gguf_file import read_gguf

IDS = torch.arange(4, 40)[None]


def converted(gguf_file: Path) -> dict[str, torch.Tensor]:
    folder = gguf_file.parent / "made"
    convert(gguf_file, folder)
    return load_weights(folder, read_shape(folder / "config.json"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_against_transformers_reading_the_file(architecture: str, make_gguf: Callable) -> None:
    """Their reader of GGUF files: names, the order of rotated rows, biases, theta, the untied head."""
    transformers = pytest.importorskip("transformers")
    pytest.importorskip("accelerate")
    path = make_gguf(architecture, head="other")
    convert(path, path.parent / "made")
    theirs, ours = (
        transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more)
        for folder, more in ((path.parent, {"gguf_file": path.name}), (path.parent / "made", {}))
    )
    assert ours.config.rope_parameters["rope_theta"] == 5000
    assert theirs.state_dict().keys() == ours.state_dict().keys()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(ours.state_dict()[name], tensor.bfloat16().float()), name


@pytest.mark.parametrize("kind", sorted(set(TESTED_KINDS) - {"F32", "F16", "BF16"}))
def test_against_ggml_dequantised(kind: str, golden: Callable, tmp_path: Path) -> None:
    made = golden("ggml_dequantised.json")["kinds"][kind]
    raw, expected = (base64.b64decode(made[key]) for key in ("blocks", "fp32"))
    stored = gguf_format.StoredTensor("x", GGMLQuantizationType[kind], (3, len(expected) // 12), 0, len(raw))
    (tmp_path / "raw").write_bytes(raw)
    with (tmp_path / "raw").open("rb") as file:
        import mmap

        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    source = gguf_format.GGUFFile(tmp_path, {}, {}, data)
    ours = gguf_format._dequantised(source, stored, slice(1, 3)).numpy()
    assert np.array_equal(ours.ravel(), np.frombuffer(expected, np.float32)[len(expected) // 12 :])


@pytest.mark.parametrize("kind", ["F32", "F16", "BF16", "Q8_0", "Q4_1", "Q5_0"])
def test_every_kind_is_converted(kind: str, make_gguf: Callable) -> None:
    exact = {name: t.float() for name, t in converted(make_gguf("qwen2")).items()}
    path = make_gguf("qwen2", kind=kind)
    (path.parent / "made").rename(path.parent / "exact")
    steps = {"Q8_0": 1 / 120, "Q4_1": 1 / 12, "Q5_0": 1 / 12}
    for name, tensor in converted(path).items():
        bound = steps.get(kind, 1 / 128) * exact[name].abs().max()
        assert (tensor.float() - exact[name]).abs().max() <= bound, name


def test_against_gguf_reading_the_header(make_gguf: Callable) -> None:
    path = make_gguf("qwen2", kind="Q8_0", head="same")
    theirs, ours = GGUFReader(path), read_gguf(path)
    values = {key: field.contents() for key, field in theirs.fields.items() if not key.startswith("GGUF.")}
    assert ours.values == values
    assert list(ours.tensors) == [tensor.name for tensor in theirs.tensors]
    for tensor in theirs.tensors:
        stored = ours.tensors[tensor.name]
        assert (stored.kind, list(stored.shape)) == (tensor.tensor_type, tensor.shape.tolist()[::-1])
        assert ours.raw_rows(stored).tobytes() == tensor.data.tobytes()


def test_a_tied_head_takes_the_finer_copy(make_gguf: Callable) -> None:
    path = make_gguf("qwen2", head="same")
    head = np.random.default_rng(7).normal(0, 0.2, (320, 64)).astype(np.float32)
    coarse = quantize(head, GGMLQuantizationType.Q4_1)
    from gguf.quants import dequantize

    path = make_gguf(
        "qwen2",
        tensors={"output.weight": head, "token_embd.weight": dequantize(coarse, GGMLQuantizationType.Q4_1)},
    )
    weights = converted(path)
    assert "head.weight" not in weights
    assert torch.equal(weights["embedding.weight"], torch.from_numpy(head).bfloat16())


def test_two_different_matrices_are_not_tied(make_gguf: Callable) -> None:
    assert "head.weight" in converted(make_gguf("llama", head="other"))


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_against_transformers_the_folder(
    architecture: str, make_gguf: Callable, vocabulary: dict[str, Any]
) -> None:
    transformers = pytest.importorskip("transformers")
    path = make_gguf(architecture)
    convert(path, path.parent / "made")
    theirs = transformers.AutoTokenizer.from_pretrained(path.parent / "made", local_files_only=True)
    text = "the reader reads 1234 <|im_start|>"
    assert theirs.encode(text)[-1] == vocabulary["tokens"].index("<|im_start|>")
    assert theirs.decode(theirs.encode(text)) == text
    assert theirs.eos_token == "<|im_end|>"
    prompt = theirs.apply_chat_template(
        [{"role": "user", "content": "a"}], tokenize=False, add_generation_prompt=True
    )
    assert prompt == "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n"
    model = transformers.AutoModelForCausalLM.from_pretrained(path.parent / "made")
    assert (model.dtype, model.generation_config.eos_token_id) == (torch.bfloat16, [2, 0])


FACTORS = {ROTARY_FACTORS: np.ones(8, np.float32)}
LINEAR = {"llama.rope.scaling.type": "linear"}


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"values": {"llama.rope.scaling.type": "yarn"}}, r"rope\.scaling\.type"),
        ({"values": {"llama.expert_count": 8}}, r"llama\.expert_count"),
        ({"values": {"llama.attention.head_count": 0}}, "head_count"),
        ({"values": {"llama.attention.head_count_kv": 3}}, "3 key heads"),
        ({"values": {"llama.attention.head_count_kv": [2, 2]}}, "head_count_kv"),
        ({"values": {"llama.rope.dimension_count": 8}}, "dimension_count"),
        ({"values": {"llama.attention.layer_norm_rms_epsilon": None}}, "rms_epsilon"),
        ({"values": {"llama.rope.freq_base": float("inf")}}, "freq_base"),
        ({"values": {"llama.block_count": 1}}, r"blk\.1\..* has no place"),
        ({"values": {"llama.block_count": 3}}, r"blk\.2\..* is missing"),
        ({"values": {"llama.block_count": 2**31 - 1}}, "tensors for 2147483647 layers"),
        ({"values": {"tokenizer.ggml.model": "llama"}}, "tokenizer is 'llama'"),
        ({"values": {"tokenizer.ggml.pre": "deepseek-llm"}}, "deepseek-llm"),
        ({"values": {"tokenizer.ggml.add_bos_token": True}}, "adds a token"),
        ({"values": {"tokenizer.ggml.tokens": ["a", "b"]}}, "2 tokens for 320 rows"),
        ({"values": {"tokenizer.ggml.merges": ["ab"]}}, "two parts"),
        ({"values": {"tokenizer.ggml.merges": None}}, "merges"),
        ({"values": {"tokenizer.ggml.eos_token_id": 999}}, "end or padding"),
        ({"values": {"tokenizer.ggml.eos_token_id": None}}, "end or padding"),
        ({"tensors": {ROTARY_FACTORS: np.full(8, 3, np.float32)}}, "in another way than Llama 3"),
        ({"tensors": {ROTARY_FACTORS: np.full(8, np.nan, np.float32)}}, "in another way than Llama 3"),
        ({"tensors": {ROTARY_FACTORS: np.ones(7, np.float32)}}, "in another way than Llama 3"),
        ({"tensors": FACTORS, "values": {ROTARY_FIELDS: "[" * 9999}}, "is not JSON"),
        ({"tensors": FACTORS, "values": {ROTARY_FIELDS: '{"type": "yarn"}'}}, "kind yarn cannot be"),
        (
            {"tensors": FACTORS, "values": {"llama.rope.scaling.factor": 2.0} | LINEAR},
            "in another way than Llama 3",
        ),
        ({"tensors": {"output_norm.weight": None}}, r"output_norm\.weight is missing"),
        ({"tensors": {"token_embd.weight": None}}, "token_embd"),
        (
            {"tensors": {"blk.0.attn_q.weight": np.ones((64, 32), np.float32)}},
            r"attn_q\.weight is \[64, 32\]",
        ),
        ({"kind": "Q4_0"}, "is Q4_0, not"),
    ],
)
def test_what_is_refused_is_named_and_leaves_nothing(
    make_gguf: Callable, change: dict[str, Any], named: str
) -> None:
    path = make_gguf("llama", **change)
    before = sorted(path.parent.iterdir())
    with pytest.raises(BadModel, match=named):
        convert(path, path.parent / "made")
    assert sorted(path.parent.iterdir()) == before


def test_factors_of_rotary_frequencies_have_no_place_in_qwen2(make_gguf: Callable) -> None:
    path = make_gguf("qwen2", tensors=FACTORS)
    with pytest.raises(BadModel, match=r"rope_freqs\.weight has no place"):
        convert(path, path.parent / "made")


def test_another_architecture_is_named(make_gguf: Callable) -> None:
    path = make_gguf("llama")
    path.write_bytes(path.read_bytes().replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0gemma", 1))
    with pytest.raises(BadModel, match="'gemma', not llama or qwen2"):
        convert(path, path.parent / "made")


def test_law_a_cut_or_changed_file_is_one_sentence(make_gguf: Callable) -> None:
    path = make_gguf("llama", kind="Q8_0")
    whole = path.read_bytes()
    header = min(t.start for t in read_gguf(path).tensors.values())

    @given(cut=st.integers(0, len(whole) - 1))
    @settings(max_examples=40, deadline=None)
    def law_cut(cut: int) -> None:
        path.write_bytes(whole[:cut])
        with pytest.raises(BadModel):
            convert(path, path.parent / "made")

    @given(place=st.integers(0, header - 1) | st.integers(0, 200), value=st.integers(0, 255))
    @settings(max_examples=150, deadline=None)
    def law_changed(place: int, value: int) -> None:
        path.write_bytes(whole[:place] + bytes([value]) + whole[place + 1 :])
        try:
            source = read_gguf(path)
            shape = gguf_format.read_gguf_shape(source)
            gguf_format._tokenizer(source, shape)
            gguf_format._tensor_source(source, shape)
        except BadModel:
            pass

    law_cut()
    law_changed()
    assert not (path.parent / "made").exists()


@pytest.mark.parametrize(
    ("place", "number", "what"),
    [
        (0, b"GGML", "does not begin with GGUF"),
        (4, b"\x01\0\0\0", "version is 1"),
        (4, b"\0\0\0\x03", "little-endian"),
        (8, b"\xff" * 8, "claims 18446744073709551615 tensors"),
        (16, b"\xff" * 8, "claims .* values"),
        (24, b"\xff" * 8, "claims a text"),
    ],
)
def test_absurd_numbers_are_named_at_once(make_gguf: Callable, place: int, number: bytes, what: str) -> None:
    path = make_gguf()
    data = path.read_bytes()
    path.write_bytes(data[:place] + number + data[place + len(number) :])
    with pytest.raises(BadModel, match=what):
        read_gguf(path)


def test_a_missing_and_an_empty_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match="No such file"):
        read_gguf(tmp_path / "none.gguf")
    (tmp_path / "empty.gguf").touch()
    with pytest.raises(BadModel, match="empty"):
        read_gguf(tmp_path / "empty.gguf")


def test_a_full_disk_leaves_nothing(make_gguf: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make_gguf()
    tensors_of = gguf_format._tensor_source

    def full_in_the_middle(*words: Any) -> Callable:
        tensor_of = tensors_of(*words)

        def give(name: str) -> torch.Tensor:
            if name.startswith("layers.1"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return tensor_of(name)

        return give

    monkeypatch.setattr(gguf_format, "_tensor_source", full_in_the_middle)
    with pytest.raises(NoRoom, match="disk is full"):
        convert(path, path.parent / "made")
    assert sorted(path.parent.iterdir()) == [path]


def test_tensors_are_converted_one_at_a_time(make_gguf: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    write = folder_format.write_weights
    monkeypatch.setattr(
        gguf_format,
        "write_weights",
        lambda a, b, tensor_of: write(a, b, lambda n: (asked.append(n), tensor_of(n))[1]),
    )
    assert list(converted(make_gguf())) == asked


def test_an_end_token_is_never_in_the_vocabulary_twice(tiny_folder: Path) -> None:
    ids = json.loads((tiny_folder / "generation_config.json").read_text())
    assert ids == {"bos_token_id": None, "pad_token_id": 0, "eos_token_id": [2, 0]}
