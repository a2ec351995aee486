"""Weights in layers of 4 bits, from the folder to the first pass of one token."""

from pathlib import Path
from typing import Any

import pytest
import torch
from gguf.constants import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.torch import load_file, save_file

from xgen.bundle import int4_copies, int8_copies, load, loading
from xgen.engine import machine
from xgen.engine.one_token_cpu import one_token_for
from xgen.model.int4 import WeightInt4

Q4_1 = GGMLQuantizationType.Q4_1


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine on which 4-bit weights pay; grows with each matrix that is looked at."""
    choice = machine.Choice(torch.bfloat16, 4, {}, int4=True)
    monkeypatch.setattr(loading, "choice_for", lambda device: choice)
    looked: list[int] = []
    original = int4_copies.packed_weight
    monkeypatch.setattr(int4_copies, "packed_weight", lambda w: looked.append(1) or original(w))
    return looked


@pytest.fixture
def four_bits(tiny_folder: Path) -> Path:
    """The tiny model with the weights that a 4-bit file of it holds, but for one layer's."""
    file = tiny_folder / "model.safetensors"
    weights = load_file(file)
    for name, weight in weights.items():
        if weight.ndim == 2 and ".layers.0." in name:
            values = dequantize(quantize(weight.float().numpy(), Q4_1), Q4_1)
            weights[name] = torch.from_numpy(values).bfloat16()
    save_file(weights, file, {"format": "pt"})
    return tiny_folder


def logits_of(bundle: Any) -> torch.Tensor:
    with torch.inference_mode():
        logits: torch.Tensor = bundle.model.logits(bundle.model(torch.tensor([[5, 9, 100]])))
    return logits


def test_4_bit_weights_are_found_once_and_kept(four_bits: Path, made: list[int], home: Path) -> None:
    plain = load(four_bits, device="cpu", dtype="bf16")
    assert made == []
    first, again = (load(four_bits, device="cpu") for _ in range(2))
    assert len(made) == 7 * first.shape.n_layers + 1, "and the vocabulary's"
    widths = [layer.gate.packed.shape[1] / layer.gate.in_features for layer in again.model.layers]
    assert widths == [0.5] + [1] * (len(widths) - 1), "bytes a weight: one layer of 4 bits, or two"
    assert (type(again.model.head), type(again.model.embedding)) == (WeightInt4, torch.nn.Embedding)
    assert torch.equal(logits_of(first), logits_of(again))
    assert 0 < (logits_of(first) - logits_of(plain)).norm() / logits_of(plain).norm() < 0.05
    assert one_token_for(again.model, again.empty_cache(4)) is not None
    assert len([*(home / "int8").iterdir()]) == 2
    assert load(four_bits, device="cpu", dtype="int8").int8_only
    assert len(made) == 7 * first.shape.n_layers + 1, "8 bits alone have no use for them"


@pytest.mark.parametrize("change", ["weights", "cut", "kernel"])
def test_copies_of_others_are_made_anew(
    four_bits: Path, made: list[int], home: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(four_bits, device="cpu")
    n_first = len(made)
    if change == "weights":
        file = four_bits / "model.safetensors"
        data = bytearray(file.read_bytes())
        data[-1] ^= 1
        file.write_bytes(data)
    elif change == "cut":
        for path in (home / "int8").iterdir():
            path.write_bytes(path.read_bytes()[:-1])
    else:
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: "OTHER")
    load(four_bits, device="cpu")
    load(four_bits, device="cpu")
    assert len(made) == 2 * n_first


def test_a_document_that_was_read_with_other_weights_or_another_form_is_not_taken(
    four_bits: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before, plain = (
        load(four_bits, device="cpu").identity,
        load(four_bits, device="cpu", dtype="bf16").identity,
    )
    assert load(four_bits, device="cpu").identity == before
    monkeypatch.setattr(loading, "INT4_FORM", loading.INT4_FORM + 1)
    other_form = load(four_bits, device="cpu").identity
    assert load(four_bits, device="cpu", dtype="bf16").identity == plain
    eight_bits = machine.Choice(torch.bfloat16, 4, {})
    monkeypatch.setattr(loading, "choice_for", lambda device: eight_bits)
    assert len({before, other_form, load(four_bits, device="cpu").identity}) == 3


def test_the_first_start_says_what_it_does(
    four_bits: Path, made: list[int], capsys: pytest.CaptureFixture[str]
) -> None:
    said = []
    for _ in range(2):
        load(four_bits, device="cpu")
        said.append(capsys.readouterr().err)
    assert f"4 bits: {len(made)} matrices" in said[0]
    assert "matrices" not in said[1]


def test_an_adapter_makes_them_two_layers(
    four_bits: Path, adapter: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = load(four_bits, device="cpu", adapter=adapter)
    exact = load(four_bits, device="cpu", dtype="bf16", adapter=adapter)
    assert (logits_of(found) - logits_of(exact)).norm() / logits_of(exact).norm() < 0.05
    q = found.model.layers[0].q
    assert q.packed.shape[1] == q.in_features, "two layers"


def test_a_full_disk_costs_what_is_kept(
    four_bits: Path, made: list[int], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(int8_copies, "write_tensors", full)
    first, again = (load(four_bits, device="cpu") for _ in range(2))
    assert torch.equal(logits_of(first), logits_of(again))
    assert type(again.model.layers[0].up) is WeightInt4
