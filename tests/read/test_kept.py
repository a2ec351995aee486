"""A document that was read whole once: what the next reading does with what was kept of it."""

from collections.abc import Callable, Sequence
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
from xgen.text.rows import Entry, row_reply

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


def test_what_is_read_for_the_rows_of_a_table_is_on_the_disk_for_the_next_such_question(
    reader: Reader, says: Callable[[str], None], prefilled: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[bool] = []
    recall = kept.recall
    monkeypatch.setattr(kept, "recall", lambda *words: found.append(recall(*words)) or found[-1])
    table = "| Model | Terms |\n|---|---|\n| Tern-2B | MIT |\n| Wren-9B | research only |"
    document = Document("table.md", f"{table}\n\n{LONG.text}")
    says(str(row_reply([Entry("Tern-2B", "MIT", True), Entry("Wren-9B", "research only", False)])))
    first = reader.ask(document, "Which models may be used commercially?")
    n_read = sum(prefilled)
    again = reader.ask(document, "Which models may be used commercially?")
    assert (first.answer, found) == ("Tern-2B", [False, True])
    assert again == first
    assert sum(prefilled) - n_read < n_read / 2
