"""Archives are made here byte by byte, so that what is hostile in them is known."""

import gzip
import io
import lzma
import shutil
import stat
import subprocess
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.sources import archives
from xgen.data.sources.archives import Member, members, unpacked

PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress, ".zst": zstandard.compress}


def tar(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.GNU_FORMAT) as out:
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            out.addfile(info, io.BytesIO(data))
        for path, target in (links or {}).items():
            info = tarfile.TarInfo(path)
            info.type, info.linkname = tarfile.SYMTYPE, target
            out.addfile(info)
    return buffer.getvalue()


def deb(data: bytes, suffix: str = ".xz") -> bytes:
    """deb(5), by ar(5)."""
    out = b"!<arch>\n"
    parts = {"debian-binary": b"2.0\n", "control.tar.gz": b"odd", f"data.tar{suffix}": PACK[suffix](data)}
    for name, part in parts.items():
        out += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(part):<10}`\n".encode() + part
        out += b"\n" * (len(part) % 2)
    return out


def read(path: Path) -> list[Member]:
    return list(members(path, lambda _: True))


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


FILES = {"./usr/share/doc/a/copyright": b"License: MIT\n", "./usr/share/a/b.txt": b"words", "./empty": b""}


@pytest.mark.parametrize("suffix", PACK)
def test_files_of_a_deb_in_order(tmp_path: Path, suffix: str) -> None:
    found = read(written(tmp_path / "a_1_all.deb", deb(tar(FILES), suffix)))
    assert found == [Member(path.removeprefix("./"), data) for path, data in FILES.items()]
    some = list(members(tmp_path / "a_1_all.deb", lambda path: path.endswith(".txt")))
    assert [member.path for member in some] == ["usr/share/a/b.txt"]


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg is not installed")
def test_against_dpkg_deb(tmp_path: Path) -> None:
    root = tmp_path / "root"
    (root / "DEBIAN").mkdir(parents=True)
    (root / "DEBIAN" / "control").write_text(
        "Package: a\nVersion: 1\nArchitecture: all\nMaintainer: A <a@example.org>\nDescription: a\n"
    )
    (root / "usr").mkdir()
    for i in range(5):
        (root / "usr" / f"{i}.txt").write_bytes(bytes(range(256)) * i * 100)
    subprocess.run(["dpkg-deb", "--build", root, tmp_path / "a.deb"], check=True, capture_output=True)
    found = {member.path: member.data for member in read(tmp_path / "a.deb")}
    assert found == {f"usr/{i}.txt": bytes(range(256)) * i * 100 for i in range(5)}


def test_files_of_a_wheel_and_a_tgz(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a-1-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a/b.py", "x = 1\n")
    assert read(tmp_path / "a-1-py3-none-any.whl") == [Member("a/b.py", b"x = 1\n")]
    tgz = written(tmp_path / "a-1.tgz", gzip.compress(tar({"package/a.js": b"let a"})))
    assert read(tgz) == [Member("package/a.js", b"let a")]


@pytest.mark.parametrize("path", ["../../etc/x", "/etc/x", "a/../../x", "a\\..\\x"])
def test_paths_that_climb_out_are_told_and_not_read(tmp_path: Path, path: str) -> None:
    tgz = written(tmp_path / "a-1.tgz", gzip.compress(tar({path: b"evil", "b": b"good"})))
    assert read(tgz) == [Member(path, b"", "path_climbs_out"), Member("b", b"good")]
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as out:
        info = zipfile.ZipInfo("x")
        info.filename = path
        out.writestr(info, "evil")
    assert [member.fault for member in read(tmp_path / "a.whl")] == ["path_climbs_out"]


def test_links_are_not_followed(tmp_path: Path) -> None:
    secret = written(tmp_path / "secret", b"secret")
    found = read(written(tmp_path / "a.deb", deb(tar({}, {"./a": str(secret), "./b": "../c"}))))
    assert found == [Member("a", b"", "link_not_followed"), Member("b", b"", "link_not_followed")]


def test_a_link_in_a_zip_is_its_target_s_name_and_nothing_else(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as out:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        out.writestr(info, "/etc/passwd")
    assert read(tmp_path / "a.whl") == [Member("link.txt", b"", "link_not_followed")]


def test_bombs_are_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1 << 20)
    monkeypatch.setattr(archives, "MAX_ARCHIVE_BYTES", 4 << 20)
    zeros = bytes(1 << 20)
    many = {str(i): zeros for i in range(9)}
    found = read(written(tmp_path / "a.deb", deb(tar(many))))
    assert found[-1] == Member("", b"", "archive_too_large")
    assert len(found) < 5
    assert read(written(tmp_path / "b.deb", deb(tar({"a": zeros + b"0", "b": b"c"})))) == [
        Member("a", b"", "file_too_large"),
        Member("b", b"c"),
    ]
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in {"large": zeros + b"0", **many}.items():
            out.writestr(name, data)
    found = read(tmp_path / "a.whl")
    assert found[0] == Member("large", b"", "file_too_large")
    assert found[-1] == Member("", b"", "archive_too_large")
    with pytest.raises(ValueError, match="larger than 1 MiB"):
        unpacked(gzip.compress(zeros + b"0"), "a.txt.gz")


def test_a_zip_that_lies_about_a_size_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MAX_FILE_BYTES", 1000)
    with zipfile.ZipFile(tmp_path / "a.whl", "w", zipfile.ZIP_DEFLATED) as out:
        out.writestr("a", bytes(100_000))
    data = (
        (tmp_path / "a.whl").read_bytes().replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little"))
    )
    [found] = read(written(tmp_path / "a.whl", data))
    assert found.fault
    assert len(found.data) <= 1000


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_law_a_cut_archive_ends_with_a_fault(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    suffix = data.draw(st.sampled_from(sorted(PACK)))
    whole = deb(tar({f"./{i}": bytes([i]) * 3000 for i in range(5)}), suffix)
    cut = data.draw(st.integers(0, len(whole) - 2))
    path = written(tmp_path_factory.mktemp("cut") / "a.deb", whole[:cut])
    found = read(path)
    # The end of a tar archive is blocks of zeros: what is cut of these is no loss.
    if found[-1].fault:
        assert found[-1].path == ""
        assert all(not member.fault for member in found[:-1])
    else:
        assert len(found) == 5


def test_a_damaged_header_is_not_taken_for_the_end(tmp_path: Path) -> None:
    data = bytearray(tar({"a": b"1", "b": b"2", "c": b"3"}))
    data[1024 + 150] ^= 1  # in the second header's checksum
    found = read(written(tmp_path / "a.tgz", gzip.compress(bytes(data))))
    assert found == [Member("a", b"1"), Member("", b"", "archive_damaged")]


@pytest.mark.parametrize("name", ["a.deb", "a.whl", "a.tgz"])
@pytest.mark.parametrize("data", [b"", b"words", b"!<arch>\nx", b"PK\3\4 and so on"])
def test_what_is_no_archive_is_told(tmp_path: Path, name: str, data: bytes) -> None:
    assert read(written(tmp_path / name, data)) == [Member("", b"", "archive_damaged")]


def test_packed_files_lose_their_suffix() -> None:
    assert unpacked(gzip.compress(b"words"), "man1/ls.1.gz") == (b"words", "man1/ls.1")
    assert unpacked(lzma.compress(b"words"), "a.xz") == (b"words", "a")
    assert unpacked(b"words", "a.txt") == (b"words", "a.txt")
    with pytest.raises(ValueError, match="damaged"):
        unpacked(b"words", "a.gz")
    with pytest.raises(ValueError, match="damaged"):
        unpacked(zstandard.compress(b"words" * 99)[:-3], "a.zst")
    twice = zstandard.compress(b"words ") + zstandard.compress(bytes(300_000))
    assert unpacked(twice, "a.zst") == (b"words " + bytes(300_000), "a")
