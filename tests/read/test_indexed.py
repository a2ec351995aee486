"""Long documents whose words were indexed once: found again, or made anew where they are damaged."""

import hashlib
import io
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen import shelf
from xgen.bundle import Bundle
from xgen.errors import NoRoom
from xgen.read import indexed as module
from xgen.read.indexed import entries, indexed, key_of, recall, store
from xgen.read.reader import Reader
from xgen.read.select import rank_passages
from xgen.read.sources import Sources
from xgen.text.document import Document

SOURCES = Sources.of(
    [
        Document("a.txt", "\n\n".join(f"Heron {i} stands in the reeds of mill {i % 7}." for i in range(200))),
        Document("b.txt", "Ada führt die Mühle.\n\n\ud800 Она стояла.\n\n鹭站在芦苇中。 \U0001f426" * 3),
    ]
)


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    monkeypatch.setattr(module, "FROM_CHARACTERS", 100)


def kept_files() -> list[Path]:
    return [file.path for file in shelf.files()]


@pytest.fixture
def counted(tiny: Bundle, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that were counted in tokens, so not found."""
    calls: list[str] = []
    counts = tiny.tokenizer.encode_with_offsets
    monkeypatch.setattr(
        tiny.tokenizer,
        "encode_with_offsets",
        lambda text: calls.append(text) or counts(text),  # type: ignore[func-returns-value]
    )
    return calls


def test_what_is_found_again_ranks_as_what_was_made(tiny: Bundle, counted: list[str]) -> None:
    made = indexed(SOURCES, tiny.tokenizer, keep=True)
    found = indexed(SOURCES, tiny.tokenizer, keep=True)
    assert len(counted) == 1
    assert found[0] == made[0]
    assert (found[1].passages, found[1].texts) == (made[1].passages, made[1].texts)
    for question in ("Where does heron 17 stand?", "Кто стоял?", "鹭", "", "zebra"):
        assert np.array_equal(found[1].scores(question), made[1].scores(question))
        assert found[1].share(question, "heron mill") == made[1].share(question, "heron mill")
    (path,) = kept_files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (entry,) = entries()
    assert (entry.documents, entry.n_passages) == (("a.txt", "b.txt"), len(made[1].passages))


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
@settings(max_examples=30, deadline=None)
def test_law_any_texts_come_back(texts: list[str]) -> None:
    sources = Sources.of([Document(f"{i}", text) for i, text in enumerate(texts)])
    offsets = [(i, i + 1) for i in range(len(sources.text))]
    ranking = rank_passages(sources, offsets)
    if not ranking.passages:
        return
    assert store("k", sources, offsets, ranking)
    found = recall("k", sources)
    assert found is not None
    assert (found[0], found[1].passages, found[1].texts) == (offsets, ranking.passages, ranking.texts)
    assert np.array_equal(found[1].scores(texts[0]), ranking.scores(texts[0]))
    assert found[1].index.holders == ranking.index.holders


@pytest.mark.parametrize(
    "spoil", [lambda data: data[:-1], lambda data: b"", lambda data: data[:99] + b"?" + data[100:]]
)
def test_a_damaged_one_is_made_anew(
    tiny: Bundle, counted: list[str], spoil: Callable[[bytes], bytes]
) -> None:
    made = indexed(SOURCES, tiny.tokenizer, keep=True)
    (path,) = kept_files()
    path.write_bytes(spoil(path.read_bytes()))
    assert [entry.documents for entry in entries()] == [()]
    assert indexed(SOURCES, tiny.tokenizer, keep=True)[0] == made[0]
    assert len(counted) == 2
    indexed(SOURCES, tiny.tokenizer, keep=True)
    assert len(counted) == 2, "it is sound again"


@pytest.mark.parametrize("kept", [{"offsets": np.zeros(3)}, {"names": np.array([None])}, None])
def test_one_of_another_form_is_made_anew(
    tiny: Bundle, counted: list[str], kept: dict[str, Any] | None
) -> None:
    """Its digest is right: as a later xgen may write it."""
    made = indexed(SOURCES, tiny.tokenizer, keep=True)
    (path,) = kept_files()
    packed = io.BytesIO(b"neither" * 9)
    if kept is not None:
        np.savez(packed, **kept)
    data = packed.getvalue()
    path.write_bytes(hashlib.sha256(path.stem.encode() + data).digest() + data)
    assert [entry.documents for entry in entries()] == [()]
    assert indexed(SOURCES, tiny.tokenizer, keep=True)[0] == made[0]
    assert len(counted) == 2


def test_the_names_of_documents_are_known_without_the_whole_file(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks at gigabytes of them waits for no digest."""
    _, ranking = indexed(SOURCES, tiny.tokenizer, keep=True)
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"{path} was read"))
    assert [(each.documents, each.n_passages) for each in entries()] == [
        (("a.txt", "b.txt"), len(ranking.passages))
    ]


def test_another_name_does_not_make_it_sound(tiny: Bundle, counted: list[str]) -> None:
    indexed(SOURCES, tiny.tokenizer, keep=True)
    other = Sources.of([Document("a.txt", SOURCES.text[:-9] + " and mill")])
    kept_files()[0].rename(shelf.path_of(key_of(other, tiny.tokenizer), shelf.WORDS))
    indexed(other, tiny.tokenizer, keep=True)
    assert len(counted) == 2


def test_the_key_is_of_texts_bounds_and_tokenizer(tiny: Bundle, xgen_like: Bundle) -> None:
    one = Sources.of([Document("a", "x\n\ny")])
    two, other = Sources.of([Document("a", "x"), Document("b", "y")]), Sources.of([Document("a", "x\n\nz")])
    keys = {
        key_of(sources, bundle.tokenizer) for sources in (one, two, other) for bundle in (tiny, xgen_like)
    }
    assert len(keys) == 6
    assert key_of(Sources.of([Document("elsewhere", "x\n\ny")]), tiny.tokenizer) in keys


def test_nothing_stays_of_short_texts_unasked_or_without_a_shelf(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed(SOURCES, tiny.tokenizer, keep=False)
    indexed(Sources.of([Document("a", "Heron.")]), tiny.tokenizer, keep=True)
    monkeypatch.setenv("XGEN_CACHE_GB", "0")
    indexed(SOURCES, tiny.tokenizer, keep=True)
    monkeypatch.setenv("XGEN_CACHE_GB", "0.000001")
    indexed(SOURCES, tiny.tokenizer, keep=True)
    assert kept_files() == []


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), NoRoom("the disk", 1, 0)])
def test_a_full_disk_costs_the_index_alone(
    tiny: Bundle, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    def full(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(shelf, "shelved", full)
    assert len(indexed(SOURCES, tiny.tokenizer, keep=True)[1].passages) > 1
    assert "is not kept for the next time" in capsys.readouterr().err


def test_a_reading_keeps_it_unless_told_otherwise(reader: Reader) -> None:
    documents = list(SOURCES.documents)
    reader.read(documents, summarize=True, quiet=True)
    reader.read(documents, ["Which heron?"], how="select", quote=True, quiet=True, keep=False)
    assert kept_files() == []
    first = reader.read(documents, ["Which heron?"], how="select", quote=True, quiet=True)
    assert [path.suffix for path in kept_files()] == [shelf.WORDS]
    again = reader.read(documents, ["Which heron?"], how="select", quote=True, quiet=True)
    assert again.answers == first.answers
