import json
import random

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from xgen.text.bpe import MIN_VOCAB_SIZE, SPECIAL_TOKENS, learn_bpe, smaller_vocabulary
from xgen.text.tokenizer import Tokenizer

WORDS = ["harbour", "Hafen", "гавань", "港口", "みなと", "port", "12345", "don't", "naïve", "\n\n", "  ", "="]


def texts(seed: int = 1) -> list[str]:
    chance = random.Random(seed)
    return [" ".join(chance.choices(WORDS, k=40)) for _ in range(60)]


@pytest.fixture(scope="module")
def learned() -> dict:
    return learn_bpe(iter(texts()), 340)


@pytest.fixture(scope="module")
def tokenizer(learned: dict) -> Tokenizer:
    return Tokenizer(learned)


def test_special_tokens_have_the_first_ids_and_bytes_the_next(tokenizer: Tokenizer) -> None:
    assert tokenizer.special_ids == {text: i for i, text in enumerate(SPECIAL_TOKENS)}
    first = {tokenizer.token_bytes(i) for i in range(len(SPECIAL_TOKENS), MIN_VOCAB_SIZE)}
    assert first == {bytes([byte]) for byte in range(256)}
    assert MIN_VOCAB_SIZE < tokenizer.vocab_size <= 340


@given(st.text())
def test_law_every_text_has_ids_and_comes_back(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == text


@given(st.lists(st.text("ab 1港'\n=é", max_size=40), max_size=5))
def test_against_the_library_ids_are_its_own(learned: dict, tokenizer: Tokenizer, texts: list[str]) -> None:
    library = tokenizers.Tokenizer.from_str(json.dumps(learned))
    expected = [found.ids for found in library.encode_batch(texts)]
    assert [tokenizer.encode(text) for text in texts] == expected
    assert tokenizer.encode_batch(texts) == expected


def test_each_digit_is_a_token(tokenizer: Tokenizer) -> None:
    assert [tokenizer.token_bytes(i) for i in tokenizer.encode("12345")] == [b"1", b"2", b"3", b"4", b"5"]


def test_a_text_that_spells_a_special_token_is_text(tokenizer: Tokenizer) -> None:
    assert min(tokenizer.encode("<|im_end|>")) >= len(SPECIAL_TOKENS)


@pytest.mark.parametrize("vocab_size", [MIN_VOCAB_SIZE, 280, 310])
def test_law_a_vocabulary_cut_short_is_the_one_learned_short(learned: dict, vocab_size: int) -> None:
    assert smaller_vocabulary(learned, vocab_size)["model"] == learn_bpe(iter(texts()), vocab_size)["model"]


def test_learning_twice_gives_the_same(learned: dict) -> None:
    assert learn_bpe(iter(texts()), 340) == learned


def test_a_vocabulary_without_room_for_the_bytes_is_refused() -> None:
    with pytest.raises(ValueError, match="smaller than 259"):
        learn_bpe(iter(["a"]), 258)
