import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xgen.engine import kept
from xgen.engine.cache import Cache


@pytest.fixture
def document(home: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    """A kept document; its size in bytes."""
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    cache = Cache([(torch.ones(1, 2, 1000, 64), torch.ones(1, 2, 1000, 64))], 1000)
    kept.keep("k", cache, torch.float32, "smollm2", ["a.txt", "b.txt"])
    return next(kept.folder().glob("*")).stat().st_size


def test_it_shows_what_is_kept_and_where(run_xgen: Callable, document: int) -> None:
    shown = run_xgen("cache")
    for part in ("smollm2", "1,000", "1 MB", "a.txt, b.txt", f"1 of 2,000 MB in {kept.folder()}"):
        assert part in shown.out
    found = json.loads(run_xgen("cache", "--json").out)
    assert (found["total_bytes"], found["limit_bytes"]) == (document, 2_000_000_000)
    (entry,) = found["documents"]
    assert (entry["model"], entry["documents"], entry["tokens"]) == ("smollm2", ["a.txt", "b.txt"], 1000)
    assert Path(entry["file"]).parent == Path(found["folder"])


def test_it_clears(run_xgen: Callable, document: int) -> None:
    assert json.loads(run_xgen("cache", "--clear", "--json").out)["removed_bytes"] == document
    assert list(kept.folder().iterdir()) == []
    assert run_xgen("cache", "--clear").out.startswith("0 MB removed.\n0 of 2,000 MB in ")
    assert run_xgen("cache").code == 0


def test_the_limit_is_what_is_set_or_refused(
    run_xgen: Callable, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for said, limit in (("3", 3_000_000_000), ("0.5", 500_000_000), ("0", 0), ("", kept.LIMIT_BYTES)):
        monkeypatch.setenv("XGEN_CACHE_GB", said)
        assert json.loads(run_xgen("cache", "--json").out)["limit_bytes"] == limit
    for said in ("much", "-1", "nan"):
        monkeypatch.setenv("XGEN_CACHE_GB", said)
        ended = run_xgen("cache")
        assert ended.code == 2
        assert ended.err.startswith(f"xgen: XGEN_CACHE_GB: {said!r} is no number")


def test_reading_may_leave_nothing(run_xgen: Callable, reader, home: Path) -> None:
    (home / "note.txt").write_text("Heron stands in the reeds.")
    run_xgen("read", "note.txt", "--ask", "Who?")
    run_xgen("read", "note.txt", "--ask", "Who?", "--no-cache")
    assert [call["keep"] for call in reader.calls] == [True, False]
