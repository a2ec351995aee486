"""Japanese books in Aozora Bunko's notation, and passages out of records of questions."""

import gzip
import io
import json
import tarfile

import pytest

from xgen.data.extract import passages
from xgen.data.extract.aozora import NotFree, extract_aozora
from xgen.data.extract.passages import extract_passages
from xgen.errors import BadDocument

COLOPHON = """


底本：「山田花子全集　第一巻」空文社
　　　1950（昭和25）年1月1日初版発行
入力：甲野乙
青空文庫作成ファイル：
このファイルは、青空文庫で作られました。
"""
LEGEND = """-------------------------------------------------------
【テキスト中に現れる記号について】

《》：ルビ
（例）山《やま》

｜：ルビの付く文字列の始まりを特定する記号
-------------------------------------------------------
"""


def book(body: str, legend: str = LEGEND, colophon: str = COLOPHON) -> bytes:
    """A file as Aozora has it: Shift-JIS with lines ended by CR and LF."""
    return f"川と山\n山田花子\n\n{legend}\n{body}{colophon}".replace("\n", "\r\n").encode("cp932")


def read(body: str) -> str:
    return extract_aozora(book(body)).removeprefix("川と山\n山田花子\n\n")


def test_title_and_text_stay_and_what_is_about_the_file_goes() -> None:
    assert extract_aozora(book("　川は長い。\n　山は高い。")) == "川と山\n山田花子\n\n川は長い。\n山は高い。"
    assert extract_aozora(book("川は長い。", legend="")) == "川と山\n山田花子\n\n川は長い。"


@pytest.mark.parametrize(
    ("written", "read_as"),
    [
        ("山《やま》と川《かわ》。", "山と川。"),
        ("あの｜大きな山《おおきなやま》。", "あの大きな山。"),
        ("山［＃「山」に傍点］は高い。", "山は高い。"),
        ("［＃３字下げ］第一章［＃「第一章」は大見出し］\n［＃改ページ］\n山。", "第一章\n\n山。"),
        ("［＃ここから２字下げ］\n山。\n［＃ここで字下げ終わり］", "山。"),
        # The characters' numbers and what they are, by the standard's table (JIS X 0213:2004, plane 1).
        ("何だ※［＃感嘆符二つ、1-8-75］", "何だ‼"),
        ("各※［＃二の字点、1-2-22］", "各〻"),
        ("第※［＃ローマ数字1、1-13-21］巻", "第Ⅰ巻"),
        ("※［＃「くさかんむり／（束＋束）」、U+26F94、12-3］", "\U00026f94"),
        ("※［＃「てへん＋去」、第4水準2-13-12］", b"\x8f\xad\xac".decode("euc_jis_2004")),
        ("※［＃「何かの字」、12-3］の山", "〓の山"),
        ("※［＃「悪い番号」、第3水準1-99-99］", "〓"),
    ],
)
def test_notes_and_readings(written: str, read_as: str) -> None:
    assert read(written) == read_as


@pytest.mark.parametrize(
    "statement",
    [
        "この作品は、クリエイティブ・コモンズ「表示 2.1 日本」でライセンスされています。",
        "この翻訳は「CC BY 4.0」によって公開されています。",
        "翻訳の著作権は丙山丁子にあります。",
        "著者の許諾を得て公開しています。",
    ],
)
def test_a_protected_work_is_refused_by_its_own_notes(statement: str) -> None:
    with pytest.raises(NotFree):
        extract_aozora(book("山。", colophon=f"{COLOPHON}{statement}\n"))


def test_a_work_that_does_not_say_where_it_is_from_is_refused() -> None:
    with pytest.raises(NotFree, match="colophon"):
        extract_aozora(book("山。", colophon=""))


@pytest.mark.parametrize("data", [b"\xff\xff\xff", book("").replace("川と山".encode("cp932"), b"")[:0]])
def test_what_is_no_such_file_is_told_in_a_sentence(data: bytes) -> None:
    with pytest.raises(BadDocument):
        extract_aozora(data)


RECORDS = [
    {
        "id": 1,
        "question": {"choices": [{"para": "Eins ist da. Zwei ist da."}, {"para": "Zwei ist da. Drei kam."}]},
    },
    {"id": 2, "question": {"choices": [{"para": "Drei kam."}, {"other": "no"}]}},
    {"id": 3, "question": {"choices": [{"para": "Vier kam. Eins ist da."}]}},
]


def packed(name: str, lines: bytes) -> bytes:
    if not name.endswith("gz"):
        return lines
    if not name.endswith(".tar.gz"):
        return gzip.compress(lines)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        entry = tarfile.TarInfo("../climbs.jsonl")
        entry.size = len(lines)
        archive.addfile(entry, io.BytesIO(lines))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.jsonl.tar.gz"])
def test_each_sentence_of_found_passages_comes_once(name: str) -> None:
    data = packed(name, b"\n".join(json.dumps(record).encode() for record in RECORDS))
    assert extract_passages(name, data, "question.choices.*.para") == [
        ("#1", "Eins ist da.\nZwei ist da.\nDrei kam."),
        ("#3", "Vier kam."),
    ]
    with pytest.raises(BadDocument, match="no record has text at question"):
        extract_passages(name, data, "question.para")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.jsonl", b"{"),
        ("a.jsonl", b"[" * 100_000),
        ("a.jsonl.gz", b"plain"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}' * 1000)[:-20]),
        ("a.jsonl.tar.gz", b"plain"),
        ("a.jsonl.tar.gz", gzip.compress(b"x" * 2000)),
    ],
)
def test_damaged_records_are_told_in_a_sentence(name: str, data: bytes) -> None:
    with pytest.raises(BadDocument):
        extract_passages(name, data, "a")


def test_records_that_swell_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(passages, "MAX_BYTES", 1 << 20)
    with pytest.raises(BadDocument, match="unpacks to more than 1 MiB"):
        extract_passages("a.jsonl.gz", gzip.compress(b" " * (2 << 20)), "a")
