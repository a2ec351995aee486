import copy
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from xgen.bundle import int8_copies, load, loading
from xgen.bundle.finding import find
from xgen.engine import machine
from xgen.engine.speculate import LONGEST_DRAFT
from xgen.formats.gguf import convert
from xgen.model.int8 import ALIGNMENT
from xgen.model.shape import SHAPES

FP32 = {"device": "cpu", "dtype": "fp32"}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def four_rows(home: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """A machine on which 8-bit weights pay for four rows; grows with each making of such weights."""
    choice = machine.Choice(torch.bfloat16, 4, {})
    monkeypatch.setattr(loading, "choice_for", lambda device: choice)
    made: list[int] = []
    original = int8_copies.quantised_weight

    def counted(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        made.extend([1] * (len(weight) == 320))  # the embedding
        return original(weight)

    monkeypatch.setattr(int8_copies, "quantised_weight", counted)
    return made


def test_8_bit_weights_are_made_once_and_kept(tiny_folder: Path, four_rows: list[int], home: Path) -> None:
    ids = torch.tensor([[5, 9, 100]])
    before = sorted(tiny_folder.rglob("*"))
    plain = load(tiny_folder, device="cpu", dtype="bf16")
    assert four_rows == []
    first, again = (load(tiny_folder, device="cpu") for _ in range(2))
    assert len(four_rows) == 1
    with torch.inference_mode():
        one, other, exact = (b.model.logits(b.model(ids)) for b in (first, again, plain))
    assert torch.equal(one, other)
    assert 0 < (one - exact).norm() / exact.norm() < 0.05
    assert first.identity == again.identity != plain.identity
    layer = again.model.layers[0].q
    assert layer.int8_NK.data_ptr() % ALIGNMENT == 0
    assert (first.longest_draft, plain.longest_draft) == (3, LONGEST_DRAFT)
    (copy,) = (home / "int8").iterdir()
    assert int8_copies.int8_copies() == [("tiny", copy.stat().st_size)]
    assert sorted(tiny_folder.rglob("*")) == before, "a user's folder stays as it is"


@pytest.mark.parametrize("kind", ["llama", "qwen2"])
@pytest.mark.parametrize("head", [None, "other"])
def test_8_bit_weights_alone_are_what_the_file_says_in_8_bits(
    make_gguf: Callable[..., Path],
    tmp_path: Path,
    four_rows: list[int],
    kind: str,
    head: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The whole model, in few rows and many, beside one whose weights were replaced by what 8 bits hold."""
    monkeypatch.setattr(int8_copies, "MOST_COMPENSATED", 0)
    convert(make_gguf(kind, head=head), tmp_path / "m")
    for _ in range(2):
        found = load(tmp_path / "m", device="cpu", dtype="int8")
    assert len(four_rows) == (2 if head else 1)
    assert (found.dtype, found.int8_only, found.longest_draft) == (torch.bfloat16, True, LONGEST_DRAFT)
    plain = load(tmp_path / "m", device="cpu", dtype="bf16")
    assert found.identity not in (plain.identity, load(tmp_path / "m", device="cpu").identity)
    assert {p.ndim for p in found.model.parameters()} == {1}
    n_weights = sum(p.numel() for p in plain.model.parameters() if p.ndim == 2)
    assert sum(b.nbytes for b in found.model.buffers() if b.dtype == torch.int8) == n_weights
    exact = load(tmp_path / "m", **FP32)
    with torch.no_grad():
        for p in exact.model.parameters():
            if p.ndim == 2:
                step = (p.abs().amax(1, keepdim=True).float() / 127).bfloat16().float()
                p.copy_((p.float() / step).round().clamp(-127, 127) * step)
    in_bf16 = copy.deepcopy(exact.model).bfloat16()
    for n_tokens in (3, 40):
        ids = torch.randint(0, 320, (1, n_tokens), generator=torch.Generator().manual_seed(n_tokens))
        with torch.inference_mode():
            ours, expected, usual = (m.logits(m(ids)) for m in (found.model, exact.model, in_bf16))
        assert (ours - expected).norm() < 1.1 * (usual - expected).norm() < 0.1 * expected.norm()


def test_8_bit_weights_alone_with_an_adapter(tiny_folder: Path, adapter: Path, home: Path) -> None:
    ids = torch.tensor([[5, 9, 100]])
    plain = load(tiny_folder, **FP32, adapter=adapter)
    found = load(tiny_folder, device="cpu", dtype="int8", adapter=adapter)
    with torch.inference_mode():
        ours, exact = (b.model.logits(b.model(ids)) for b in (found, plain))
        without = (b := load(tiny_folder, **FP32)).model.logits(b.model(ids))
    assert (ours - exact).norm() / exact.norm() < 0.05 < (without - exact).norm() / exact.norm()


@pytest.mark.parametrize("damage", ["weights", "kept", "cut"])
def test_8_bit_weights_of_others_or_damaged_are_made_anew(
    tiny_folder: Path, four_rows: list[int], home: Path, damage: str
) -> None:
    load(tiny_folder, device="cpu")
    (kept,), weights = (home / "int8").iterdir(), tiny_folder / "model.safetensors"
    if damage == "weights":
        data = bytearray(weights.read_bytes())
        data[-1] ^= 1
        weights.write_bytes(data)
    else:
        kept.write_bytes(b"no such file" if damage == "kept" else kept.read_bytes()[:-1])
    load(tiny_folder, device="cpu")
    load(tiny_folder, device="cpu")
    assert len(four_rows) == 2
    assert list((home / "int8").iterdir()) == [kept], "the old ones are overwritten"


def test_clearing_takes_old_drafts_too(tiny_folder: Path, four_rows: list[int], home: Path) -> None:
    load(tiny_folder, device="cpu")
    (kept,) = (home / "int8").iterdir()
    old, young = (kept.with_name(f".{kept.name}.{digit * 32}") for digit in "ab")
    for draft in (old, young):
        draft.write_bytes(b"half")
    os.utime(old, (0, 0))
    n_bytes = kept.stat().st_size + 4
    assert int8_copies.clear_int8_copies() == n_bytes
    assert list((home / "int8").iterdir()) == [young], "somebody may be writing it"


@pytest.mark.parametrize("is_known_before", [False, True])
def test_a_full_disk_costs_the_8_bit_weights_that_are_kept(
    tiny_folder: Path,
    four_rows: list[int],
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    is_known_before: bool,
) -> None:
    """Which is said. What would not fit is not begun: the last bytes of a disk are for others."""

    def full(*words: Any) -> None:
        raise OSError(28, "No space left on device")

    if is_known_before:
        usage = shutil.disk_usage(home.parent)._replace(free=50_000)
        monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    else:
        monkeypatch.setattr(int8_copies, "write_tensors", full)
    for _ in range(2):
        load(tiny_folder, device="cpu")
        assert "the copy of the weights in fewer bits is not kept" in capsys.readouterr().err
    assert len(four_rows) == 2
    assert [*home.glob("int8/*")] == []


def test_8_bit_copies_are_the_adapters_own(
    tiny_folder: Path, adapter: Path, four_rows: list[int], home: Path
) -> None:
    ids = torch.tensor([[5, 9, 100]])
    exact = load(tiny_folder, device="cpu", dtype="bf16", adapter=adapter)
    for _ in range(2):  # neither takes the other's, nor overwrites them
        load(tiny_folder, device="cpu")
        found = load(tiny_folder, device="cpu", adapter=adapter)
    assert (len(four_rows), len(list((home / "int8").iterdir()))) == (2, 2)
    with torch.inference_mode():
        one, other = (b.model.logits(b.model(ids)) for b in (found, exact))
    assert 0 < (one - other).norm() / other.norm() < 0.05


def test_copies_of_the_packages_own_adapters_do_not_pile_up(
    tiny_folder: Path, adapter: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Where the package lies changes with each installation; another folder of that name has its own."""
    found, places = find(str(tiny_folder), str(adapter)), []
    for place in ("one", "other"):
        monkeypatch.setattr(int8_copies, "shipped_adapter", lambda name, place=place: tmp_path / place / name)
        places.append(int8_copies.place_of_copy(replace(found, adapter=tmp_path / place / "reader"), ""))
    assert places[0] == places[1]
    assert int8_copies.place_of_copy(replace(found, adapter=tmp_path / "reader"), "") not in places


def test_8_bits_alone_are_rounded_with_care_and_kept_apart(
    tiny_folder: Path, four_rows: list[int], home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Large models, Qwen2's and what serves a few tokens are rounded plainly."""
    assert [int8_copies.can_be_compensated(SHAPES[name]) for name in ("smollm2", "qwen-0.5b", "xgen-7b")] == [
        True,
        False,
        False,
    ]
    careful = load(tiny_folder, device="cpu", dtype="int8")
    assert four_rows == []
    beside = load(tiny_folder, device="cpu")
    assert (len(four_rows), len(list((home / "int8").iterdir()))) == (1, 2)
    monkeypatch.setattr(int8_copies, "MOST_COMPENSATED", 0)
    plain = load(tiny_folder, device="cpu", dtype="int8")
    first, second, third = (b.model.layers[1].gate.int8_NK for b in (careful, beside, plain))
    assert torch.equal(second, third)
    assert 0 < (first != second).float().mean() < 0.9
    assert (first.int() - second.int()).abs().max() < 5


def test_a_document_that_was_read_with_8_bits_of_another_form_is_not_taken(
    tiny_folder: Path, four_rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [{"dtype": "int8"}, {}, {"dtype": "fp32"}]

    def identities() -> list[str]:
        return [load(tiny_folder, device="cpu", **setting).identity for setting in settings]

    before = identities()
    monkeypatch.setattr(loading, "INT8_FORM", loading.INT8_FORM + 1)
    after = identities()
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False, True]
