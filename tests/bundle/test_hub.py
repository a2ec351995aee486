"""Files of a repository brought from a hub on this machine: whole, checked, and on from where they were."""

import random
from pathlib import Path
from typing import Any

import pytest

from xgen import hub as hub_module
from xgen.errors import BadModel, NotPulled
from xgen.hub import Published, Repository, bring, look_up, published_id

COMMIT = "c" * 40
DATA = random.Random(3).randbytes(3_300_000)
FILES = {"config.json": b"{}", "model.safetensors": DATA, "empty.bin": b""}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_module, "PAUSE_S", 0.0)


@pytest.fixture
def repository(hub: Any) -> Repository:
    hub.files |= FILES
    return look_up(hub.hub_id)


def ranges(hub: Any) -> list[str | None]:
    return [wanted for path, wanted in hub.asked if "resolve" in path]


def test_what_is_listed_is_brought_at_one_commit(hub: Any, repository: Repository, tmp_path: Path) -> None:
    assert (repository.revision, set(repository.files)) == (COMMIT, set(FILES))
    bring(repository, FILES, tmp_path, quiet=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == FILES
    n = len(hub.asked)
    bring(repository, FILES, tmp_path, quiet=True)
    assert len(hub.asked) == n, "what is there is not asked for again"


def test_law_a_transfer_goes_on_at_the_byte_where_it_broke_off(
    hub: Any, repository: Repository, tmp_path: Path
) -> None:
    hub.breaks["model.safetensors"] = [1_000_000, 0, 0, 0, 500_001, 0]
    bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    assert (tmp_path / "model.safetensors").read_bytes() == DATA
    begins = [int((wanted or "bytes=0-")[6:-1]) for wanted in ranges(hub)]
    assert begins == sorted(begins)
    assert begins[-1] == 1_500_001


def test_another_process_goes_on_too(hub: Any, repository: Repository, tmp_path: Path) -> None:
    hub.breaks["model.safetensors"] = [700_000, 0, 0, 0, 0, 0]
    with pytest.raises(NotPulled, match=r"broke off 5 times.*what is finished is kept"):
        bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    (part,) = tmp_path.iterdir()
    assert (part.name, part.read_bytes()) == ("model.safetensors.part", DATA[:700_000])
    bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    assert ranges(hub)[-1] == "bytes=700000-"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_hub_that_takes_no_ranges_begins_anew(hub: Any, repository: Repository, tmp_path: Path) -> None:
    hub.takes_ranges, hub.breaks["model.safetensors"] = False, [900_000]
    bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    assert (tmp_path / "model.safetensors").read_bytes() == DATA


@pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
@pytest.mark.parametrize("how", ["changed", "short", "long"])
def test_a_file_with_another_digest_is_not_kept(
    hub: Any, repository: Repository, name: str, how: str, tmp_path: Path
) -> None:
    right = FILES[name]
    hub.wrong[name] = {"changed": right[:-1] + b"?", "short": right[:-1], "long": b"x" + right}[how]
    with pytest.raises(NotPulled if how == "short" else BadModel, match=r"digest|broke off"):
        bring(repository, [name], tmp_path, quiet=True)
    assert not (tmp_path / name).exists()
    if how != "short":
        assert list(tmp_path.iterdir()) == []
        hub.wrong.clear()
        bring(repository, [name], tmp_path, quiet=True)
        assert (tmp_path / name).read_bytes() == right


def test_what_lies_there_of_something_else_is_noticed(
    hub: Any, repository: Repository, tmp_path: Path
) -> None:
    part = tmp_path / "model.safetensors.part"
    part.write_bytes(b"?" * 1000)
    with pytest.raises(BadModel, match="its digest is"):
        bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    part.write_bytes(DATA + b"?")
    bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    assert (tmp_path / "model.safetensors").read_bytes() == DATA


@pytest.mark.parametrize(
    ("status", "kind", "what"),
    [
        (404, NotPulled, "answers 404"),
        (403, BadModel, "agree on its page"),
        (500, NotPulled, "broke off 5 times"),
    ],
)
def test_a_hub_that_says_no(
    hub: Any, repository: Repository, status: int, kind: type[Exception], what: str, tmp_path: Path
) -> None:
    hub.status["config.json"] = status
    with pytest.raises(kind, match=what):
        bring(repository, ["config.json"], tmp_path, quiet=True)


def test_revisions_are_resolved_to_a_commit(hub: Any) -> None:
    for revision in (None, "main", "v1", COMMIT):
        assert look_up(hub.hub_id, revision).revision == COMMIT
    with pytest.raises(BadModel, match="it has no revision v2"):
        look_up(hub.hub_id, "v2")


def test_what_is_not_there_is_one_sentence(hub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadModel, match="no such repository, or it is not for everybody"):
        look_up("Salesforce/none")
    hub.gated = True
    with pytest.raises(BadModel, match="agreed to their terms"):
        look_up(hub.hub_id)
    hub.gated, hub.commit = False, "main"
    with pytest.raises(NotPulled, match="what answered is not the hub"):
        look_up(hub.hub_id)
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(NotPulled, match="the hub does not answer"):
        look_up(hub.hub_id)
    for bad in ("../x", "a/b/c", "a/..", "a/b?x", "/etc"):
        with pytest.raises(BadModel, match="no id of the hub"):
            look_up(bad)


def test_only_plain_files_at_the_top_are_listed(hub: Any) -> None:
    hub.files |= {"a/b.json": b"1", "..": b"2", ".gitattributes": b"3", "x y": b"4", "ok.json": b"5"}
    assert set(look_up(hub.hub_id).files) == {"ok.json"}


def test_names_under_which_models_are_kept() -> None:
    assert published_id("xgen-7b-8k-inst") == "Salesforce/xgen-7b-8k-inst"
    assert [published_id(name) for name in ("qwen-0.5b", "nano", "reader", "none")] == [None] * 4
    assert published_id("a/b") == "a/b"
    assert Published("Salesforce/xgen-7b-4k-base").name == "xgen-7b-4k-base"
    assert Published("Qwen/Qwen2.5-Coder-0.5B-Instruct").name == "Qwen/Qwen2.5-Coder-0.5B-Instruct"
    assert Published("a/b", named="xgen-7b-8k-base").name == "xgen-7b-8k-base"
    with pytest.raises(BadModel, match="no model of this name"):
        _ = Published("a/b", named="nobody").name


def test_a_disk_that_fills_is_not_the_hubs_fault(
    hub: Any, repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(self: Any, block: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as small:
        small.setattr(hub_module._Part, "write", full)
        with pytest.raises(OSError, match="No space left"):
            bring(repository, ["model.safetensors"], tmp_path, quiet=True)
        small.setattr(hub_module._Part, "write", lambda self, block: (_ for _ in ()).throw(ConnectionError()))
        with pytest.raises(NotPulled, match="broke off"):
            bring(repository, ["model.safetensors"], tmp_path, quiet=True)
    bring(repository, ["model.safetensors"], tmp_path, quiet=True)
