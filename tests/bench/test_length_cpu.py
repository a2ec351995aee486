import json
from collections.abc import Callable
from pathlib import Path

import length_cpu
import pytest

from xgen.formats.gguf import convert


def test_parts_make_the_whole_and_are_drawn(
    make_gguf: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(make_gguf(values={"llama.context_length": 4096}), tmp_path / "tiny")
    out, plot = tmp_path / "result.json", tmp_path / "plot.svg"
    words = ["--models", str(tmp_path / "tiny"), "--lengths", "64,200,400", "--out", str(out)]
    length_cpu.main(words)
    (result,) = json.loads(out.read_text())["models"]
    assert list(result["parts"]) == ["64", "200", "400"]
    for seconds in result["parts"].values():
        assert all(seconds[part] >= 0 for part in length_cpu.PARTS)
        assert sum(seconds.values()) > 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["models"] == [result]
    pytest.importorskip("matplotlib")
    result["peers"] = {"a peer": {"64": 1.0, "400": 2.0}}
    length_cpu.draw([result], plot)
    drawn = plot.read_text()
    assert drawn.startswith("<?xml")
    assert "a peer" in drawn or "<path" in drawn


@pytest.mark.parametrize("dtype", ["fp32", "int8"])
def test_every_map_of_a_layer_is_timed_in_whatever_bits_it_is(
    make_gguf: Callable[..., Path], tmp_path: Path, dtype: str
) -> None:
    from xgen.bundle import load
    from xgen.model.lora import TARGETS

    convert(make_gguf(), tmp_path / "tiny")
    bundle = load(tmp_path / "tiny", device="cpu", dtype=dtype)
    length_cpu.parts(bundle, list(range(3, 70)), [64])
    for layer in bundle.model.layers:
        assert all("forward" in vars(layer.get_submodule(name)) for name in TARGETS)
