"""Questions in traditional characters: every answer stands at its place, and nothing is left out unsaid."""

import gzip
import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import traditional as bench
from hypothesis import given
from hypothesis import strategies as st
from questions import Gold, Paragraph, Question, load

from xgen.errors import BadDocument, XgenError

TEXT = "王后的头发在皇宫之后。"
# 发 is 髮 as hair and 發 otherwise, 后 is 后 as a queen and 後 as behind: the words around them decide
PARAGRAPH = Paragraph("x", "zh", "头发", TEXT, (Question("1", "谁的头发?", (Gold("王后", 0),)),))
UNANSWERABLE = {"id": "q", "question": "?", "type": "unanswerable", "answers": []}


def test_against_a_dictionary_characters_follow_the_words_around_them(tmp_path: Path) -> None:
    pytest.importorskip("opencc", reason="the extra `bench` is not installed")
    src, out = tmp_path / "hair.jsonl.gz", tmp_path / "out.jsonl.gz"
    answers = [{"text": "头发", "start": 3}]
    question = {"id": "q", "question": "谁发现了头发?", "type": "extractive", "answers": answers}
    line = {"id": "a", "lang": "zh", "title": "头发", "text": TEXT, "questions": [question]}
    src.write_bytes(gzip.compress(json.dumps(line).encode()))
    bench.main([str(src), "--out", str(out)])
    (paragraph,) = load(out)[0].paragraphs  # which checks that answers stand at their places
    assert (paragraph.id, paragraph.article) == ("a-t", "頭髮")
    assert paragraph.text == "王后的頭髮在皇宮之後。"
    assert paragraph.questions == (Question("q-t", "誰發現了頭髮?", (Gold("頭髮", 3),)),)


@given(st.text("王后发头干在台", min_size=1), st.data())
def test_law_an_answer_is_what_stands_at_its_place(text: str, data: st.DataObject) -> None:
    """Whatever a character becomes by those around it."""

    def convert(words: str) -> str:
        pairs = zip(words, " " + words, strict=False)
        return "".join(chr(ord(c) + (before == "王") + 2 * (before == "头")) for c, before in pairs)

    start = data.draw(st.integers(0, len(text) - 1))
    end = data.draw(st.integers(start + 1, len(text)))
    asked = (Question("1", text, (Gold(text[start:end], start),)), Question("2", text, ()))
    told = Counter[str]()
    (line,) = bench.traditional([Paragraph("x", "zh", text, text, asked)], (), convert, told)
    first, second = line["questions"]
    assert line["text"] == line["title"] == first["question"] == convert(text)
    assert first["answers"] == [{"text": convert(text)[start:end], "start": start}]
    assert (second["type"], second["answers"]) == ("unanswerable", [])
    assert told == {"documents": 1, "questions": 2}


def test_what_is_left_out_is_counted() -> None:
    told = Counter[str]()
    assert not list(bench.traditional([PARAGRAPH], {"x": ["1"]}, str.upper, told))
    assert not list(bench.traditional([PARAGRAPH], (), lambda text: text + "!", told))
    assert not list(bench.traditional([replace(PARAGRAPH, lang="ja")], (), str.upper, told))
    assert told == {
        "development documents": 1,
        "texts of another length": 1,
        "documents in other languages": 1,
    }


def test_of_each_set_in_a_folder_its_own_development_documents_stay_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("opencc", reason="the extra `bench` is not installed")
    for name in ("a", "b"):
        line = {"id": name, "lang": "zh", "text": TEXT, "questions": [UNANSWERABLE]}
        (tmp_path / f"{name}.jsonl").write_text(json.dumps(line), encoding="utf-8")
    (tmp_path / "ids.json").write_text(json.dumps({"b": {"b": ["q"]}, "c": {"a": ["q"]}}))
    monkeypatch.setattr(bench, "IDS", tmp_path / "ids.json")
    out = tmp_path / "out.jsonl"
    bench.main([str(tmp_path), "--out", str(out)])
    assert [p.id for p in load(out)[0].paragraphs] == ["a-t"]


def test_mistakes_are_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    src, out = tmp_path / "a.jsonl", tmp_path / "out.jsonl.gz"
    monkeypatch.setitem(sys.modules, "opencc", None)
    with pytest.raises(XgenError, match=r"opencc: it is not installed; pip install"):
        bench.main([str(src), "--out", str(out)])
    monkeypatch.undo()
    pytest.importorskip("opencc", reason="the extra `bench` is not installed")
    with pytest.raises(BadDocument, match="there is no such file"):
        bench.main([str(src), "--out", str(out)])
    src.write_text("{")
    with pytest.raises(BadDocument, match=r"a\.jsonl line 1: not a document with questions"):
        bench.main([str(src), "--out", str(out)])
    src.write_text(json.dumps({"id": "a", "lang": "en", "text": "Hair.", "questions": [UNANSWERABLE]}))
    with pytest.raises(BadDocument, match=r"nothing of it is kept \(documents in other languages: 1\); name"):
        bench.main([str(src), "--out", str(out)])
    assert not out.exists()
