import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from xgen.cards import CARDS, write_card

COMMAND = [sys.executable, "-c", "from xgen.cli.app import main; main()", "tokens"]


def test_law_the_text_of_a_plain_file_is_the_file(tmp_path: Path) -> None:
    written = "R\u00e9iher\r\nim Schilf,\t\u6f22\u5b57 \U0001f600 \x1b[0m\n\n ende".encode()
    (tmp_path / "a.txt").write_bytes(written)
    printed = subprocess.run([*COMMAND, "--text", str(tmp_path / "a.txt")], capture_output=True)
    assert printed.stdout == written
    piped = subprocess.run([*COMMAND, "--text", "-"], input=written, capture_output=True)
    assert piped.stdout == written


def test_no_file_at_all_is_said(run_xgen: Callable) -> None:
    ended = run_xgen("tokens")
    assert ended.code == 2
    assert ended.err == "xgen: tokens: no file is named; name files to count, or one with --text.\n"


@pytest.fixture
def bytes_model(home: Path) -> Path:
    """A model folder whose tokenizer has the 256 bytes and no merges: a token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    folder = home / "bytes"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    write_card(CARDS["xgen-7b-4k-base"], folder)
    return folder


def test_tokens_are_counted_and_set_against_the_window(run_xgen: Callable, bytes_model: Path) -> None:
    texts = {"short.txt": "R\u00e9iher im Schilf", "long.txt": "heron " * 700}
    for name, text in texts.items():
        Path(name).write_bytes(text.encode())
    found = json.loads(run_xgen("tokens", *texts, "--model", "./bytes", "--json").out)
    assert (found["window_tokens"], found["model_window_tokens"]) == (4096, 4096)
    counted = {document["path"]: document["tokens"] for document in found["documents"]}
    assert counted == {name: len(text.encode()) for name, text in texts.items()}
    assert [document["fits"] for document in found["documents"]] == [True, False]
    printed = run_xgen("tokens", *texts, "--model", "bytes").out
    assert [row.split()[::3] for row in printed.splitlines()[1:3]] == [
        ["17", "short.txt"],
        ["4,200", "long.txt"],
    ]
    assert "4,217 tokens in all" in printed
