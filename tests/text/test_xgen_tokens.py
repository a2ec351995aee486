import builtins
import json
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.errors import BadModel, NotPulled
from xgen.text.chat import ChatTemplate, Message, Piece
from xgen.text.tokenizer import Tokenizer, replace_surrogates
from xgen.text.xgen_tokens import (
    CODE_TOKENS,
    END_OF_TEXT,
    TOKENIZER_SETTINGS,
    find_ranks,
    read_ranks,
    xgen_tokenizer_json,
)

SHARED = Path(__file__).parents[3] / "shared" / "tokens"
GPT2_SPLIT = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
END_ID, N_ROWS = 50256, 51200
WHITE = st.text(" \t\n\r\u00a0\u2003\u3000x", max_size=80)
CODE = st.lists(
    st.sampled_from(["def f(x):\n", "    return", "\t\tif", " x == 3", "  # naïve", "}\n\n", ";\n\t", "'ll"]),
    max_size=12,
).map("".join)
MARKS = st.sampled_from([END_OF_TEXT, *CODE_TOKENS, "<|endof", "<fim_", "\ud83d"])
TEXTS = st.lists(st.text(max_size=20) | WHITE | CODE | MARKS, max_size=6).map("".join)
SMALL = [
    b"th",
    b"the",
    b" t",
    b" the",
    b"\n\n",
    b"re",
    b"er",
    b"\xe6\x97",
    b"\xe6\x97\xa5",
    b" \xc2",
    b" \xc2\xa0",
]


@pytest.fixture(scope="module")
def gpt2() -> dict[bytes, int]:
    path = SHARED / "gpt2.tiktoken"
    if not path.is_file():
        pytest.skip("GPT-2's ranks are not here")
    return read_ranks(path)


@pytest.fixture(scope="module")
def small() -> dict[bytes, int]:
    """A table of ranks like GPT-2's: all bytes, and few tokens, one of them a space and a no-break space."""
    return {token: rank for rank, token in enumerate([*(bytes([i]) for i in range(256)), *SMALL])}


@pytest.fixture(scope="module", params=["gpt2", "small"])
def ranks(request: pytest.FixtureRequest) -> dict[bytes, int]:
    return request.getfixturevalue(request.param)


@pytest.fixture(scope="module")
def vectors() -> Callable[[str], list[dict[str, Any]]]:
    def read(name: str) -> list[dict[str, Any]]:
        if not (SHARED / name).is_file():
            pytest.skip("the golden vectors are not here")
        return json.loads((SHARED / name).read_text(encoding="utf-8"))

    return read


@pytest.fixture(scope="module")
def folder(gpt2: dict[bytes, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The words of an imported model's folder, without its weights."""
    made = tmp_path_factory.mktemp("xgen")
    config = {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "vocab_size": N_ROWS}
    config |= {"bos_token_id": END_ID, "eos_token_id": END_ID}
    (made / "config.json").write_text(json.dumps(config))
    (made / "tokenizer.json").write_text(json.dumps(xgen_tokenizer_json(gpt2)))
    (made / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_SETTINGS))
    return made


@pytest.fixture(scope="module")
def ours(folder: Path) -> Tokenizer:
    return Tokenizer.from_folder(folder)


def tiktoken_of(ranks: dict[bytes, int]) -> Any:
    """The stranger: tiktoken with the runs among its ranks, as the published code makes it."""
    tiktoken = pytest.importorskip("tiktoken")
    runs = [b" " * n for n in range(31, 1, -1)] + [b"\t" * n for n in range(9, 1, -1)]
    end = len(ranks)
    mergeable = ranks | {run: end + 1 + i for i, run in enumerate(runs)}
    special = {END_OF_TEXT: end} | {text: end + 39 + i for i, text in enumerate(CODE_TOKENS)}
    return tiktoken.Encoding("xgen", pat_str=GPT2_SPLIT, mergeable_ranks=mergeable, special_tokens=special)


def test_against_the_published_ids(gpt2: dict[bytes, int], vectors: Callable) -> None:
    ours = Tokenizer(xgen_tokenizer_json(gpt2))
    for case in vectors("xgen_vectors.json"):
        assert ours.encode_markup([Piece(case["text"], markup=True)]) == case["ids"], case["note"]
        as_data = ours.encode(case["text"])
        assert not set(as_data) & set(ours.special_ids.values())
        assert (as_data == case["ids"]) == (not set(case["ids"]) & set(ours.special_ids.values()))


def test_against_the_published_texts(ours: Tokenizer, vectors: Callable) -> None:
    for case in vectors("xgen_decode_vectors.json"):
        if "error" in case:
            with pytest.raises(ValueError, match="no text"):
                ours.decode(case["ids"])
        else:
            assert ours.decode(case["ids"], markup=True) == case["text"], case["note"]


def test_law_the_ids_are_those_of_tiktoken(ranks: dict[bytes, int]) -> None:
    theirs, ours = tiktoken_of(ranks), Tokenizer(xgen_tokenizer_json(ranks))

    @given(text=TEXTS)
    @settings(deadline=None, max_examples=400)
    def law(text: str) -> None:
        assert ours.encode(text) == theirs.encode_ordinary(text)
        slow = [found.ids for found in ours._plain.encode_batch([replace_surrogates(text)[0]])]
        assert slow == [theirs.encode_ordinary(text)]
        assert ours.encode_markup([Piece(text, markup=True)]) == theirs.encode(text, allowed_special="all")
        assert ours.decode(ours.encode(text)) == theirs.decode(theirs.encode_ordinary(text))

    law()


def test_law_with_tiktoken_or_without_all_is_the_same(
    ranks: dict[bytes, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library tiktoken, where it is installed, is the faster way of encoding, and no other."""
    fast = Tokenizer(xgen_tokenizer_json(ranks))
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "tiktoken", None)
        slow = Tokenizer(xgen_tokenizer_json(ranks))
    assert (fast._ranked is None, slow._ranked is None) == (find_spec("tiktoken") is None, True)

    @given(texts=st.lists(TEXTS, max_size=3))
    @settings(deadline=None, max_examples=100)
    def law(texts: list[str]) -> None:
        assert fast.encode_batch(texts) == slow.encode_batch(texts) == list(map(slow.encode, texts))
        assert list(map(fast.encode_with_offsets, texts)) == list(map(slow.encode_with_offsets, texts))

    law()


@pytest.mark.parametrize("mark", [" ", "\n", "\t ", "a", "^", "日"])
def test_a_long_run_of_anything_is_encoded(small: dict[bytes, int], mark: str) -> None:
    """The published code dies of a million spaces: its pattern takes more stack than there is."""
    ours = Tokenizer(xgen_tokenizer_json(small))
    text = mark * 200_000
    assert ours.decode(ours.encode(text)) == text


@pytest.mark.parametrize(
    "change",
    [
        {"ignore_merges": False},
        {"merges": [["t", "h"]]},
    ],
)
def test_other_vocabularies_are_not_tiktokens(small: dict[bytes, int], change: dict[str, Any]) -> None:
    data = xgen_tokenizer_json(small)
    assert Tokenizer(data | {"model": data["model"] | change})._ranked is None
    sequence = {"type": "Sequence", "pretokenizers": [data["pre_tokenizer"]]}
    assert Tokenizer(data | {"pre_tokenizer": sequence})._ranked is None
    assert Tokenizer(data | {"normalizer": {"type": "NFC"}})._ranked is None


def test_against_tiktoken_the_classes_of_characters(small: dict[bytes, int]) -> None:
    """What is a letter, a number or white space follows the version of Unicode; these two agree about all."""
    theirs, ours = tiktoken_of(small), Tokenizer(xgen_tokenizer_json(small))
    two_planes = (chr(i) for i in range(0x20000) if not 0xD800 <= i < 0xF900)
    text = "".join(f"a{character}1" for character in two_planes)
    assert ours.encode(text) == ours._plain.encode(text).ids == theirs.encode_ordinary(text)


def test_transformers_loads_it_without_code_of_its_own(folder: Path, vectors: Callable) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    assert (theirs.eos_token_id, theirs.bos_token_id, theirs.pad_token_id) == (END_ID, END_ID, None)
    assert len(theirs) == 50313
    for case in vectors("xgen_vectors.json"):
        assert theirs(case["text"]).input_ids == case["ids"], case["note"]
    for case in vectors("xgen_decode_vectors.json"):
        if "error" not in case:
            assert theirs.decode(case["ids"]) == case["text"], case["note"]
            shown = theirs.decode(case["ids"], skip_special_tokens=True)
            assert shown == case["text_skip_special"], case["note"]


def test_ids_without_text_are_those_behind_the_code_tokens(ours: Tokenizer) -> None:
    """A model has 51,200 rows; of these exactly the ids with text may be sampled."""
    nameless = {i for i in range(N_ROWS) if not ours.token_bytes(i)}
    assert nameless == {END_ID, *range(50295, N_ROWS)}
    assert set(ours.special_ids.values()) == {END_ID, *range(50295, 50313)}


PROMPT = (
    "A chat between a curious human and an artificial intelligence assistant. The assistant gives helpful, "
    "detailed, and polite answers to the human's questions.\n\n### Human: Please summarize the following "
    "article.\n\nThe heron stood.\n###"
)


def test_the_prompt_is_that_of_the_card(folder: Path, ours: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    template = ChatTemplate.from_folder(folder)
    asked = "Please summarize the following article.\n\nThe heron stood."
    pieces = template.render([Message("user", asked)])
    assert "".join(piece.text for piece in pieces) == PROMPT
    theirs = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    assert ours.encode_markup(pieces) == theirs(PROMPT).input_ids


def test_against_transformers_prompts(folder: Path, ours: Tokenizer) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    talk = [
        Message("user", "  Où est la lampe ?\n\n"),
        Message("assistant", "Dans la cuisine. 日本 1234\n"),
        Message("user", "\n## Et la clé?\t\n   - a\n#### b"),
    ]
    for turns in (talk, talk[:1], [Message("system", "Sois bref.\n"), *talk]):
        table = [{"role": turn.role, "content": turn.content} for turn in turns]
        expected = theirs.apply_chat_template(table, add_generation_prompt=True, return_dict=True)
        assert ours.encode_markup(ChatTemplate.from_folder(folder).render(turns)) == expected["input_ids"]


def test_a_system_turn_takes_the_headers_place(folder: Path) -> None:
    template = ChatTemplate.from_folder(folder)
    turns = [Message("system", "Be brief."), Message("user", "One?"), Message("assistant", "Two.")]
    turns.append(Message("user", "Three?"))
    text = "".join(piece.text for piece in template.render(turns))
    assert text == "Be brief.\n\n### Human: One?\n### Assistant: Two.\n### Human: Three?\n###"
    with pytest.raises(BadModel, match="a system turn stands first"):
        template.render([*turns, Message("system", "Be long.")])


def test_the_ranks_are_found_in_the_folder_first(gpt2: dict[bytes, int], tmp_path: Path) -> None:
    (tmp_path / "gpt2.tiktoken").write_bytes((SHARED / "gpt2.tiktoken").read_bytes())
    assert find_ranks(tmp_path) == gpt2


@pytest.mark.parametrize("data", [b"", b"IQ== 0\n", b"\xff" * (1 << 21), b"IQ== zero\n"])
def test_another_file_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "gpt2.tiktoken").write_bytes(data)
    with pytest.raises(BadModel, match="not the table of GPT-2's ranks"):
        find_ranks(tmp_path)


def test_a_changed_byte_is_refused(gpt2: dict[bytes, int], tmp_path: Path) -> None:
    data = bytearray((SHARED / "gpt2.tiktoken").read_bytes())
    data[-3] ^= 1
    (tmp_path / "gpt2.tiktoken").write_bytes(data)
    with pytest.raises(BadModel, match="not the table of GPT-2's ranks"):
        find_ranks(tmp_path)


def handmade_tiktoken(ranks: dict[bytes, int]) -> SimpleNamespace:
    tokens = {rank: token for token, rank in ranks.items()}
    encoding = SimpleNamespace(eot_token=len(ranks), decode_single_token_bytes=tokens.__getitem__)
    return SimpleNamespace(get_encoding=lambda name: encoding)


def test_else_tiktoken_brings_them(
    gpt2: dict[bytes, int], small: dict[bytes, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tiktoken", handmade_tiktoken(gpt2))
    assert find_ranks(tmp_path) == gpt2
    monkeypatch.setitem(sys.modules, "tiktoken", handmade_tiktoken(small))
    with pytest.raises(BadModel, match="not the table of GPT-2's ranks"):
        find_ranks(tmp_path)


def test_no_way_to_the_ranks_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(name: str) -> None:
        raise ConnectionError("no network")

    monkeypatch.setitem(sys.modules, "tiktoken", SimpleNamespace(get_encoding=offline))
    with pytest.raises(NotPulled, match=r"tiktoken cannot bring it .*; connect .* or put gpt2\.tiktoken"):
        find_ranks(tmp_path)
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "tiktoken":
            raise ImportError(name)
        return original(name, *rest)

    monkeypatch.delitem(sys.modules, "tiktoken")
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(NotPulled, match=r"not installed; put gpt2\.tiktoken .*xgen\[tiktoken\]"):
        find_ranks(tmp_path)


def test_a_table_that_does_not_merge_is_refused(small: dict[bytes, int]) -> None:
    with pytest.raises(ValueError, match="no two tokens of lower ranks make b'xyz'"):
        xgen_tokenizer_json(small | {b"xyz": len(small)})
