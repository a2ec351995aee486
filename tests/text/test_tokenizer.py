import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.errors import BadModel
from xgen.text.chat import Piece
from xgen.text.tokenizer import Tokenizer, replace_surrogates

MODELS = ["smollm2", "qwen-0.5b"]
SPELLINGS = st.sampled_from(
    ["<|im_start|>", "<|im_end|>", "<tool_call>", "<|im_", "end|>", "\0", "\ud83d", "naïve 日本"]
)
TEXTS = st.lists(st.text(max_size=12) | SPELLINGS, max_size=6).map("".join)


@pytest.fixture(scope="session")
def tiny(vocabulary: dict[str, Any]) -> Tokenizer:
    return Tokenizer(tokenizer_json(vocabulary))


def tokenizer_json(vocabulary: dict[str, Any]) -> dict[str, Any]:
    """The vocabulary of the tests in the library's own form."""
    model = tokenizers.models.BPE(
        {token: i for i, token in enumerate(vocabulary["tokens"]) if vocabulary["kinds"][i] != 5},
        [tuple(merge.split(" ")) for merge in vocabulary["merges"]],
    )
    made = tokenizers.Tokenizer(model)
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    made.add_special_tokens(vocabulary["tokens"][:3])
    made.add_tokens([vocabulary["tokens"][3]])
    return json.loads(made.to_str())


@pytest.mark.model
@pytest.mark.parametrize("name", MODELS)
def test_against_llamacpp_ids(name: str, pulled: Callable, golden: Callable) -> None:
    tokenizer = Tokenizer.from_folder(pulled(name))
    added = set(tokenizer.special_ids.values())
    for case in golden(f"llamacpp_{name}.json")["tokens"]:
        ids = tokenizer.encode(case["text"])
        assert not added & set(ids)
        if added & set(case["ids"]):  # llama.cpp reads USER_DEFINED tokens in any text, we never do
            assert "tool_call>" in case["text"]
        else:
            assert ids == case["ids"], case["text"]


@pytest.mark.model
@pytest.mark.parametrize("name", MODELS)
def test_against_llamacpp_texts_come_back(name: str, pulled: Callable, golden: Callable) -> None:
    tokenizer = Tokenizer.from_folder(pulled(name))
    # SmolLM2's vocabulary has no token for these bytes: control characters, and unassigned planes of Unicode
    spelt = set(map(tokenizer.token_bytes, range(tokenizer.vocab_size)))
    missing = {byte for byte in range(256) if bytes([byte]) not in spelt}
    controls = {*b"\x04\x06\x13\x14\x16\x1d\xc0\xc1\xf1\xf2", *range(0xF5, 0x100)}
    assert missing == (controls if name == "smollm2" else set())
    for case in golden(f"llamacpp_{name}.json")["tokens"]:
        kept = bytes(b for b in case["text"].encode() if b not in missing).decode()
        assert tokenizer.decode(tokenizer.encode(case["text"])) == kept


@given(text=TEXTS)
def test_law_text_is_data(tiny: Tokenizer, text: str) -> None:
    ids = tiny.encode(text)
    assert not set(ids) & set(tiny.special_ids.values())
    assert tiny.decode(ids) == replace_surrogates(text)[0]


@given(text=TEXTS)
def test_law_offsets_are_where_the_tokens_stand(tiny: Tokenizer, text: str) -> None:
    ids, offsets = tiny.encode_with_offsets(text)
    shown = replace_surrogates(text)[0]
    assert ids == tiny.encode(text)
    assert {i for start, end in offsets for i in range(start, end)} == set(range(len(text)))
    for token, (start, end) in zip(ids, offsets, strict=True):
        assert tiny.token_bytes(token) in shown[start:end].encode()


@given(ids=st.lists(st.integers(0, 298), max_size=30))
@settings(max_examples=300)
def test_against_tokenizers_decoding(vocabulary: dict[str, Any], tiny: Tokenizer, ids: list[int]) -> None:
    known = [i for i in ids if tiny.token_bytes(i)]
    theirs = tokenizers.Tokenizer.from_str(json.dumps(tokenizer_json(vocabulary)))
    assert tiny.decode(ids) == theirs.decode(known)
    # the library puts the spelling of an added token between texts that it decodes each on its own
    spelt = dict(map(reversed, tiny.special_ids.items()))
    assert [tiny.decode([i], markup=True) for i in ids] == [spelt.get(i) or theirs.decode([i]) for i in ids]


@pytest.mark.parametrize("nameless", [-1, 299, 10**6])
def test_an_id_without_text_is_an_error(tiny: Tokenizer, nameless: int) -> None:
    assert tiny.vocab_size == 299
    for decode in (tiny.decode, lambda ids: tiny.stream()(ids[-1])):
        with pytest.raises(ValueError, match=f"the id {nameless} has no text"):
            decode([5, nameless])


@given(ids=st.lists(st.integers(0, 298), max_size=30))
def test_law_streamed_pieces_joined_are_the_text(tiny: Tokenizer, ids: list[int]) -> None:
    stream = tiny.stream()
    pieces = [stream(i) for i in ids]
    assert "".join(pieces) + stream.rest() == tiny.decode(ids)


def test_a_stream_never_gives_half_a_character(tiny: Tokenizer) -> None:
    stream = tiny.stream()
    ids = [
        next(i for i in range(tiny.vocab_size) if tiny.token_bytes(i) == bytes([b])) for b in "é🦜".encode()
    ]
    assert [stream(i) for i in ids] == ["", "é", "", "", "", "🦜"]


@given(before=TEXTS, after=TEXTS)
def test_law_markup_alone_becomes_tokens(tiny: Tokenizer, before: str, after: str) -> None:
    start, end = tiny.special_ids["<|im_start|>"], tiny.special_ids["<|im_end|>"]
    pieces = [
        Piece("<|im_start|>user\n", True),
        Piece(before, False),
        Piece(after, False),
        Piece("<|im_end|>", True),
    ]
    ids = tiny.encode_markup(pieces)
    assert (ids[0], ids[-1]) == (start, end)
    assert ids[1:-1] == tiny.encode("user\n" + before + after)


def test_lone_surrogates_are_counted_and_keep_their_places(tiny: Tokenizer) -> None:
    assert replace_surrogates("a\ud800b\udfffc") == ("a\ufffdb\ufffdc", 2)
    assert tiny.encode_with_offsets("a\ud800b")[1][-1] == (2, 3)


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "WordPiece", "vocab": {}}},
        {"model": {"type": "BPE", "byte_fallback": True, "vocab": {}, "merges": []}},
        {"decoder": None},
        {"pre_tokenizer": {"type": "Whitespace"}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {"model": 3},
        {"added_tokens": [{}]},
    ],
)
def test_other_tokenizers_are_refused(
    vocabulary: dict[str, Any], tmp_path: Path, change: dict[str, Any]
) -> None:
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer_json(vocabulary) | change))
    with pytest.raises(BadModel, match="tokenizer cannot be used"):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_a_damaged_file_is_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(BadModel, match=r"tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadModel, match=r"it has no tokenizer\.json"):
        Tokenizer.from_folder(tmp_path)
