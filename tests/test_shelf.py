"""One limit over all kinds of what stays on the disk, and one order of removal."""

import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xgen import shelf
from xgen.engine import kept as kept_whole
from xgen.engine.cache import Cache
from xgen.errors import NoRoom
from xgen.text import kept as kept_texts
from xgen.text.document import Document


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    return tmp_path


def put(key: str, kind: str) -> Path:
    """Keep something of about 10 kB."""
    if kind == shelf.TEXT:
        noise = torch.randint(0x4E00, 0x9000, (6000,), generator=torch.Generator().manual_seed(1))
        assert kept_texts.keep(key, Document("a.pdf", "".join(map(chr, noise.tolist()))))
    elif kind == shelf.WORDS:
        with shelf.shelved(shelf.path_of(key, kind)) as draft:
            draft.write_bytes(bytes(10_000))
    else:
        cache = Cache([(torch.ones(1, 1, 80, 16), torch.ones(1, 1, 80, 16))], 80)
        assert kept_whole.keep(key, cache, torch.float32, "tiny", ["a.txt"])
    return shelf.path_of(key, kind)


def names() -> set[str]:
    return {file.path.stem for file in shelf.files()}


@given(st.lists(st.sampled_from(shelf.KINDS), min_size=2, max_size=6), st.floats(0, 70))
def test_law_the_limit_is_over_all_kinds_and_the_least_recently_used_go(kinds: list[str], kb: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        shelf.clear()
        paths = [put(str(number), kind) for number, kind in enumerate(kinds)]
        for number, path in enumerate(paths):
            os.utime(path, (number, number))
        sizes = [path.stat().st_size for path in paths]
        patch.setenv("XGEN_CACHE_GB", f"{kb / 1e6:.9f}")
        shelf.make_room()
        left = [path for path in paths if path.exists()]
        n_left = len(left)
        assert left == paths[len(paths) - n_left :], "the last used stay"
        assert sum(sizes[len(paths) - n_left :]) <= shelf.limit_bytes()
        assert n_left == len(paths) or sum(sizes[len(paths) - n_left - 1 :]) > shelf.limit_bytes()


@pytest.mark.parametrize("kinds", [(shelf.TEXT, shelf.WHOLE), (shelf.WHOLE, shelf.TEXT)])
def test_one_kind_makes_room_for_the_other(kinds: tuple[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    first, other = (put("a", kind).stat().st_size for kind in kinds)
    shelf.clear()
    for number, key in enumerate("ab"):
        os.utime(put(key, kinds[0]), (number, number))
    monkeypatch.setenv("XGEN_CACHE_GB", f"{(1.5 * first + 2 * other) / 1e9:.9f}")
    if kinds[0] == shelf.TEXT:
        assert kept_texts.recall("a")
    else:
        assert kept_whole.recall("a", Cache([(torch.ones(1, 1, 80, 16), torch.ones(1, 1, 80, 16))], 0))
    for key in "cd":
        put(key, kinds[1])
    shelf.make_room()
    assert names() == {"a", "c", "d"}


def test_what_is_larger_than_the_limit_costs_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    put("a", shelf.WHOLE)
    monkeypatch.setenv("XGEN_CACHE_GB", "0.000012")
    assert not kept_texts.keep("b", Document("b.pdf", "".join(map(chr, range(0x4E00, 0x9000)))))
    assert names() == {"a"}


def test_what_the_disk_has_no_room_for_is_not_begun(monkeypatch: pytest.MonkeyPatch, home: Path) -> None:
    usage = shutil.disk_usage(home)._replace(free=1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage)
    shelf.make_room(1_000_000)
    with pytest.raises(NoRoom, match="2 MB are needed and 1 MB are free"):
        shelf.make_room(2_000_000)


def test_both_kinds_are_cleared_and_files_of_others_stay(home: Path) -> None:
    for kind in shelf.KINDS:
        put("k", kind)
    (shelf.folder() / ".k.text.draft").write_bytes(b"of a process that was killed")
    (shelf.folder() / "notes.txt").write_text("not ours")
    total = sum(file.n_bytes for file in shelf.files())
    assert shelf.clear() == total + len(b"of a process that was killed")
    assert [path.name for path in shelf.folder().iterdir()] == ["notes.txt"]
