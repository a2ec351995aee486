import json
from collections.abc import Callable
from pathlib import Path

import pytest

from xgen.bundle import importing
from xgen.cards import CARDS, Card
from xgen.errors import BadModel


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    made: list[tuple] = []

    def import_model(source: Path, target: Path, dtype: str | None, named: str | None, quiet: bool) -> Card:
        made.append((source, target, dtype, named, quiet))
        if named == "nobody":
            raise BadModel("nobody", "there is no model of this name", "choose one")
        return CARDS[named or "xgen-7b-8k-base"]

    monkeypatch.setattr(importing, "import_model", import_model)
    return made


def test_the_new_folder_is_the_output(run_xgen: Callable, calls: list[tuple]) -> None:
    Path("src").mkdir()
    ended = run_xgen("import", "src", "dst")
    assert (ended.code, ended.out) == (0, "dst\n")
    assert "xgen-7b-8k-base: Apache-2.0, commercial use allowed (" in ended.err
    ended = run_xgen("import", "src", "dst", "--dtype", "fp16", "--as", "xgen-7b-8k-inst", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert json.loads(ended.out) == {"name": "xgen-7b-8k-inst", "folder": "dst", "licence": "research only"}
    here = (Path("src"), Path("dst"))
    assert calls == [(*here, None, None, False), (*here, "fp16", "xgen-7b-8k-inst", True)]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (("none", "dst"), "none: there is no such folder; name the folder"),
        (("file", "dst"), "file: it is not a folder"),
        (("src", "dst", "--as", "nobody"), "nobody: there is no model of this name"),
        (("src", "dst", "--dtype", "int8"), "--dtype: "),
        (("src",), "DST: it is missing; see `xgen import --help`"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    run_xgen: Callable, calls: list[tuple], words: tuple[str, ...], what: str
) -> None:
    Path("src").mkdir()
    Path("file").touch()
    ended = run_xgen("import", *words)
    assert (ended.code, ended.out, ended.err.count("\n")) == (2, "", 1)
    assert ended.err.startswith(f"xgen: {what}")
