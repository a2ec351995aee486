"""A document that was read whole once: what the next reading does with what was kept of it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from xgen.bundle import load
from xgen.engine import kept
from xgen.read import ask as ask_module
from xgen.read.ask import KEPT_FROM_TOKENS
from xgen.read.reader import Reader
from xgen.text.document import Document

LONG = Document("long.txt", "\n\n".join(f"Heron {i} stands in the reeds of the mill." for i in range(60)))
QUESTIONS = ["Which heron?", "Where?"]


@pytest.fixture
def prefilled(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many ids each call of prefill read."""
    calls: list[int] = []
    original = ask_module.prefill

    def counted(model: Any, cache: Any, ids: Sequence[int], *rest: Any) -> torch.Tensor:
        calls.append(len(ids))
        return original(model, cache, ids, *rest)

    monkeypatch.setattr(ask_module, "prefill", counted)
    return calls


def read(reader: Reader, document: Document = LONG, **options: Any) -> tuple[Any, ...]:
    how = options.pop("how", "whole")
    return reader.read([document], QUESTIONS, quote=True, how=how, quiet=True, **options).answers


@pytest.mark.parametrize("how", ["whole", "head", "tail"])
def test_a_document_is_read_once_by_all_readers(reader: Reader, prefilled: list[int], how: Any) -> None:
    first = read(reader, how=how)
    assert [n for n in prefilled if n > KEPT_FROM_TOKENS] == prefilled != []
    prefilled.clear()
    again = Reader(load(reader.bundle.folder, device="cpu", dtype="fp32"))
    assert read(again, how=how) == first
    assert prefilled == []


def test_nothing_is_kept_unasked(reader: Reader, prefilled: list[int], documents_kept: Path) -> None:
    read(reader, keep=False)
    read(reader, how="select")
    read(reader, Document("short.txt", "Ada led it."))
    assert not documents_kept.exists()


def test_other_weights_types_and_documents_are_read_anew(
    reader: Reader, prefilled: list[int], tmp_path: Path
) -> None:
    read(reader)
    weights = next(reader.bundle.folder.glob("*.safetensors"))
    n_calls = len(prefilled)
    read(reader, Document("other.txt", LONG.text + "!"))
    assert len(prefilled) == n_calls + 1
    read(Reader(load(reader.bundle.folder, device="cpu", dtype="bf16")))
    assert len(prefilled) == n_calls + 2
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    read(Reader(load(reader.bundle.folder, device="cpu", dtype="fp32")))
    assert len(prefilled) == n_calls + 3


def test_a_damaged_one_is_read_anew_and_kept_again(reader: Reader, prefilled: list[int]) -> None:
    first = read(reader)
    (entry,) = kept.entries()
    assert (entry.documents, entry.model) == (("long.txt",), reader.bundle.card.name)
    data = bytearray(entry.path.read_bytes())
    data[len(data) // 2] ^= 1
    entry.path.write_bytes(data)
    for n_read in (1, 0):
        prefilled.clear()
        assert read(Reader(reader.bundle)) == first
        assert len(prefilled) == n_read


def test_a_full_disk_costs_what_is_kept_and_not_the_answer(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = read(reader, keep=False)

    def full(*words: Any) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "keep", full)
    assert read(Reader(reader.bundle)) == first
    assert "not kept for the next time: no space left on device" in capsys.readouterr().err
