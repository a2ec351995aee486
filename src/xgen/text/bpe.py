"""A byte-level BPE learned from texts, by the library tokenizers, as the content of a tokenizer.json.

Texts are split as Qwen2 splits them (https://arxiv.org/abs/2407.10671, section 2.1), so that other engines
know the pattern: a letter run with at most one mark before it is a word, which suits text without spaces
too; each digit is its own word, so that no number is a token and all numbers are read alike. The special
tokens have the first ids, the 256 bytes the next.
"""

import json
from collections.abc import Iterator
from typing import Any

import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

SPECIAL_TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
MIN_VOCAB_SIZE = 256 + len(SPECIAL_TOKENS)
MAX_TOKEN_CHARACTERS = 32


def learn_bpe(texts: Iterator[str], vocab_size: int) -> dict[str, Any]:
    """Learn a vocabulary of `vocab_size` ids; all bytes are among them, so that any text has ids.

    Fewer ids come out where the texts have too few pairs of tokens that occur twice. ValueError if
    `vocab_size` has no room for the bytes and the special tokens.
    """
    if vocab_size < MIN_VOCAB_SIZE:
        raise ValueError(f"a vocabulary of {vocab_size} is smaller than {MIN_VOCAB_SIZE}")
    learned = tokenizers.Tokenizer(models.BPE())
    learned.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(tokenizers.Regex(SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    learned.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=2,
        special_tokens=list(SPECIAL_TOKENS),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        max_token_length=MAX_TOKEN_CHARACTERS,
        show_progress=False,
    )
    learned.train_from_iterator(texts, trainer)
    data: dict[str, Any] = json.loads(learned.to_str())
    return data


def smaller_vocabulary(data: dict[str, Any], vocab_size: int) -> dict[str, Any]:
    """The same tokenizer with its first `vocab_size` ids and their merges: what learning so many gives."""
    vocab = {text: index for text, index in data["model"]["vocab"].items() if index < vocab_size}
    merges = [pair for pair in data["model"]["merges"] if "".join(pair) in vocab]
    return data | {"model": data["model"] | {"vocab": vocab, "merges": merges}}
