import errno
import hashlib
import os
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.errors import NoRoom
from xgen.files import (
    cache_folder,
    no_room_named,
    require_room,
    sha256_of,
    whole_file,
    whole_folder,
    write_whole,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("XGEN_HOME", raising=False)
    assert cache_folder() == tmp_path / ".cache" / "xgen"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg" / "xgen"
    monkeypatch.setenv("XGEN_HOME", "~/models")
    assert cache_folder() == tmp_path / "models"
    monkeypatch.setenv("XGEN_HOME", "")
    assert cache_folder() == tmp_path / "xdg" / "xgen"


def test_sha256_against_the_published_vectors(tmp_path: Path) -> None:
    """FIPS 180-2, appendix B: "abc", and "a" a million times."""
    path = tmp_path / "message"
    path.write_bytes(b"abc")
    assert sha256_of(path) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    path.write_bytes(b"a" * 1_000_000)
    assert sha256_of(path) == "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0"


@pytest.mark.parametrize("n_bytes", [0, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_sha256_against_hashlib_around_the_block(tmp_path: Path, n_bytes: int) -> None:
    path = tmp_path / "message"
    data = os.urandom(n_bytes)
    path.write_bytes(data)
    assert sha256_of(path) == hashlib.sha256(data).hexdigest()


def test_room_is_asked_of_the_disk_that_will_hold_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    asked = []

    def disk_usage(path: Path) -> usage:
        asked.append(path)
        return usage(10**9, 0, 2_000_000)

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    folder = tmp_path / "not" / "yet"
    require_room(folder, 2_000_000)
    assert asked == [tmp_path]
    with pytest.raises(NoRoom, match="3 MB are needed and 2 MB are free") as raised:
        require_room(folder, 3_000_000)
    assert raised.value.where == str(folder)
    assert not folder.exists()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named_and_other_errors_pass(tmp_path: Path, code: int) -> None:
    with pytest.raises(NoRoom, match="the disk is full"), no_room_named(tmp_path):
        raise OSError(code, os.strerror(code))
    with pytest.raises(PermissionError), no_room_named(tmp_path):
        raise PermissionError(errno.EACCES, "no")


@given(st.binary(max_size=2000), st.binary(max_size=2000))
@settings(deadline=None)  # a disk may take its time
def test_law_a_written_file_is_whole_and_alone(
    tmp_path_factory: pytest.TempPathFactory, first: bytes, second: bytes
) -> None:
    folder = tmp_path_factory.mktemp("whole")
    path = folder / "deep" / "file"
    write_whole(path, first)
    write_whole(path, second)
    assert path.read_bytes() == second
    assert names(path.parent) == ["file"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_whole(path, b"old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NoRoom):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as draft:
        assert draft.parent == tmp_path
        (draft / "a").write_bytes(b"1")
        assert not (tmp_path / "model").exists()
    assert names(tmp_path) == ["model"]
    assert names(tmp_path / "model") == ["a"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_folder_that_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    def fail() -> None:
        with whole_folder(tmp_path / "model") as draft:
            (draft / "a").write_bytes(b"1")
            raise error

    with pytest.raises(error):
        fail()
    assert names(tmp_path) == []


def test_of_two_makers_of_a_folder_the_first_to_end_wins(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "model") as draft:
        (draft / "a").write_bytes(b"ours")
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "a").write_bytes(b"theirs")
    assert (tmp_path / "model" / "a").read_bytes() == b"theirs"
    assert names(tmp_path) == ["model"]


def test_a_file_in_the_place_of_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"a file")
    with pytest.raises(OSError, match="model"), whole_folder(tmp_path / "model"):
        pass
    assert names(tmp_path) == ["model"]


def test_a_killed_process_leaves_nothing_for_ever_and_other_hidden_files_stay(tmp_path: Path) -> None:
    old, fresh = (tmp_path / f".a.txt.{letter * 32}" for letter in "ab")
    others = [tmp_path / name for name in (".gitignore", f".b.txt.{'a' * 32}", ".a.txt.backup")]
    for path in (old, fresh, *others):
        path.write_text("x")
    for path in (old, *others):
        os.utime(path, (1, 1))
    write_whole(tmp_path / "a.txt", b"new")
    assert names(tmp_path) == sorted([*(path.name for path in (fresh, *others)), "a.txt"])


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_a_file_is_made_with_its_mode_and_not_at_all_if_that_fails(tmp_path: Path) -> None:
    path = tmp_path / "a"

    def fail() -> None:
        with whole_file(path, mode=0o600) as draft:
            assert draft.stat().st_mode & 0o777 == 0o600
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert names(tmp_path) == []
    with whole_file(path, mode=0o600) as draft:
        draft.write_text("whole")
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("whole", 0o600)
