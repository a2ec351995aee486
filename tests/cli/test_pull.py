import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import xgen
from xgen.files import cache_folder
from xgen.hub import Published


def test_the_folder_is_the_output(run_xgen: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def pull(name: str, from_file: Path | None = None, quiet: bool = False) -> Path:
        calls.append((name, from_file, quiet))
        return Path("kept") / name

    monkeypatch.setattr(xgen, "pull", pull)
    Path("model.gguf").touch()
    ended = run_xgen("pull", "smollm2", "--from", "model.gguf")
    assert ended.out == f"{Path('kept') / 'smollm2'}\n"
    assert "Apache-2.0, commercial use allowed" in ended.err
    ended = run_xgen("pull", "smollm2", "--json")
    assert json.loads(ended.out)["folder"] == str(Path("kept") / "smollm2")
    assert ended.err == ""
    assert calls == [("smollm2", Path("model.gguf"), False), ("smollm2", None, True)]


@pytest.mark.parametrize("name", ["qwen-0.5b", "smollm2"])  # the first is on disk
@pytest.mark.parametrize(("path", "what"), [("a.gguf", "there is no such file"), (".", "it is not a file")])
def test_a_file_to_take_it_from_must_be_there(
    run_xgen: Callable, reader, name: str, path: str, what: str
) -> None:
    ended = run_xgen("pull", name, "--from", path)
    assert ended == (2, "", f"xgen: {path}: {what}; name a GGUF file, or leave --from out.\n")


def test_a_file_that_is_not_needed_is_said_to_be_left_alone(run_xgen: Callable, reader) -> None:
    Path("a.gguf").touch()
    ended = run_xgen("pull", "qwen-0.5b", "--from", "a.gguf")
    assert (ended.code, ended.out) == (0, f"{cache_folder() / 'models' / 'qwen-0.5b'}\n")
    assert ended.err.startswith("qwen-0.5b is on disk already; a.gguf was not used.\n")
    ended = run_xgen("pull", "qwen-0.5b", "--from", "a.gguf", "--json")
    assert json.loads(ended.out)["name"] == "qwen-0.5b"
    assert ended.err == "qwen-0.5b is on disk already; a.gguf was not used.\n"


def test_an_unknown_name_is_refused_before_anything_happens(run_xgen: Callable) -> None:
    ended = run_xgen("pull", "gpt")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.startswith("xgen: gpt: there is no model of this name")


def test_a_second_pull_loads_nothing_heavy(reader) -> None:
    code = "import sys; from xgen.cli.pull import pull; pull('qwen-0.5b'); assert 'torch' not in sys.modules"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.strip() == str(cache_folder() / "models" / "qwen-0.5b")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list:
    from xgen.bundle import published as module

    calls: list = []

    def pull_published(wanted: Published, anyway: bool, quiet: bool) -> Path:
        calls.append((wanted, anyway, quiet))
        folder = cache_folder() / "models" / wanted.name.replace("/", "--")
        folder.mkdir(parents=True)
        (folder / "README.md").write_text("---\nlicense: mit\n---\n")
        return folder

    monkeypatch.setattr(module, "pull_published", pull_published)
    return calls


def test_a_model_of_the_hub_is_pulled_by_its_id_or_its_known_name(
    run_xgen: Callable, published: list
) -> None:
    ended = run_xgen("pull", "owner/name", "--revision", "v1", "--dtype", "fp16", "--anyway")
    folder = cache_folder() / "models" / "owner--name"
    assert (ended.code, ended.out) == (0, f"{folder}\n")
    assert "MIT, commercial use allowed" in ended.err
    ended = run_xgen("pull", "xgen-7b-8k-inst", "--json")
    assert json.loads(ended.out)["folder"] == str(cache_folder() / "models" / "xgen-7b-8k-inst")
    assert published == [
        (Published("owner/name", "v1", "fp16"), True, False),
        (Published("Salesforce/xgen-7b-8k-inst"), False, True),
    ]
    assert run_xgen("pull", "owner/name").out == f"{folder}\n", "it is there"
    assert len(published) == 2


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("owner/name", "--from", "a.gguf"), "--from: owner/name is not brought as a GGUF file"),
        (("smollm2", "--revision", "v1"), "--revision: smollm2 is one file, known by its digest"),
        (("smollm2", "--as", "nano"), "--as: smollm2 is one file"),
        (("owner/name", "--dtype", "int8"), "--dtype: "),
    ],
)
def test_options_that_would_be_ignored_are_refused(
    run_xgen: Callable, published: list, words: tuple[str, ...], what: str
) -> None:
    ended = run_xgen("pull", *words)
    assert (ended.code, ended.out, published) == (2, "", [])
    assert ended.err.startswith(f"xgen: {what}")
