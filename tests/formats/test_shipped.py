import json
from pathlib import Path

import pytest
import torch

from xgen.errors import BadModel
from xgen.formats.folder import load_weights, read_shape
from xgen.formats.shipped import expand_model, pack_model


@pytest.fixture
def shipped(tiny_folder: Path, tmp_path: Path) -> Path:
    pack_model(tiny_folder, tmp_path / "tiny.safetensors")
    return tmp_path / "tiny.safetensors"


def test_law_a_weight_comes_back_within_half_a_step_of_its_row(tiny_folder, shipped, tmp_path) -> None:
    expand_model(shipped, tmp_path / "again")
    shape = read_shape(tmp_path / "again" / "config.json")
    assert shape == read_shape(tiny_folder / "config.json")
    before, after = (load_weights(folder, shape) for folder in (tiny_folder, tmp_path / "again"))
    for name, weight in before.items():
        if weight.ndim == 2:
            steps = weight.float().abs().amax(1, keepdim=True) / 127
            error = (weight.float() - after[name].float()).abs()
            # half a step, and what bf16 rounds: 8 bits of the value, of the scale too
            assert (error <= 0.5 * steps * 1.01 + weight.float().abs() * 2**-7).all(), name
        else:
            assert torch.equal(weight, after[name])


def test_the_texts_of_the_folder_come_back_as_they_were(tiny_folder, shipped, tmp_path) -> None:
    expand_model(shipped, tmp_path / "again")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json", "config.json"):
        assert (tmp_path / "again" / name).read_text() == (tiny_folder / name).read_text()


def test_it_is_half_as_large(tiny_folder, shipped) -> None:
    texts = sum(path.stat().st_size for path in tiny_folder.glob("*.json"))
    assert shipped.stat().st_size < 0.62 * (tiny_folder / "model.safetensors").stat().st_size + texts


def test_a_folder_that_is_there_is_left_alone(shipped, tmp_path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "notes").write_text("mine")
    expand_model(shipped, folder)
    assert [path.name for path in folder.iterdir()] == ["notes"]


@pytest.mark.parametrize("damage", ["cut", "no texts", "other form", "not a file of tensors"])
def test_a_damaged_file_is_one_sentence_and_leaves_nothing(shipped, tmp_path, damage) -> None:
    from safetensors.torch import load_file, save_file

    if damage == "cut":
        shipped.write_bytes(shipped.read_bytes()[:-100])
    elif damage == "not a file of tensors":
        shipped.write_text(json.dumps({"a": 1}))
    else:
        tensors = load_file(shipped)
        if damage == "no texts":
            del tensors["texts"]
        save_file(tensors, shipped, {"form": "1" if damage == "no texts" else "9"})
    with pytest.raises(BadModel) as caught:
        expand_model(shipped, tmp_path / "again")
    assert "install the package again" in str(caught.value)
    assert not (tmp_path / "again").exists()
