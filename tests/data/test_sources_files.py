"""A user's own files: JSON lines, parquet tables, folders, conversations; and apt's lists of descriptions."""

import bz2
import gzip
import json
import lzma
import sys
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.document import Document, Rejected
from xgen.data.recipe import SourceSpec
from xgen.data.sources import documents, download
from xgen.data.sources import jsonl as lines_module
from xgen.errors import BadRecipe, XgenError

PACK = {
    "": bytes,
    ".gz": gzip.compress,
    ".xz": lzma.compress,
    ".bz2": bz2.compress,
    ".zst": zstandard.compress,
}


def spec(folder: Path, kind: str, **fields: object) -> SourceSpec:
    known = {"name": "s", "set": "prose", "folder": str(folder), "licence": "CC0-1.0", **fields}
    return SourceSpec(kind=kind, **known)  # type: ignore[arg-type]


def found(asked: SourceSpec) -> list[Document | Rejected]:
    download(asked, Path("/nowhere"), quiet=True)
    return list(documents(asked, Path("/nowhere")))


def jsonl(path: Path, *records: object) -> Path:
    text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    path.write_bytes(PACK[path.suffix if path.suffix in PACK else ""](text.encode()))
    return path


@pytest.mark.parametrize("suffix", PACK)
def test_lines_of_every_packing(tmp_path: Path, suffix: str) -> None:
    jsonl(tmp_path / f"a.jsonl{suffix}", {"text": "naïve 日本"}, {"text": "two", "id": "x", "language": "de"})
    assert found(spec(tmp_path, "jsonl", paths=(f"a.jsonl{suffix}",))) == [
        Document("naïve 日本", "s", f"a.jsonl{suffix}:1", "CC0-1.0", ""),
        Document("two", "s", f"a.jsonl{suffix}:x", "CC0-1.0", "de"),
    ]


def test_fields_have_the_names_of_the_recipe(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", {"body": "words", "key": 7, "by": "MIT", "lang": "fr"})
    fields = {"text": "body", "id": "key", "licence": "by", "language": "lang"}
    asked = spec(tmp_path, "jsonl", paths=("a.jsonl",), fields=fields)
    assert found(asked) == [Document("words", "s", "a.jsonl:7", "MIT", "fr")]


def test_every_bad_line_is_rejected_with_its_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "MAX_LINE_BYTES", 200)
    bad = [
        b"{",
        b"[1]",
        b"\xff{}",
        b'{"id": 1}',
        b'{"text": ""}',
        b'{"text": 3}',
        b'{"text": "%s"}' % (b"a" * 500),
    ]
    good = b'{"text": "good"}'
    (tmp_path / "a.jsonl").write_bytes(b"\n".join([*bad, b"", good]))
    *rejected, last = found(spec(tmp_path, "jsonl", paths=("a.jsonl",)))
    reasons = [
        "not_json",
        "not_an_object",
        "not_utf8",
        "no_text",
        "no_text",
        "text_is_not_text",
        "line_too_long",
    ]
    assert [item.reason for item in rejected if isinstance(item, Rejected)] == reasons
    assert [item.id for item in rejected] == [f"a.jsonl:{n}" for n in (1, 2, 3, 1, 5, 6, 7)]
    assert last == Document("good", "s", "a.jsonl:9", "CC0-1.0", "")


def test_no_licence_and_no_file(tmp_path: Path) -> None:
    jsonl(tmp_path / "a.jsonl", {"text": "words"})
    [item] = found(spec(tmp_path, "jsonl", paths=("a.jsonl",), licence=""))
    assert isinstance(item, Rejected)
    assert item.reason == "no_licence_stated"
    with pytest.raises(XgenError, match=r"b\.jsonl: there is no such file; mend `paths` of the source s"):
        found(spec(tmp_path, "jsonl", paths=("b.jsonl",)))
    with pytest.raises(XgenError, match="it names no files"):
        found(spec(tmp_path, "jsonl"))


RECORD = st.fixed_dictionaries({"text": st.text(st.characters(codec="utf-8"), min_size=1)})


@settings(deadline=None, max_examples=40)
@given(st.lists(RECORD, max_size=8), st.sampled_from(sorted(PACK)), st.data())
def test_law_a_cut_file_gives_a_beginning_and_a_fault(
    tmp_path_factory: pytest.TempPathFactory, records: list[object], suffix: str, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    path = jsonl(folder / f"a.jsonl{suffix}", *records)
    whole = path.read_bytes()
    asked = spec(folder, "jsonl", paths=(path.name,))
    texts = [item.text for item in found(asked) if isinstance(item, Document)]
    assert texts == [record["text"] for record in records]  # type: ignore[index]
    path.write_bytes(whole[: data.draw(st.integers(0, max(len(whole) - 1, 0)))])
    items = found(asked)
    kept = [item.text for item in items if isinstance(item, Document)]
    assert kept == texts[: len(kept)]
    assert len(items) - len(kept) <= 2, "half a line and a damaged file"


@pytest.mark.parametrize("packed", [".gz", ".xz", ".bz2", ".zst"])
def test_a_damaged_file_is_told_after_what_can_be_read(tmp_path: Path, packed: str) -> None:
    path = jsonl(tmp_path / f"a.jsonl{packed}", *({"text": "a" * 1000 + str(i)} for i in range(2000)))
    path.write_bytes(path.read_bytes()[:-20])
    *_, last = found(spec(tmp_path, "jsonl", paths=(path.name,)))
    assert isinstance(last, Rejected)
    assert last.reason == "file_damaged"


def test_rows_of_a_parquet_table(tmp_path: Path) -> None:
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = {
        "body": ["one", None, "three"],
        "id": ["a", "b", "c"],
        "licence": ["MIT", "", None],
        "more": [1, 2, 3],
    }
    pq.write_table(pa.table(table), tmp_path / "a.parquet")
    asked = spec(
        tmp_path, "parquet", paths=("a.parquet",), fields={"text": "body"}, language="en", licence=""
    )
    one, two, three = found(asked)
    assert one == Document("one", "s", "a.parquet:a", "MIT", "en")
    assert isinstance(two, Rejected)
    assert isinstance(three, Rejected)
    assert (two.reason, three.reason) == ("no_text", "no_licence_stated")
    with pytest.raises(BadRecipe, match="no column of texts, but body, id, licence, more"):
        found(spec(tmp_path, "parquet", paths=("a.parquet",)))
    (tmp_path / "a.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-50])
    [item] = found(asked)
    assert isinstance(item, Rejected)
    assert item.reason == "file_damaged"


def test_files_of_a_folder(tmp_path: Path) -> None:
    for name, data in {
        "texts/LICENSE": b"Permission is hereby granted, free of charge, to any person obtaining a copy",
        "texts/de/a.txt": "Wörter".encode(),
        "texts/b.html": b"<p>Words.",
        "texts/c.png": b"\x89PNG",
        "texts/.hidden": b"no",
        "other/d.txt": b"words",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    items = found(spec(tmp_path, "folder", paths=("texts", "other/*.txt"), licence=""))
    assert items[0] == Document("Words.", "s", "texts/b.html", "MIT", "")
    assert [(item.id, item.reason) for item in items if isinstance(item, Rejected)] == [
        ("texts/c.png", "cannot_be_read"),
        ("other/d.txt", "no_licence_stated"),
    ]
    assert items[2] == Document("Wörter", "s", "texts/de/a.txt", "MIT", "de")


def test_a_link_out_of_the_recipe_s_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "recipe").mkdir()
    (tmp_path / "recipe" / "a.txt").symlink_to(tmp_path / "secret.txt")
    [item] = found(spec(tmp_path / "recipe", "folder", paths=("*.txt",)))
    assert isinstance(item, Rejected)
    assert (item.reason, item.text) == ("path_climbs_out", "")


def test_conversations_keep_their_records(tmp_path: Path) -> None:
    record = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    jsonl(tmp_path / "a.jsonl", record, {**record, "licence": "MIT"})
    one, two = found(spec(tmp_path, "chats", set="chat", paths=("a.jsonl",), licence=""))
    assert isinstance(one, Rejected)
    assert one.reason == "no_licence_stated"
    assert isinstance(two, Document)
    assert json.loads(two.text)["messages"] == record["messages"]
    assert two.licence == "MIT"


TRANSLATION = """Package: pellet
Description-md5: 0
Description-de: Rollt Teig
 Ein Programm, das Teig zu
 kleinen Kugeln rollt.
 .
 Es kann:
  * groß,
  * klein.

Package: broken
Description-md5: 1
"""
APT = """#!{python}
import pathlib, sys
lists = pathlib.Path(next(w for w in sys.argv if w.startswith("Dir::State::Lists=")).partition("=")[2])
asked = next(w for w in sys.argv if w.startswith("Acquire::Languages=")).partition("=")[2].split(",")
for name in set(asked) & {{"de", "pt_BR", "zh_CN"}}:
    path = lists / ("mirror_debian_dists_stable_main_i18n_Translation-" + name)
    path.write_text({text!r}.replace("-de:", "-" + name + ":"))
"""


def test_descriptions_of_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "apt-get"
    program.write_text(APT.format(python=sys.executable, text=TRANSLATION))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    asked = spec(tmp_path, "descriptions", set="description", languages=("de", "pt", "zh", "hr"))
    download(asked, tmp_path / "d", quiet=True)
    program.unlink()
    download(asked, tmp_path / "d", quiet=True)  # instant: nothing is called
    items = list(documents(asked, tmp_path / "d"))
    text = "Rollt Teig\n\nEin Programm, das Teig zu kleinen Kugeln rollt.\n\nEs kann:\n* groß,\n* klein."
    assert items[0] == Document(text, "s", "stable_main:de:pellet", "CC0-1.0", "de")
    assert [item.language for item in items] == ["de", "de", "pt", "pt", "zh", "zh"]
    assert [item.reason for item in items if isinstance(item, Rejected)] == ["no_text"] * 3
    with pytest.raises(BadRecipe, match="names no languages"):
        download(spec(tmp_path, "descriptions"), tmp_path / "d", quiet=True)
