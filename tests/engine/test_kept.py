import json
import os
import stat
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen import shelf
from xgen.engine import kept
from xgen.engine.cache import Cache
from xgen.errors import NoRoom

N_LAYERS, N_HEADS, HEAD_DIM = 2, 3, 8


def cache_of(n_tokens: int, capacity: int = 0, seed: int = 0, dtype: torch.dtype = torch.bfloat16) -> Cache:
    generator = torch.Generator().manual_seed(seed)
    size = (1, N_HEADS, capacity or n_tokens + 5, HEAD_DIM)
    buffers = [
        tuple(torch.randn(size, generator=generator).to(dtype).float() for _ in "kv") for _ in range(N_LAYERS)
    ]
    return Cache(buffers, n_tokens)  # type: ignore[arg-type]


def same(a: Cache, b: Cache) -> bool:
    return a.length == b.length and all(
        torch.equal(x[:, :, : a.length], y[:, :, : a.length])
        for one, other in zip(a.buffers, b.buffers, strict=True)
        for x, y in zip(one, other, strict=True)
    )


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    return tmp_path


def put(key: str, cache: Cache, dtype: torch.dtype = torch.bfloat16) -> bool:
    return kept.keep(key, cache, dtype, "tiny", ["a.txt"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
@settings(deadline=None, max_examples=20)
@given(n_tokens=st.integers(1, 40), spare=st.integers(0, 20))
def test_law_what_is_kept_comes_back(dtype: torch.dtype, n_tokens: int, spare: int) -> None:
    cache = cache_of(n_tokens, seed=n_tokens, dtype=dtype)
    assert put("k", cache, dtype)
    found = cache_of(3, n_tokens + spare, seed=99)
    assert kept.recall("k", found)
    assert same(found, cache)


@given(st.lists(st.integers(0, 2**17), max_size=5), st.lists(st.integers(0, 2**17), max_size=5))
def test_law_other_ids_have_another_key(a: list[int], b: list[int]) -> None:
    assert (kept.key_of("m", a) == kept.key_of("m", b)) == (a == b)
    assert kept.key_of("m", a) != kept.key_of("n", a)


def test_what_was_never_kept_is_not_there() -> None:
    cache = cache_of(4)
    assert not kept.recall("k", cache)
    assert cache.length == 0
    assert kept.entries() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_it_is_for_its_owner_alone(home: Path) -> None:
    put("k", cache_of(4))
    (path,) = shelf.folder().iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(shelf.folder().stat().st_mode) == 0o700


def bytes_changed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


@settings(deadline=None, max_examples=60)
@given(share=st.floats(0, 0.9999), cut=st.booleans())
def test_law_a_damaged_file_is_noticed_and_removed(share: float, cut: bool) -> None:
    put("k", cache_of(9))
    (path,) = shelf.folder().glob("*.safetensors")
    data = path.read_bytes()
    at = int(share * len(data))
    header = 8 + int.from_bytes(data[:8], "little")
    path.write_bytes(data[:at] if cut else bytes_changed(data, at))
    cache = cache_of(1, 20)
    found = kept.recall("k", cache)
    if found:  # only words about it, in the header, may differ unnoticed
        assert not cut
        assert at < header
        assert same(cache, cache_of(9))
    else:
        assert cache.length == 0
        assert not path.exists()
    assert put("k", cache_of(9))
    assert kept.recall("k", cache)


def test_a_cache_of_another_form_is_not_filled() -> None:
    put("k", cache_of(9))
    for other in (cache_of(1, 8), Cache(cache_of(1, 20).buffers[:1], 0)):
        assert not kept.recall("k", other)
        assert other.length == 0
        put("k", cache_of(9))


def test_the_least_recently_used_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    size = N_LAYERS * 2 * N_HEADS * 400 * HEAD_DIM * 2
    monkeypatch.setenv("XGEN_CACHE_GB", str(3.5 * size / 1e9))
    for number, key in enumerate("abc"):
        put(key, cache_of(400))
        os.utime(shelf.folder() / f"{key}.safetensors", (number, number))
    assert kept.recall("a", cache_of(1, 420))
    put("d", cache_of(400))
    assert {each.path.stem for each in kept.entries()} == {"a", "c", "d"}
    assert sum(each.n_bytes for each in kept.entries()) <= 3.5 * size


def test_what_is_larger_than_the_limit_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    put("k", cache_of(10))
    monkeypatch.setenv("XGEN_CACHE_GB", "0")
    assert not put("l", cache_of(10))
    assert [each.path.stem for each in kept.entries()] == ["k"]


def test_a_lowered_limit_is_kept_to(monkeypatch: pytest.MonkeyPatch) -> None:
    put("k", cache_of(10))
    shelf.make_room()
    assert kept.entries()
    monkeypatch.setenv("XGEN_CACHE_GB", "0")
    shelf.make_room()
    assert kept.entries() == []


def test_what_killed_processes_left_is_removed_after_an_hour() -> None:
    put("k", cache_of(4))
    old, fresh = shelf.folder() / ".k.old", shelf.folder() / ".k.fresh"
    for path in (old, fresh):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    put("l", cache_of(4))
    assert (old.exists(), fresh.exists()) == (False, True)


@pytest.mark.parametrize("said", [{"documents": "no list"}, {"tokens": "many"}, {"model": None}])
def test_damaged_words_about_a_document_cost_no_other(said: dict[str, str | None]) -> None:
    put("k", cache_of(4))
    (path,) = shelf.folder().glob("*.safetensors")
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    header["__metadata__"] |= said
    for name in [name for name, value in said.items() if value is None]:
        del header["__metadata__"][name]
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + int.from_bytes(data[:8], "little") :])
    (entry,) = kept.entries()
    assert (entry.model, entry.documents, entry.n_tokens) == ("", (), 0)
    assert put("l", cache_of(4))


def test_a_full_disk_leaves_nothing_half_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(tensors: Any, path: Path, said: Any) -> None:
        Path(path).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "save_file", full)
    with pytest.raises(NoRoom, match="the disk is full"):
        put("k", cache_of(4))
    assert list(shelf.folder().iterdir()) == []


def test_they_are_listed_and_cleared(home: Path) -> None:
    put("k", cache_of(7))
    (shelf.folder() / ".draft").write_bytes(b"of a process that was killed")
    (shelf.folder() / "bad.safetensors").write_bytes(json.dumps({}).encode())
    listed = {each.path.stem: each for each in kept.entries()}
    assert set(listed) == {"k", "bad"}
    assert (listed["k"].model, listed["k"].documents, listed["k"].n_tokens) == ("tiny", ("a.txt",), 7)
    assert (listed["bad"].model, listed["bad"].n_tokens) == ("", 0)
    assert shelf.clear() == sum(each.n_bytes for each in listed.values()) + len(
        b"of a process that was killed"
    )
    assert list(shelf.folder().iterdir()) == []
    assert shelf.clear() == 0
