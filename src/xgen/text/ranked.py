"""The library tiktoken in place of tokenizers, for vocabularies that are its own: some five times as fast.

Its merging needs ranks alone: of two neighbours those are joined that make the token of the lowest rank.
Where a tokenizer.json was made of such a table, as XGen's is, both libraries give the same ids.
"""

from collections.abc import Callable
from typing import Any

# GPT-2's pattern as tiktoken's authors write it now: the same pieces, but a long run of white space neither
# takes a stack that it has not nor is gone through twice.
GPT2_SPLIT = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"


def ranked_encoding(data: dict[str, Any], bytes_of: dict[bytes, int]) -> Callable[[str], list[int]] | None:
    """The way from text to ids by tiktoken; None without that library or for any other tokenizer.json.

    `bytes_of` has the id of every token but the added ones. A table of ranks shows in this: each token of
    several bytes is made by one merge, the merges stand in the order of their ids, and whole pieces are
    not merged.
    """
    model, split = data["model"], data.get("pre_tokenizer") or {}
    if not model.get("ignore_merges") or data.get("normalizer") or split.get("use_regex") is not True:
        return None
    if split.get("type") != "ByteLevel" or sum(len(token) == 1 for token in bytes_of) != 256:
        return None
    made = [model["vocab"]["".join(merge)] for merge in model["merges"] if not isinstance(merge, str)]
    if made != sorted(index for token, index in bytes_of.items() if len(token) > 1):
        return None
    try:
        import tiktoken
    except ImportError:
        return None
    return tiktoken.Encoding(
        "ranked", pat_str=GPT2_SPLIT, mergeable_ranks=bytes_of, special_tokens={}
    ).encode_ordinary
