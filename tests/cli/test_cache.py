import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from xgen import shelf
from xgen.engine import kept
from xgen.engine.cache import Cache
from xgen.read import indexed
from xgen.read.select import rank_passages
from xgen.read.sources import Sources
from xgen.text import kept as texts
from xgen.text.document import Document


@pytest.fixture
def document(home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A kept document; its size in bytes."""
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    cache = Cache([(torch.ones(1, 2, 1000, 64), torch.ones(1, 2, 1000, 64))], 1000)
    kept.keep("k", cache, torch.float32, "smollm2", ["a.txt", "b.txt"])
    return next(shelf.folder().glob("*")).stat().st_size


def test_it_shows_what_is_kept_and_where(run_xgen: Callable, document: int) -> None:
    shown = run_xgen("cache")
    for part in ("smollm2", "1,000", "1 MB", "a.txt, b.txt", f"1 of 2,000 MB in {shelf.folder()}"):
        assert part in shown.out
    found = json.loads(run_xgen("cache", "--json").out)
    assert (found["total_bytes"], found["limit_bytes"]) == (document, 2_000_000_000)
    (entry,) = found["documents"]
    assert (entry["model"], entry["documents"], entry["tokens"]) == ("smollm2", ["a.txt", "b.txt"], 1000)
    assert Path(entry["file"]).parent == Path(found["folder"])


def test_texts_are_shown_and_cleared_with_documents(run_xgen: Callable, document: int, home: Path) -> None:
    texts.keep("t", Document("report.pdf", "Heron stands in the reeds."))
    shelf.path_of("bad", shelf.TEXT).write_bytes(b"damaged")
    shown = run_xgen("cache").out
    for part in ("smollm2", "text", "26 characters", "report.pdf", "damaged"):
        assert part in shown
    found = json.loads(run_xgen("cache", "--json").out)
    size = shelf.path_of("t", shelf.TEXT).stat().st_size
    assert found["total_bytes"] == document + size + len(b"damaged")
    named = {entry["document"]: (entry["characters"], entry["bytes"]) for entry in found["texts"]}
    assert named == {"report.pdf": (26, size), "": (0, len(b"damaged"))}
    assert json.loads(run_xgen("cache", "--clear", "--json").out)["removed_bytes"] == found["total_bytes"]
    assert list(shelf.folder().iterdir()) == []


def test_indices_of_words_are_shown_and_cleared(run_xgen: Callable, home: Path) -> None:
    sources = Sources.of([Document("a.pdf", "Heron stands in the reeds."), Document("b.pdf", "Ada led it.")])
    offsets = [(i, i + 1) for i in range(len(sources.text))]
    indexed.store("w", sources, offsets, rank_passages(sources, offsets))
    shelf.path_of("bad", shelf.WORDS).write_bytes(b"damaged")
    shown = run_xgen("cache").out
    for part in ("words", "2 passages", "a.pdf, b.pdf", "damaged"):
        assert part in shown
    named = {
        tuple(e["documents"]): e["passages"] for e in json.loads(run_xgen("cache", "--json").out)["words"]
    }
    assert named == {("a.pdf", "b.pdf"): 2, (): 0}
    assert json.loads(run_xgen("cache", "--clear", "--json").out)["words"] == []


def test_8_bit_copies_are_shown_and_stay(run_xgen: Callable, document: int, home: Path) -> None:
    assert "8-bit" not in run_xgen("cache").out
    folder = shelf.folder().parent / "int8"
    folder.mkdir()
    save_file({"w": torch.ones(1_000_000)}, folder / "a.safetensors", {"of": "3 x", "model": "smollm2"})
    (folder / "b.safetensors").write_bytes(b"damaged")
    assert (
        f"8-bit copies of weights in {folder}: smollm2 4 MB, a model 0 kB" in run_xgen("cache", "--clear").out
    )
    found = json.loads(run_xgen("cache", "--json").out)
    assert (found["total_bytes"], found["int8_folder"]) == (0, str(folder))
    assert [entry["model"] for entry in found["int8"]] == ["smollm2", ""]
    assert sum(entry["bytes"] for entry in found["int8"]) == sum(p.stat().st_size for p in folder.iterdir())


def test_8_bit_copies_go_if_they_are_named(run_xgen: Callable, document: int) -> None:
    folder = shelf.folder().parent / "int8"
    folder.mkdir()
    (folder / "a.safetensors").write_bytes(b"four")
    found = json.loads(run_xgen("cache", "--clear-int8", "--json").out)
    assert (found["removed_bytes"], found["int8"], found["total_bytes"]) == (4, [], document)


def test_it_clears(run_xgen: Callable, document: int) -> None:
    assert json.loads(run_xgen("cache", "--clear", "--json").out)["removed_bytes"] == document
    assert list(shelf.folder().iterdir()) == []
    assert run_xgen("cache", "--clear").out.startswith("0 kB removed.\n0 of 2,000 MB in ")
    assert run_xgen("cache").code == 0


def test_the_limit_is_what_is_set_or_refused(
    run_xgen: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, limit in (("3", 3_000_000_000), ("0.5", 500_000_000), ("0", 0), ("", shelf.LIMIT_BYTES)):
        monkeypatch.setenv("XGEN_CACHE_GB", said)
        assert json.loads(run_xgen("cache", "--json").out)["limit_bytes"] == limit
    for said in ("much", "-1", "nan"):
        monkeypatch.setenv("XGEN_CACHE_GB", said)
        ended = run_xgen("cache")
        assert ended.code == 2
        assert ended.err.startswith(f"xgen: XGEN_CACHE_GB: {said!r} is no number")


@pytest.mark.parametrize(
    "words",
    [
        ["read", "note.html", "--ask", "Who?"],
        ["read", "note.html"],
        ["read", ".", "--ask", "Who?"],
        ["chat", "note.html"],
        ["chat"],
        ["tokens", "--text", "note.html"],
    ],
    ids=" ".join,
)
def test_no_verb_leaves_a_text_if_told_so(
    run_xgen: Callable, reader, home: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    (home / "note.html").write_text("<p>Heron stands in the reeds.")
    monkeypatch.setattr(texts, "FAST_S", 0)
    for more, n_kept in ((["--no-cache"], 0), ([], 1)):
        monkeypatch.setattr(sys, "stdin", io.StringIO("/file note.html"))
        assert run_xgen(*words, *more).code == 0
        assert len(shelf.files()) == n_kept


def test_reading_may_leave_nothing(run_xgen: Callable, reader, home: Path) -> None:
    (home / "note.txt").write_text("Heron stands in the reeds.")
    run_xgen("read", "note.txt", "--ask", "Who?")
    run_xgen("read", "note.txt", "--ask", "Who?", "--no-cache")
    assert [call["keep"] for call in reader.calls] == [True, False]
