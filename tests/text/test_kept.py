"""Extracted texts that stay on the disk: what comes back, and when it must not."""

import errno
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import docx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reportlab.pdfgen.canvas import Canvas

import xgen
from xgen import shelf
from xgen.errors import BadDocument
from xgen.text import kept
from xgen.text.document import Document
from xgen.text.extract import open_document, open_documents

KINDS = ["pdf", "docx", "html"]
# Half characters too, as broken PDFs have them.
words = st.text(st.characters(exclude_categories=()))
documents = st.builds(
    Document,
    path=st.text(min_size=1),
    text=words,
    page_starts=st.lists(st.integers(0, 2**40)).map(tuple),
    has_lines=st.booleans(),
    dropped=st.lists(words).map(tuple),
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XGEN_CACHE_GB", raising=False)
    monkeypatch.setattr(kept, "FAST_S", 0)
    kept._say_once.cache_clear()
    return tmp_path / "home"


@pytest.fixture
def extracted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were extracted, one for each time."""
    from xgen.text.extract import docx, html, pdf

    calls: list[str] = []

    def counted(original: Callable[[bytes, str], Document]) -> Callable[[bytes, str], Document]:
        def extract(data: bytes, name: str) -> Document:
            calls.append(name)
            return original(data, name)

        extract.__module__ = original.__module__
        return extract

    for module in (pdf, docx, html):
        monkeypatch.setattr(module, "extract", counted(module.extract))
    return calls


def write(path: Path, *sentences: str) -> Path:
    """A file of the format that its suffix names, a page or a paragraph for each sentence."""
    if path.suffix == ".pdf":
        canvas = Canvas(str(path), invariant=1)
        for sentence in sentences:
            canvas.drawString(72, 720, sentence)
            canvas.showPage()
        canvas.save()
    elif path.suffix == ".docx":
        made = docx.Document()
        for sentence in sentences:
            made.add_paragraph(sentence)
        made.save(str(path))
    else:
        path.write_text("".join(f"<p>{sentence}</p>" for sentence in sentences), encoding="utf-8")
    return path


def shelf_files() -> list[Path]:
    return sorted(shelf.folder().iterdir()) if shelf.folder().exists() else []


@settings(deadline=None, max_examples=60)
@given(document=documents)
def test_law_the_same_document_comes_back(document: Document) -> None:
    assert kept.keep("k", document)
    assert kept.recall("k") == document
    (entry,) = kept.entries()
    assert (entry.document, entry.n_characters) == (document.path, len(document.text))


@settings(deadline=None, max_examples=100)
@given(share=st.floats(0, 0.9999), bit=st.integers(0, 7), cut=st.booleans())
def test_law_damage_at_any_byte_is_noticed_and_removed(share: float, bit: int, cut: bool) -> None:
    kept.keep("k", Document("a.pdf", "Ada signed it. " * 9, (0, 15), False, ("page 3 has no text layer",)))
    path = shelf.path_of("k", shelf.TEXT)
    data = bytearray(path.read_bytes())
    at = int(share * len(data))
    data[at] ^= 1 << bit
    path.write_bytes(data[:at] if cut else data)
    assert [entry.document for entry in kept.entries()] == [""]
    assert kept.recall("k") is None
    assert not path.exists()


def test_a_text_under_the_name_of_another_is_noticed() -> None:
    kept.keep("k", Document("a.pdf", "Ada signed it."))
    shutil.copy(shelf.path_of("k", shelf.TEXT), shelf.path_of("l", shelf.TEXT))
    assert kept.recall("l") is None
    assert kept.recall("k") is not None


@pytest.mark.parametrize("kind", KINDS)
def test_against_extraction_once_for_each_content(tmp_path: Path, extracted: list[str], kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", "Ada signed it.", "Maud painted it.")
    plain = open_document(path)
    extracted.clear()
    assert open_document(path, keep=True) == open_document(path, keep=True) == plain
    assert extracted == [str(path)]
    moved = path.rename(tmp_path / f"b.{kind}")
    assert open_document(moved, keep=True) == Document(
        str(moved), plain.text, plain.page_starts, plain.has_lines, plain.dropped
    )
    assert extracted == [str(path)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_changed_file_is_read_anew_whatever_its_name_size_and_time(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", "Ada signed it.")
    before = path.stat()
    assert "Ada" in open_document(path, keep=True).text
    write(path, "Eva signed it.")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert "Eva" in open_document(path, keep=True).text


def test_other_code_and_another_format_read_anew(
    tmp_path: Path, extracted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.html", "Ada signed it.")
    open_document(path, keep=True)
    monkeypatch.setattr(kept, "_code", lambda: "of another day")
    open_document(path, keep=True)
    assert len(extracted) == 2
    data = path.read_bytes()
    assert kept.key_of("pdf", data) != kept.key_of("html", data) != kept.key_of("html", data + b" ")


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_kept_or_used_unasked(tmp_path: Path, extracted: list[str], kind: str) -> None:
    path = write(tmp_path / f"a.{kind}", "Ada signed it.")
    open_document(path)
    open_documents([str(tmp_path)])
    xgen.open(path, keep=False)
    assert shelf_files() == []
    xgen.open(path)
    assert len(shelf_files()) == 1
    extracted.clear()
    open_document(path)
    assert len(extracted) == 1


def test_a_limit_of_nothing_keeps_and_uses_nothing(
    tmp_path: Path, extracted: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.html", "Ada signed it.")
    open_document(path, keep=True)
    monkeypatch.setenv("XGEN_CACHE_GB", "0")
    open_document(path, keep=True)
    open_document(write(tmp_path / "b.html", "Eva signed it."), keep=True)
    assert len(extracted) == 3
    assert shelf_files() == []


def test_what_is_extracted_fast_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "FAST_S", 60)
    open_document(write(tmp_path / "a.html", "Ada signed it."), keep=True)
    assert shelf_files() == []


@pytest.mark.parametrize("as_folder", [True, False])
def test_the_limit_is_kept_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, as_folder: bool) -> None:
    paths = [write(tmp_path / f"{i}.html", f"Ada signed {i}.") for i in range(9)]
    open_document(paths[0], keep=True)
    size = shelf.files()[0].n_bytes
    monkeypatch.setenv("XGEN_CACHE_GB", f"{4.5 * size / 1e9:.9f}")
    open_documents([str(tmp_path)] if as_folder else list(map(str, paths)), keep=True)
    assert len(shelf_files()) == 4
    open_document(write(tmp_path / "a.html", "Eva signed it."), keep=True)
    assert len(shelf_files()) == 4


def test_plain_text_and_what_cannot_be_read_leave_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Ada signed it.")
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4 broken")
    open_document(tmp_path / "a.txt", keep=True)
    for _ in range(2):
        with pytest.raises(BadDocument, match="broken"):
            open_document(tmp_path / "b.pdf", keep=True)
    assert shelf_files() == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such modes")
def test_it_is_for_its_owner_alone(tmp_path: Path) -> None:
    open_document(write(tmp_path / "a.html", "Ada signed it."), keep=True)
    (path,) = shelf_files()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(shelf.folder().stat().st_mode) == 0o700


def test_a_full_disk_costs_what_is_kept_and_not_the_document(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a.html", "b.html"):
        write(tmp_path / name, f"Ada signed {name}.")
    plain = open_documents([str(tmp_path)])

    def full(path: Path, data: bytes) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    assert open_documents([str(tmp_path)], keep=True) == plain
    assert capsys.readouterr().err.count("not kept for the next time: the disk is full") == 1
    assert shelf_files() == []


def test_a_cache_folder_that_is_none_costs_nothing_else(
    tmp_path: Path, home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home.write_text("a file")
    path = write(tmp_path / "a.html", "Ada signed it.")
    assert open_document(path, keep=True) == open_document(path)
    assert "not kept for the next time" in capsys.readouterr().err


def test_processes_at_once_do_no_harm(tmp_path: Path, extracted: list[str]) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    for i in range(12):
        write(folder / f"{i}.html", f"Ada signed page {i}.")
    code = (
        "import sys\nfrom xgen.text import kept\nfrom xgen.text.extract import open_documents\n"
        "kept.FAST_S = 0\n"
        "for _ in range(5): print([d.text for d in open_documents([sys.argv[1]], keep=True)[0]])"
    )
    words = [sys.executable, "-c", code, str(folder)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = {line for process in running for line in process.communicate()[0].splitlines()}
    assert [process.returncode for process in running] == [0, 0, 0]
    assert said == {str([document.text for document in open_documents([str(folder)])[0]])}
    extracted.clear()
    open_documents([str(folder)], keep=True)
    assert extracted == []
    assert [path.suffix for path in shelf_files()] == [shelf.TEXT] * 12, "no draft is left"
