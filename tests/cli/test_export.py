import json
from collections.abc import Callable
from pathlib import Path

import pytest


def test_a_folder_or_a_file_comes_out_with_its_licence(
    run_xgen: Callable, tiny_folder: Path, home: Path
) -> None:
    ended = run_xgen("export", str(tiny_folder), "out")
    assert (ended.code, ended.out) == (0, "out\n")
    assert "unknown licence" in ended.err
    assert (home / "out" / "README.md").is_file()
    found = json.loads(
        run_xgen("export", str(tiny_folder), "--gguf", "a.gguf", "--dtype", "q8_0", "--json").out
    )
    assert found == {"file": "a.gguf", "name": "tiny", "dtype": "q8_0", "licence": "unknown licence"}
    assert (home / "a.gguf").read_bytes()[:4] == b"GGUF"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "it writes one thing"),
        (("out", "--gguf", "a.gguf"), "it writes one thing"),
        (("out", "--dtype", "q8_0"), "a type of GGUF files"),
        (("tiny",), "there already"),
    ],
)
def test_bad_wishes_are_one_sentence(
    run_xgen: Callable, tiny_folder: Path, words: tuple[str, ...], said: str
) -> None:
    ended = run_xgen("export", str(tiny_folder), *words)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert run_xgen("export", "nobody").code == 2
