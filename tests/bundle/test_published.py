"""A published model pulled from a hub on this machine: told before, checked, at one commit."""

import dataclasses
import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from xgen import hub as hub_module
from xgen.bundle import load, published, pull
from xgen.bundle.exporting import export_folder
from xgen.bundle.importing import import_model
from xgen.bundle.published import pull_published
from xgen.cards import CARDS, write_card
from xgen.errors import BadModel, NoRoom, NotPulled, XgenError
from xgen.hub import Published

FP32 = {"device": "cpu", "dtype": "fp32"}
COMMIT = "c" * 40
STRANGER = "owner/A-Model"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(hub_module, "PAUSE_S", 0.0)
    return tmp_path / "home"


@pytest.fixture(params=[True, False], ids=["all before", "one by one"])
def source(stranger: Callable, hub: Any, request: pytest.FixtureRequest) -> Path:
    """A folder of strangers, on the hub with much that nobody asked for.

    Where its head is tied, all shards come before the import; else each is imported and removed.
    """
    folder, _ = stranger(tie_word_embeddings=request.param)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    hub.add_folder(folder)
    hub.hub_id = STRANGER
    hub.files |= {"modeling_x.py": b"raise SystemExit", "training_args.bin": b"x", "model.onnx": b"y"}
    hub.files |= {"flax_model.msgpack": b"z", "original.pth": b"w"}
    return folder


def asked_for(hub: Any) -> list[str]:
    return [path.rpartition("/")[2] for path, _ in hub.asked if "resolve" in path]


def test_a_model_of_the_hub_is_brought_and_found_by_its_id(
    hub: Any, source: Path, home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = pull(STRANGER)
    assert folder == home / "models" / "owner--A-Model"
    import_model(source, tmp_path / "by-hand", quiet=True)
    one, other = (f / "model.safetensors" for f in (folder, tmp_path / "by-hand"))
    assert one.read_bytes() == other.read_bytes()
    bundle = load(STRANGER, **FP32)
    assert (bundle.folder, bundle.card.name, bundle.card.licence) == (folder, "A-Model", "MIT")
    origin = json.loads((folder / "origin.json").read_text())
    assert (origin["name"], origin["revision"]) == (STRANGER, COMMIT)
    shards = {path.name: path.stat().st_size for path in source.glob("*.bin")}
    assert origin["files"] == shards
    wanted = {*shards, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"}
    assert set(asked_for(hub)) == wanted | {"README.md", "pytorch_model.bin.index.json"}
    assert sorted(path.name for path in folder.parent.iterdir()) == ["owner--A-Model"]
    told = capsys.readouterr().err
    assert "owner/A-Model at cccccccccccc: 0.0 GB to bring, 0.0 GB on the disk at once, 0.0 GB in the" in told
    assert (
        "reading 128 tokens with it takes 0.0 GB of memory in 16 bits, 0.0 GB in 8; this machine has" in told
    )
    n = len(hub.asked)
    assert pull(STRANGER, quiet=True) == folder
    assert len(hub.asked) == n, "a second pull asks nobody"


def test_xgen_is_pulled_by_its_name_with_the_card_that_is_known(
    hub: Any, stranger: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "xgen-7b-8k-inst"
    hub.add_folder(stranger()[0])
    with pytest.raises(BadModel, match="82,240 parameters, xgen-7b-8k-inst has 6,895,702,016"):
        pull(name, quiet=True)
    monkeypatch.setitem(CARDS, name, dataclasses.replace(CARDS[name], n_parameters=82_240))
    assert pull(name, quiet=True) == home / "models" / name
    card = load(name, **FP32).card
    assert (card.name, card.licence, card.commercial_use) == (name, "research only", False)
    assert card.licence_source.endswith("(known by its name, Salesforce/xgen-7b-8k-inst)")
    assert pull("Salesforce/xgen-7b-8k-inst", quiet=True) == home / "models" / name


def test_a_pull_that_was_stopped_goes_on_at_its_commit(hub: Any, source: Path, home: Path) -> None:
    first, second, shard, *_ = sorted(path.name for path in source.glob("*.bin"))
    tied = json.loads((source / "config.json").read_text())["tie_word_embeddings"]
    hub.breaks[shard] = [5000, 0, 0, 0, 0, 0]
    with pytest.raises(NotPulled, match="broke off 5 times"):
        pull(STRANGER, quiet=True)
    work = home / "models" / ".owner--A-Model.hub"
    assert (work / COMMIT / f"{shard}.part").stat().st_size == 5000
    finished = sorted(path.name for path in (work / COMMIT).glob("*.bin"))
    assert finished == ([first, second] if tied else []), "what is imported has gone"
    assert (home / "models" / ".owner--A-Model.import" / "done").exists() != tied
    hub.asked.clear()
    folder = pull(STRANGER, quiet=True)
    assert hub.asked[0][0].startswith(f"/api/models/{STRANGER}/revision/{COMMIT}"), "main may have moved"
    assert not set(asked_for(hub)) & {first, second, "config.json"}
    assert [wanted for path, wanted in hub.asked if path.endswith(shard)] == ["bytes=5000-"]
    assert load(folder, **FP32).end_ids
    assert not work.exists()


def test_a_shard_that_is_refused_takes_nothing_finished_with_it(hub: Any, source: Path, home: Path) -> None:
    first, second, shard, *_ = sorted(path.name for path in source.glob("*.bin"))
    right = hub.files[shard]
    hub.wrong[shard] = b"?" * len(right)
    with pytest.raises(BadModel, match="its digest is"):
        pull(STRANGER, quiet=True)
    hub.wrong.clear()
    hub.asked.clear()
    folder = pull(STRANGER, quiet=True)
    assert not set(asked_for(hub)) & {first, second, "config.json"}
    assert load(folder, **FP32).end_ids
    assert not list((home / "models").glob(".*"))


def test_another_revision_is_not_mixed_in(hub: Any, source: Path, home: Path) -> None:
    shard = sorted(path.name for path in source.glob("*.bin"))[1]
    hub.wrong[shard] = b"?" * len(hub.files[shard])
    with pytest.raises(BadModel, match="its digest is"):
        pull(STRANGER, quiet=True)
    hub.wrong.clear()
    hub.commit = "d" * 40
    hub.revisions = ("v1", "d" * 40)
    folder = pull_published(Published(STRANGER, "v1"), quiet=True)
    assert json.loads((folder / "origin.json").read_text())["revision"] == "d" * 40
    assert pull_published(Published(STRANGER, "d" * 40), quiet=True) == folder
    with pytest.raises(BadModel, match="at the commit dddd"):
        pull_published(Published(STRANGER, COMMIT), quiet=True)
    with pytest.raises(BadModel, match="another model of this name is in"):
        shutil.copytree(folder, home / "models" / "a--b") and pull("a/b", quiet=True)


def test_what_cannot_be_represented_is_refused_before_its_weights_come(
    hub: Any, source: Path, home: Path
) -> None:
    config = json.loads(hub.files["config.json"]) | {"architectures": ["MistralForCausalLM"]}
    hub.files["config.json"] = json.dumps(config).encode()
    with pytest.raises(BadModel, match="MistralForCausalLM"):
        pull(STRANGER, quiet=True)
    assert list((home / "models").iterdir()) == []
    hub.files["config.json"], hub.files["tokenizer.json"] = (source / "config.json").read_bytes(), b"{}"
    with pytest.raises(BadModel, match="its tokenizer cannot be used"):
        pull(STRANGER, quiet=True)
    hub.files["tokenizer.json"] = (source / "tokenizer.json").read_bytes()
    with pytest.raises(BadModel, match=r"\d parameters, smollm2 has"):
        pull_published(Published(STRANGER, named="smollm2"), quiet=True)
    assert not any(name.endswith(".bin") for name in asked_for(hub))


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"pytorch_model.bin.index.json": None}, "it has none of model.safetensors.index.json, "),
        ({"pytorch_model-00002-of-000": None}, "no whole file pytorch_model-00002"),
        ({"config.json": None}, "it has no config.json"),
        ({"tokenizer.json": b" " * (1 << 26)}, "beside the weights take 67"),
        ({"pytorch_model.bin.index.json": b'{"weight_map": {"x": "../../x.bin"}}'}, "weight_map"),
    ],
)
def test_a_repository_that_holds_no_model_is_one_sentence(
    hub: Any, source: Path, changes: dict[str, bytes | None], what: str
) -> None:
    for start, data in changes.items():
        name = next(name for name in hub.files if name.startswith(start))
        hub.files[name] = data
    hub.files = {name: data for name, data in hub.files.items() if data is not None}
    with pytest.raises(BadModel, match=what):
        pull(STRANGER, quiet=True)
    assert not any(name.endswith(".bin") for name in asked_for(hub))


def test_too_little_disk_is_told_before_the_weights_come(
    hub: Any, source: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    free = [68_000_000]
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(0, 0, free[0]))
    monkeypatch.setattr(published, "BESIDE_WEIGHTS_BYTES", 68_000_000)
    with pytest.raises(NoRoom, match=r"6[89] MB are needed and 68 MB are free"):
        pull(STRANGER)
    assert "to bring" in capsys.readouterr().err
    assert not any(name.endswith(".bin") for name in asked_for(hub))


def test_law_what_an_export_of_ours_warns_of_comes_back_from_the_hub(
    hub: Any, tiny_folder: Path, tmp_path: Path
) -> None:
    own = dataclasses.replace(
        CARDS["smollm2"], licence="CC-BY-NC-4.0", commercial_use=False, warning="not for every use"
    )
    write_card(own, tiny_folder)
    export_folder(tiny_folder, tmp_path / "out")
    hub.add_folder(tmp_path / "out")
    hub.hub_id = STRANGER
    card = load(pull(STRANGER, quiet=True), **FP32).card
    assert (card.warning, card.commercial_use) == (own.warning, False)
    assert (card.languages, card.licence) == (own.languages, own.licence)


def test_a_card_json_of_others_is_left_out_aloud_and_a_damaged_one_of_ours_refused(
    hub: Any, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.files["card.json"] = b'{"licence_source": "nobody"}'
    with pytest.raises(BadModel, match="not a valid card"):
        pull(STRANGER, quiet=True)
    hub.files["card.json"] = b'{"name": "a hero", "spec": "of a game"}'
    assert load(pull(STRANGER), **FP32).card.licence == "MIT"
    assert "its card.json is no card of a model" in capsys.readouterr().err.replace("\n", " ")


def test_a_pull_that_brought_nothing_leaves_nothing(
    hub: Any, source: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("config.json", sorted(path.name for path in source.glob("*.bin"))[0]):
        hub.status[name] = 500
        with pytest.raises(NotPulled, match="broke off 5 times"):
            pull(STRANGER, quiet=True)
        hub.status.clear()
        assert list((home / "models").iterdir()) == []
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotPulled, match="the hub does not answer"):
        pull(STRANGER, quiet=True)
    assert list((home / "models").iterdir()) == []


@pytest.mark.parametrize("gpu", [0, 1 << 30])
def test_too_little_memory_is_told_before_the_weights_come(
    hub: Any, source: Path, gpu: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published, "machine_bytes", lambda: (100_000, gpu))
    if gpu:
        pull(STRANGER, quiet=True)
        return
    with pytest.raises(XgenError, match=r"2,048 tokens in 8 bits takes .* --anyway"):
        pull(STRANGER, quiet=True)
    assert not any(name.endswith(".bin") for name in asked_for(hub))
    assert pull_published(Published(STRANGER), anyway=True, quiet=True).is_dir()


def test_this_machines_memory_is_known() -> None:
    memory, gpu = published.machine_bytes()
    assert 1 << 28 < memory < 1 << 50
    assert gpu >= 0


def test_a_damaged_shard_leaves_the_others_and_says_where(
    hub: Any, source: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whole by its digest, and yet not what torch.save writes: the import says so."""
    hub.files[sorted(path.name for path in source.glob("*.bin"))[1]] = b"PK\3\4 not a whole archive"
    with pytest.raises(BadModel, match="cut off"):
        pull(STRANGER, quiet=True)
    assert not (home / "models" / "owner--A-Model").exists()
    assert f"what was brought of it is kept in {home}" in capsys.readouterr().err.replace("\n", "")
