"""Published folders made into ours: against transformers, killed and resumed, and what is refused."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from xgen.bundle import importing, load
from xgen.bundle.carried import Carried
from xgen.bundle.importing import import_model
from xgen.cards import read_card
from xgen.errors import BadModel, NoRoom, XgenError
from xgen.formats.checkpoint import read_checkpoint
from xgen.formats.folder import read_shape
from xgen.model.transformer import Transformer

GOLDEN = Path(__file__).parents[1] / "golden" / "published"
VECTORS = Path(__file__).parents[3] / "shared" / "tokens" / "xgen_vectors.json"
IDS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6, 63, 0]])
FP32 = {"device": "cpu", "dtype": "fp32"}


def logits(model: Any) -> torch.Tensor:
    with torch.inference_mode():
        return model(IDS).logits


def ours(folder: Path) -> torch.Tensor:
    bundle = load(folder, **FP32)
    with torch.inference_mode():
        return bundle.model.logits(bundle.model(IDS))


def test_against_transformers_4_29_as_it_was_published() -> None:
    """Shards, index, buffers and logits of the version that XGen was made with."""
    said = json.loads((GOLDEN / "logits.json").read_text())
    shape = read_shape(GOLDEN / "config.json")
    model = Transformer(shape)
    model.load_state_dict({name: one.read() for name, one in read_checkpoint(GOLDEN, shape).items()})
    with torch.inference_mode():
        found = model.logits(model(torch.tensor([said["ids"]])))[0]
    torch.testing.assert_close(found, torch.tensor(said["logits"]), rtol=1e-4, atol=1e-4)


def test_against_transformers_xgen_is_imported_whole(
    published: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    transformers = pytest.importorskip("transformers")
    source, theirs = published()
    assert len(list(source.glob("pytorch_model-0000*-of-0000*.bin"))) > 1
    target = tmp_path / "mine"
    card = import_model(source, target, "fp32")
    again = transformers.AutoModelForCausalLM.from_pretrained(target, dtype=torch.float32)
    assert torch.equal(logits(again), logits(theirs))
    torch.testing.assert_close(ours(target), logits(theirs), rtol=1e-4, atol=1e-4)
    tokenizer = transformers.AutoTokenizer.from_pretrained(target)
    for vector in json.loads(VECTORS.read_text())[::9]:
        assert tokenizer(vector["text"])["input_ids"] == vector["ids"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "xgen-small"]
    assert sorted(path.name for path in target.iterdir()) == [
        *("README.md", "card.json", "config.json", "generation_config.json", "model.safetensors"),
        *("origin.json", "tokenizer.json", "tokenizer_config.json"),
    ]
    assert (card, card.licence, card.name) == (read_card(target), "Apache-2.0", "xgen-small")
    # what was published wrong is right now, and said
    assert load(target, **FP32).end_ids == {50256}
    for table in (again.config, again.generation_config):
        assert (table.bos_token_id, table.eos_token_id, table.pad_token_id) == (50256, 50256, None)
    told = " ".join(capsys.readouterr().err.split())
    assert "config.json says pad_token_id 0, but XGen begins and ends with 50256" in told
    assert "generation_config.json says bos_token_id 1, eos_token_id 2, pad_token_id 0" in told
    origin = json.loads((target / "origin.json").read_text())
    assert (origin["name"], len(origin["corrected"])) == ("xgen-small", 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"num_key_value_heads": 4, "tie_word_embeddings": False},
        {"num_key_value_heads": 1, "tie_word_embeddings": True},
        {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "head_dim": 16},
        {"rope_scaling": {"rope_type": "linear", "factor": 4.0}},
        {
            "rope_scaling": {
                **{"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0},
                "original_max_position_embeddings": 64,
            }
        },
    ],
    ids=["heads", "grouped, tied", "qwen2", "linear", "llama3"],
)
def test_against_transformers_other_models(
    stranger: Callable, changes: dict[str, Any], tmp_path: Path
) -> None:
    transformers = pytest.importorskip("transformers")
    source, theirs = stranger(**changes)
    import_model(source, tmp_path / "mine", "fp32", quiet=True)
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "mine", dtype=torch.float32)
    assert torch.equal(logits(again), logits(theirs))
    torch.testing.assert_close(ours(tmp_path / "mine"), logits(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shard_size", ["1GB", "40KB"])
def test_safetensors_are_taken_too_and_first(stranger: Callable, shard_size: str, tmp_path: Path) -> None:
    source, theirs = stranger()
    for path in source.glob("*.bin"):
        path.write_bytes(b"not to be read")
    theirs.save_pretrained(source, max_shard_size=shard_size)
    shutil.copy(tmp_path / "tiny" / "config.json", source)
    import_model(source, tmp_path / "mine", "fp32", quiet=True)
    torch.testing.assert_close(ours(tmp_path / "mine"), logits(theirs), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bf16", "fp16", "fp32", None])
def test_numbers_are_those_that_torch_makes_of_them(
    stranger: Callable, dtype: str | None, tmp_path: Path
) -> None:
    source, theirs = stranger()
    import_model(source, tmp_path / "mine", dtype, quiet=True)
    kind = {"fp16": torch.float16, "fp32": torch.float32}.get(dtype or "", torch.bfloat16)
    made = load_file(tmp_path / "mine" / "model.safetensors")
    for name, parameter in theirs.state_dict().items():
        if name != "lm_head.weight":  # it is the embedding
            assert torch.equal(made[name], parameter.to(kind))
    assert json.loads((tmp_path / "mine" / "config.json").read_text())["torch_dtype"] == str(kind)[6:]


def test_16_bits_stay_what_they_are(stranger: Callable, tmp_path: Path) -> None:
    source, _ = stranger()
    import_model(source, tmp_path / "half", "fp16", quiet=True)
    import_model(tmp_path / "half", tmp_path / "again", quiet=True)
    one, other = (tmp_path / name / "model.safetensors" for name in ("half", "again"))
    assert one.read_bytes() == other.read_bytes()


# -- broken off --


class Killed(BaseException):
    """What nobody catches."""


@pytest.mark.parametrize("after", [1, 2, 5, 6, 17])
def test_law_a_broken_import_goes_on_where_it_was(
    stranger: Callable, after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = stranger()
    whole, target, work = (tmp_path / name for name in ("whole", "mine", ".mine.import"))
    import_model(source, whole, quiet=True)
    written: list[Any] = []
    original = importing._to_disk

    def to_disk(file: Any) -> None:
        original(file)
        written.append(file.name)
        if len(written) == after:
            raise Killed

    with monkeypatch.context() as broken:
        broken.setattr(importing, "_to_disk", to_disk)
        with pytest.raises(Killed):
            import_model(source, target, quiet=True)
    assert not target.exists()
    done = (work / "done").read_text().split("\n")[:-1] if (work / "done").exists() else []
    (work / "model" / "half-written").touch(exist_ok=True)
    made: list[str] = []
    converted = importing._converted
    monkeypatch.setattr(
        importing, "_converted", lambda one, kind: made.append(one.name) or converted(one, kind)
    )
    import_model(source, target, quiet=True)
    assert len(made) + len(done) == len(load_file(whole / "model.safetensors"))
    assert (target / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert not work.exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from xgen.bundle import importing
original, written = importing._to_disk, []
def to_disk(file):
    original(file)
    written.append(file)
    if len(written) == 8:
        os.kill(os.getpid(), signal.SIGKILL)
importing._to_disk = to_disk
importing.import_model(Path(sys.argv[1]), Path(sys.argv[2]))
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_process_leaves_nothing_that_the_next_cannot_use(
    stranger: Callable, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, _ = stranger()
    target = tmp_path / "mine"
    words = [sys.executable, "-c", KILLED, str(source), str(target)]
    ended = subprocess.run(words, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True)
    assert ended.returncode == -signal.SIGKILL
    assert not target.exists()
    import_model(source, target)
    assert "going on after 3 of 20 tensors" in capsys.readouterr().err
    import_model(source, tmp_path / "whole", quiet=True)
    one, other = (tmp_path / name / "model.safetensors" for name in ("mine", "whole"))
    assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize("change", ["weights", "dtype", "cut"])
def test_what_was_begun_of_something_else_is_begun_anew(
    stranger: Callable, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = stranger()
    target, work = tmp_path / "mine", tmp_path / ".mine.import"
    with monkeypatch.context() as broken:
        broken.setattr(Carried, "write", lambda self, folder, dtype: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            import_model(source, target, quiet=True)
    assert len((work / "done").read_text().split()) == 20
    dtype = None
    if change == "weights":
        for path in source.glob("*.bin"):
            os.utime(path, ns=(1, 1))
    elif change == "dtype":
        dtype = "fp32"
    else:
        os.truncate(work / "model" / "model.safetensors", 1000)
    made: list[str] = []
    converted = importing._converted
    monkeypatch.setattr(
        importing, "_converted", lambda one, kind: made.append(one.name) or converted(one, kind)
    )
    import_model(source, target, dtype, quiet=True)
    assert len(made) == 20


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_is_too_small_is_told_before_anything_is_written(
    stranger: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = stranger()
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, 33_000_000))
    with pytest.raises(NoRoom, match="34 MB are needed and 33 MB are free"):
        import_model(source, tmp_path / "mine", quiet=True)
    assert left_under(tmp_path) == ["llama.gguf", "stranger", "tiny"]


def test_a_disk_that_fills_keeps_what_is_finished(
    stranger: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, _ = stranger()
    written: list[Any] = []

    def full(file: Any) -> None:
        file.flush()
        written.append(file)
        if len(written) == 9:
            raise OSError(28, "No space left on device")

    with monkeypatch.context() as small:
        small.setattr(importing, "_to_disk", full)
        with pytest.raises(NoRoom, match=r"finished is kept in \.mine\.import; make room"):
            import_model(source, tmp_path / "mine", quiet=True)
    import_model(source, tmp_path / "mine", quiet=True)
    assert load(tmp_path / "mine", **FP32).end_ids


# -- refused --


def left_under(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("value", "dtype", "what"),
    [
        (float("nan"), None, "no finite number"),
        (float("inf"), "fp32", "no finite number"),
        (1e5, "fp16", r"holds 1e\+05, too large for torch.float16; import it with --dtype bf16"),
    ],
)
def test_numbers_that_would_be_lost_are_refused(
    stranger: Callable, value: float, dtype: str | None, what: str, tmp_path: Path
) -> None:
    source, theirs = stranger()
    state = dict(theirs.state_dict())
    state["model.norm.weight"][3] = value
    for path in source.glob("pytorch_model*"):
        path.unlink()
    torch.save(state, source / "pytorch_model.bin")
    before = left_under(tmp_path)
    with pytest.raises(BadModel, match=what):
        import_model(source, tmp_path / "mine", dtype, quiet=True)
    assert left_under(tmp_path) == before


def change_index(folder: Path, **changes: Any) -> None:
    path = folder / "pytorch_model.bin.index.json"
    table = json.loads(path.read_text())
    table["weight_map"] |= changes.pop("weight_map", {})
    path.write_text(json.dumps(table | changes))


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda folder: change_index(folder, metadata={"total_size": 5}), "says 5 bytes of tensors"),
        (
            lambda folder: change_index(
                folder, weight_map={"model.norm.weight": "pytorch_model-00001-of-00011.bin"}
            ),
            "model.norm.weight is in pytorch_model-00001-of-00011.bin, where it is not",
        ),
        (lambda folder: change_index(folder, weight_map={"x": "../x.bin"}), "weight_map"),
        (lambda folder: change_index(folder, weight_map={"x": "x.bin"}), r"shard x\.bin is missing"),
        (
            lambda folder: shutil.copy(
                folder / "pytorch_model-00001-of-00011.bin", folder / "pytorch_model-00002-of-00011.bin"
            ),
            "stands in two files",
        ),
        (lambda folder: [path.unlink() for path in folder.glob("pytorch*")], "it has none of"),
        (lambda folder: os.truncate(folder / "pytorch_model-00003-of-00011.bin", 9000), "cut off"),
        (lambda folder: (folder / "config.json").unlink(), "it has no config.json"),
        (lambda folder: (folder / "tokenizer.json").unlink(), "it has no tokenizer.json"),
        (lambda folder: change(folder, "config.json", hidden_size=32), r"not floats \[320, 32\]"),
        (lambda folder: change(folder, "config.json", sliding_window=5, use_sliding_window=True), "sliding"),
        (
            lambda folder: change(folder, "generation_config.json", eos_token_id=[320]),
            r"eos_token_id is \[320\]",
        ),
        (lambda folder: change(folder, "generation_config.json", pad_token_id="x"), "pad_token_id is 'x'"),
        (lambda folder: change(folder, "tokenizer_config.json", chat_template="{{"), "chat template"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_stays(
    stranger: Callable, damage: Callable[[Path], Any], what: str, tmp_path: Path
) -> None:
    source, _ = stranger()
    damage(source)
    before = left_under(tmp_path)
    with pytest.raises(BadModel, match=what):
        import_model(source, tmp_path / "mine", quiet=True)
    assert left_under(tmp_path) == before


def change(folder: Path, name: str, **changes: Any) -> None:
    path = folder / name
    table = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({key: value for key, value in table.items() if value is not None}))


def test_a_folder_that_is_there_and_an_unknown_type_are_refused(stranger: Callable, tmp_path: Path) -> None:
    source, _ = stranger()
    (tmp_path / "mine").mkdir()
    with pytest.raises(BadModel, match="it is there already"):
        import_model(source, tmp_path / "mine")
    with pytest.raises(XgenError, match="use bf16, fp16, fp32"):
        import_model(source, tmp_path / "other", "int4")
