"""What several tests of data share."""

import pytest

from xgen.text.tokenizer import Tokenizer


@pytest.fixture(scope="session")
def byte_tokenizer() -> Tokenizer:
    """Of bytes, and the marks of turns: a token a byte, whatever the text."""
    from tokenizers.pre_tokenizers import ByteLevel

    alphabet = sorted(ByteLevel.alphabet())
    specials = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    vocab = {text: i for i, text in enumerate([*specials, *alphabet])}
    data = {
        "version": "1.0",
        "added_tokens": [{"id": i, "content": text} | flags for i, text in enumerate(specials)],
        "normalizer": None,
        "pre_tokenizer": level,
        "post_processor": None,
        "decoder": level,
        "model": {"type": "BPE", "vocab": vocab, "merges": []},
    }
    return Tokenizer(data)
