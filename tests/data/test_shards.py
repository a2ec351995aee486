import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

from xgen.data.document import Document
from xgen.data.shards import (
    LINE_END,
    OPENS,
    SENTENCE_MARK,
    WIDE_MARK,
    breaks_of,
    open_corpus,
    write_corpus,
)
from xgen.errors import BadCorpus
from xgen.text.tokenizer import Tokenizer

ALPHABET = sorted(pre_tokenizers.ByteLevel.alphabet())
EOT = 256


def tokenizer(n_extra: int = 0, merges: tuple[tuple[str, str], ...] = ()) -> dict[str, Any]:
    """A byte-level BPE of the 256 bytes, some merges, the end of text (256) and `n_extra` tokens more."""
    vocab = {letter: index for index, letter in enumerate(ALPHABET)}
    more = [*(left + right for left, right in merges), *(f"extra{index}" for index in range(n_extra))]
    vocab |= {text: EOT + 1 + index for index, text in enumerate(more)}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": EOT, "content": "<|endoftext|>", "special": True}
            | dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
        ],
        "pre_tokenizer": level,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": [list(merge) for merge in merges]},
    }


def document(index: int, text: str = "a text") -> Document:
    return Document(text, "source", f"document {index}", "CC0-1.0", "de")


def write(folder: Path, sets: dict[str, list[list[int]]]) -> Path:
    with write_corpus(folder, "small", tokenizer(), {"name": "small"}) as writer:
        for name, documents in sets.items():
            for index, ids in enumerate(documents):
                writer.add(name, document(index), ids)
    return folder


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "small", {"prose.de": [[1, 2, 3], [4, 5]], "code.py.held": [[6]]})


documents = st.lists(st.lists(st.integers(0, 256), min_size=1, max_size=9), min_size=1, max_size=5)


@given(sets=st.dictionaries(st.sampled_from(["prose.de", "prose.de.held", "code.py"]), documents, min_size=1))
@settings(max_examples=25, deadline=None)
def test_law_what_is_written_is_read(
    sets: dict[str, list[list[int]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = write(tmp_path_factory.mktemp("corpus") / "small", sets)
    corpus = open_corpus(folder, check=True)
    assert list(corpus.sets) == sorted(sets)
    assert (corpus.name, corpus.vocab_size, corpus.eot_id) == ("small", 257, EOT)
    for name, texts in sets.items():
        found = corpus.sets[name]
        assert [found.document(index).tolist() for index in range(found.n_documents)] == texts
        assert found.lengths.tolist() == [len(ids) for ids in texts]
        assert (found.n_tokens, found.n_bytes) == (sum(map(len, texts)), 6 * len(texts))
        assert [record.id for record in found.documents()] == [f"document {i}" for i in range(len(texts))]
        assert found.ids.dtype == np.uint16
        assert not found.ids.flags.writeable
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["recipe"] == {"name": "small"}
    on_disk = {path.name for path in folder.iterdir()} - {"manifest.json", "tokenizer.json"}
    assert on_disk == {file for entry in manifest["sets"].values() for file in entry["files"]}


def test_a_tuning_set_has_flags_and_parts(tmp_path: Path) -> None:
    with write_corpus(tmp_path / "c", "c", tokenizer(), {}) as writer:
        writer.add("chat.en", document(0), [1, 2, 3], trained=[0, 1, 1])
        writer.add("chat.en", document(1), [4, 5, 6, 7], trained=np.array([0, 0, 7, 0]), parts=[2, 1, 1])
    found = open_corpus(tmp_path / "c").sets["chat.en"]
    assert found.trained is not None
    assert found.parts is not None
    assert found.trained.tolist() == [0, 1, 1, 0, 0, 1, 0]
    assert found.parts.tolist() == [[0, 3], [1, 2], [1, 1], [1, 1]]
    assert found.part_starts.tolist() == [0, 1, 4]


def test_a_large_vocabulary_takes_32_bits(tmp_path: Path) -> None:
    with write_corpus(tmp_path / "c", "c", tokenizer(n_extra=70_000), {}) as writer:
        writer.add("prose.de", document(0), [1, 70_256])
    found = open_corpus(tmp_path / "c").sets["prose.de"].ids
    assert (found.dtype, found.tolist()) == (np.uint32, [1, 70_256])


def test_records_of_some_documents_and_a_list_that_is_too_short(corpus: Path) -> None:
    found = open_corpus(corpus).sets["prose.de"]
    assert [record.id for record in found.documents([1])] == ["document 1"]
    assert next(found.documents()).__dict__ == {
        "id": "document 0",
        "source": "source",
        "licence": "CC0-1.0",
        "language": "de",
        "bytes": 6,
    }
    path = corpus / "prose.de.jsonl"
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(BadCorpus, match="1 lines for 2 documents"):
        list(found.documents())
    path.write_bytes(b"{")
    with pytest.raises(BadCorpus, match="cannot be read"):
        list(found.documents())


FILES = ["manifest.json", "tokenizer.json", "prose.de.ids", "prose.de.starts", "prose.de.jsonl"]


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_one_sentence(corpus: Path, name: str) -> None:
    (corpus / name).unlink()
    with pytest.raises(BadCorpus) as raised:
        open_corpus(corpus)
    assert str(corpus) in str(raised.value)
    assert "there is no corpus" in str(raised.value) or name in str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_a_changed_byte_is_found_by_its_digest(corpus: Path, name: str) -> None:
    data = bytearray((corpus / name).read_bytes())
    data[0] ^= 1
    (corpus / name).write_bytes(data)
    with pytest.raises(BadCorpus) as raised:
        open_corpus(corpus, check=True)
    assert str(raised.value).count("\n") == 0


@pytest.mark.parametrize("name", ["manifest.json", "tokenizer.json", "prose.de.ids", "prose.de.starts"])
@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_of_another_size_is_found_at_once(corpus: Path, name: str, change: int) -> None:
    data = (corpus / name).read_bytes()
    (corpus / name).write_bytes(data[:change] if change < 0 else data + b"x")
    with pytest.raises(BadCorpus):
        open_corpus(corpus)


@pytest.mark.parametrize(
    ("key", "value", "what"),
    [
        ("vocab_size", 300, r"says \(300, 256\) .* its tokenizer \(257, 256\)"),
        ("eot_id", 3, r"says \(257, 3\) of ids and end"),
    ],
)
def test_a_manifest_is_held_against_the_tokenizer(corpus: Path, key: str, value: int, what: str) -> None:
    manifest = json.loads((corpus / "manifest.json").read_text())
    (corpus / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(BadCorpus, match=what):
        open_corpus(corpus, check=True)


@pytest.mark.parametrize(
    ("key", "value"),
    [("form", 2), ("dtype", "int8"), ("sets", {"../x.y": {}}), ("sets", []), ("vocab_size", None)],
)
def test_a_manifest_that_says_something_else_is_refused(corpus: Path, key: str, value: Any) -> None:
    manifest = json.loads((corpus / "manifest.json").read_text())
    (corpus / "manifest.json").write_text(json.dumps(manifest | {key: value}))
    with pytest.raises(BadCorpus):
        open_corpus(corpus)


def test_offsets_and_parts_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    with write_corpus(tmp_path / "c", "c", tokenizer(), {}) as writer:
        writer.add("chat.en", document(0), [1, 2, 3], trained=[0, 1, 1])
        writer.add("chat.en", document(1), [4], trained=[1])
    parts = tmp_path / "c" / "chat.en.parts"
    for bad in ([0, 2, 1, 2], [1, 1, 0, 3], [0, 3, 7, 1], [0, 3, 1, 0], [0, 3]):
        parts.write_bytes(np.asarray(bad, "<i4").tobytes())
        with pytest.raises(BadCorpus, match="parts"):
            open_corpus(tmp_path / "c")
    starts = tmp_path / "c" / "chat.en.starts"
    starts.write_bytes(np.asarray([0, 4, 4], "<i8").tobytes())
    with pytest.raises(BadCorpus, match="starts"):
        open_corpus(tmp_path / "c")


def test_a_writer_refuses_what_it_could_not_read_back(tmp_path: Path) -> None:
    with pytest.raises(BadCorpus, match="no documents"), write_corpus(tmp_path / "c", "c", tokenizer(), {}):
        pass
    assert not (tmp_path / "c").exists()
    headless = tokenizer() | {"added_tokens": []}
    with pytest.raises(BadCorpus, match="endoftext"), write_corpus(tmp_path / "c", "c", headless, {}):
        pass
    with write_corpus(tmp_path / "c", "c", tokenizer(), {}) as writer:
        writer.add("prose.de", document(0), [1])
        for name, ids, more in [
            ("prose", [1], {}),
            ("../prose.de", [1], {}),
            ("prose.de", [], {}),
            ("prose.de", [257], {}),
            ("prose.de", [-1], {}),
            ("prose.de", [1], {"trained": [1]}),
            ("chat.de", [1], {"trained": [1, 1]}),
            ("chat.de", [1, 2], {"trained": [1, 1], "parts": [1]}),
            ("chat.de", [1, 2], {"trained": [1, 1], "parts": [2, 0]}),
            ("chat.de", [1, 2], {"parts": [2]}),
        ]:
            with pytest.raises(ValueError, match=r"."):
                writer.add(name, document(0), ids, **more)
    with (
        pytest.raises(BadCorpus, match="something already"),
        write_corpus(tmp_path / "c", "c", tokenizer(), {}),
    ):
        pass
    assert open_corpus(tmp_path / "c").sets["prose.de"].n_tokens == 1


def test_what_each_token_is_for_a_cut() -> None:
    """Against the meaning of a few tokens, spelt as GPT-2 spells bytes (Ġ a space, Ċ a line feed)."""
    merges = (("Ċ", "Ġ"), (".", '"'), ("Ġ", "a"), (".", "5"), ("ã", "Ģ"), ("ãĢ", "Ĥ"), ("Ċ", "a"))
    found = Tokenizer(tokenizer(merges=merges))
    bits = breaks_of(found)

    def of(text: str) -> int:
        (index,) = found.encode(text)
        return int(bits[index])

    assert of("\n") == LINE_END | OPENS
    assert of(".") == of("?") == of('."') == SENTENCE_MARK
    assert of(" a") == of(" ") == OPENS
    assert of("a") == bits[found._plain.token_to_id(".5")] == 0
    assert of("。") == WIDE_MARK
    assert bits[found.special_ids["<|endoftext|>"]] == 0
    assert bits[found._plain.token_to_id("ĊĠ")] == LINE_END | OPENS
    assert bits[found._plain.token_to_id("Ċa")] == OPENS
