import io
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xgen.errors import BadDocument
from xgen.text import extract
from xgen.text.extract import open_document, open_documents
from xgen.text.extract.plain import decode


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"])), st.text(st.sampled_from("ab é\r\n\t")))
def test_law_utf8_is_decoded_unchanged(a: str, b: str) -> None:
    text = f"x{a}{b}"
    assert decode(text.encode(), "name") == (text, [])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-le", "utf-16-be"])
def test_unicode_encodings(encoding: str) -> None:
    text = "The first line,\r\nzwei schöne Zeilen, and 中文.\r\n"
    assert decode(text.encode(encoding), "name") == (text, [])


@pytest.mark.parametrize(
    ("encoding", "text"),
    [
        ("latin-1", "Il était une fois un café à Paris, déjà vu."),
        ("cp1252", "“Schöne Grüße” aus München – bis später"),
        ("cp1250", "Příliš žluťoučký kůň úpěl ďábelské ódy"),
        ("cp1251", "Привет, как дела? Это русский текст."),
        ("koi8-r", "Привет, как дела? Это русский текст."),
        ("iso8859-7", "Ελληνικό κείμενο εδώ, πολύ απλό"),
        ("shift_jis", "日本語のテキストです。これは長い文章です。"),
        ("euc_jp", "日本語のテキストです。これは長い文章です。"),
        ("gb18030", "中文文本，这是一个很长的句子。"),
        ("euc_kr", "한국어 문장입니다. 이것은 시험입니다."),
    ],
)
def test_legacy_encodings(encoding: str, text: str) -> None:
    assert decode(text.encode(encoding), "name") == (text, [])


def test_a_bad_byte_in_utf8_is_counted() -> None:
    text, dropped = decode(("schöne Grüße aus Köln, äöü äöü äöü " * 2).encode() + b"\xff!", "name")
    assert text.endswith("äöü \ufffd!")
    assert dropped == ["1 stretches of bytes are not valid UTF-8 and stand as \ufffd"]


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "empty"),
        (b" \r\n\t ", "empty"),
        (b"\xff\xfe \x00\n\x00", "white space"),
        (b"abc\0\0\0\1\2def" * 9, "binary"),
        (bytes(range(1, 32)) * 9, "binary"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "PNG"),
        (b"\xff\xd8\xff\xe0 no zero byte", "JPEG"),
        (b"\xff\xfea\xd8b\x00", "UTF-16"),
        (bytes(random.Random(0).choices(range(128, 256), k=2000)), "encoding"),
    ],
)
def test_what_is_no_text_is_refused_in_one_sentence(data: bytes, what: str) -> None:
    with pytest.raises(BadDocument, match=what) as caught:
        decode(data, "some.txt")
    assert str(caught.value).startswith("some.txt: it ") or str(caught.value).startswith("some.txt: its ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_opened(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").touch()
    for name, what in [
        ("missing.txt", "no such file"),
        ("", "a folder"),
        ("empty.txt", "empty"),
        ("a\0b", "null"),
    ]:
        with pytest.raises(BadDocument, match=what):
            open_document(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "head", "limit"),
    [("a.txt", b"text\n", 64), ("a.pdf", b"%PDF-1.7", 256), ("a.docx", b"PK\3\4", 64)],
)
def test_too_large_a_file_is_named_with_its_size_and_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, peak_bytes: Callable, name: str, head: bytes, limit: int
) -> None:
    with (tmp_path / name).open("wb") as file:
        file.write(head)
        file.truncate(2**30)  # sparse: takes no room
    sentence = f"it has 1,024 MB, and {limit} MB are read at most; cut it into parts"

    def refused(path: Path | str) -> None:
        with pytest.raises(BadDocument, match=sentence):
            open_document(path)

    refused(tmp_path / name)  # once before, since what the format needs is imported then
    assert peak_bytes(lambda: refused(tmp_path / name)) < 2**20
    with (tmp_path / name).open("rb") as redirected:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(redirected))
        assert peak_bytes(lambda: refused("-")) < 2**20


def test_a_file_of_one_byte_too_many_has_another_number_than_the_limit(tmp_path: Path) -> None:
    with (tmp_path / "a.txt").open("wb") as file:
        file.truncate(extract.MAX_TEXT_BYTES + 1)
    with pytest.raises(BadDocument, match="it has 65 MB, and 64 MB are read"):
        open_document(tmp_path / "a.txt")


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("Grüße\r\n".encode())))
    document = open_document("-")
    assert (document.path, document.text, document.page_starts) == ("-", "Grüße\r\n", ())


def test_standard_input_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = io.BytesIO(b"word " * 2**20)
    monkeypatch.setattr(extract, "MAX_TEXT_BYTES", 2**20)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(endless))
    with pytest.raises(BadDocument, match="it has more than 1 MB, and 1 MB are read at most"):
        open_document("-")
    assert endless.tell() == 2**20 + 1


def _tree(folder: Path) -> None:
    for name, text in [
        ("b.txt", "B"),
        ("a.md", "# A"),
        ("sub/c.txt", "C"),
        ("sub/README", "R"),
        ("x.png", "X"),
    ]:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    (folder / "broken.txt").write_bytes(b"\0\1\2")
    (folder / ".git").mkdir()
    (folder / ".git" / "config.txt").write_text("hidden")


def test_a_folder_is_read_in_order_and_what_is_skipped_is_named(tmp_path: Path) -> None:
    _tree(tmp_path)
    documents, skipped = open_documents([str(tmp_path)])
    assert [Path(d.path).relative_to(tmp_path).as_posix() for d in documents] == [
        "a.md",
        "b.txt",
        "sub/README",
        "sub/c.txt",
    ]
    assert [Path(s.split(": ")[0]).name + ": " + s.split(": ")[1] for s in skipped] == [
        ".git: it is hidden",
        "broken.txt: it is a binary file, not text",
        "x.png: .png files are not read from folders",
    ]


def test_patterns_and_files_named_twice(tmp_path: Path) -> None:
    _tree(tmp_path)
    documents, skipped = open_documents([str(tmp_path / "sub" / "c.txt"), str(tmp_path / "**" / "*.txt")])
    assert [Path(d.path).name for d in documents] == ["c.txt", "b.txt"]
    assert [s.split(": ")[1] for s in skipped] == ["it is a binary file, not text"]


def test_a_file_with_a_pattern_for_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].txt").write_text("one")
    (tmp_path / "a1.txt").write_text("other")
    assert [d.text for d in open_documents([str(tmp_path / "a[1].txt")])[0]] == ["one"]


@pytest.mark.parametrize("pattern", ["", "*.txt", "only.png", "missing"])
def test_named_and_not_readable_is_an_error(tmp_path: Path, pattern: str) -> None:
    (tmp_path / "only.png").write_bytes(b"\x89PNG\0")
    with pytest.raises(BadDocument):
        open_documents([os.path.join(tmp_path, pattern)])


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_a_link_that_leads_back_up_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("A")
    (tmp_path / "loop").symlink_to(tmp_path, target_is_directory=True)
    documents, skipped = open_documents([str(tmp_path)])
    assert [d.text for d in documents] == ["A"]
    assert len(skipped) == 1
