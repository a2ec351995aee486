"""XGen's tokenizer as an ordinary tokenizer.json, made of GPT-2's ranks; its prompt as a chat template.

The published folder brings Python code around tiktoken instead, which few versions of transformers can run.
Behind GPT-2's 50,256 tokens stand the end of a text, runs of spaces and of tabs, which merge like any other
token, and the marks of code data. https://huggingface.co/Salesforce/xgen-7b-8k-base, tokenization_xgen.py
"""

import base64
import binascii
import hashlib
from itertools import pairwise
from pathlib import Path
from typing import Any

from xgen.errors import BadModel, NotPulled
from xgen.text.tokenizer import SPELLING

RANKS_FILE = "gpt2.tiktoken"
RANKS_SHA256 = "306cd27f03c1a714eca7108e03d66b7dc042abe8c258b44c199a7ed9838dd930"
_LARGEST_RANKS_BYTES = 1 << 20
END_OF_TEXT = "<|endoftext|>"
LONGEST_RUNS = {b" ": 31, b"\t": 9}
CODE_TOKENS = (
    *("<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<filename>", "<gh_stars>"),
    *("<issue_start>", "<issue_comment>", "<issue_closed>", "<jupyter_start>", "<jupyter_text>"),
    *("<jupyter_code>", "<jupyter_output>", "<empty_output>", "<commit_before>", "<commit_msg>"),
    *("<commit_after>", "<reponame>"),
)
HEADER = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
XGEN_TEMPLATE = (
    '{% set header = "' + HEADER + '" %}'
    "{% if messages[0].role == 'system' %}{% set header = messages[0].content %}{% endif %}"
    "{{ header + '\\n\\n' }}"
    "{% for message in messages %}"
    "{% if message.role == 'user' %}{{ '### Human: ' + message.content + '\\n' }}"
    "{% elif message.role == 'assistant' %}{{ '### Assistant: ' + message.content + '\\n' }}"
    "{% elif not loop.first %}{{ raise_exception('a system turn stands first') }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '###' }}{% endif %}"
)
"""The prompt of xgen-7b-8k-inst's card; a system turn takes its header's place.

It ends in `###`: the model itself writes ` Assistant:` and then its reply, up to the end of the text.
"""

TOKENIZER_SETTINGS: dict[str, Any] = {
    "tokenizer_class": "PreTrainedTokenizerFast",
    "bos_token": END_OF_TEXT,
    "eos_token": END_OF_TEXT,
    "add_bos_token": False,
    "add_eos_token": False,
    "clean_up_tokenization_spaces": False,
    "chat_template": XGEN_TEMPLATE,
}
"""Content of tokenizer_config.json. No token pads, as the authors say; nothing begins a text."""


def find_ranks(folder: Path) -> dict[bytes, int]:
    """GPT-2's ranks: of a `gpt2.tiktoken` in `folder`, else by the library tiktoken's own download.

    Raises BadModel for a file that is not that table, NotPulled if neither way has it.
    """
    if (folder / RANKS_FILE).is_file():
        return read_ranks(folder / RANKS_FILE)
    where = f"the ranks of {folder.name}'s tokenizer"
    way_out = f"put {RANKS_FILE} (the same file as r50k_base.tiktoken) into {folder}"
    try:
        import tiktoken
    except ImportError as error:
        what = (
            f"{folder} has no {RANKS_FILE}, and the library tiktoken, which would bring it, is not installed"
        )
        raise NotPulled(where, what, f"{way_out}, or install xgen[tiktoken]") from error
    try:
        encoding = tiktoken.get_encoding("r50k_base")
    except Exception as error:  # of its network library, of the disk, or its own
        what = f"{folder} has no {RANKS_FILE}, and tiktoken cannot bring it ({type(error).__name__})"
        raise NotPulled(where, what, f"connect to the network, or {way_out}") from error
    ranks = {encoding.decode_single_token_bytes(rank): rank for rank in range(encoding.eot_token)}
    _require_gpt2(b"".join(b"%b %d\n" % (base64.b64encode(t), r) for t, r in ranks.items()), "tiktoken")
    return ranks


def read_ranks(path: Path) -> dict[bytes, int]:
    """Tokens and their ranks of a `gpt2.tiktoken` file: a line holds a token in base 64 and its rank.

    Raises BadModel for any file but the published one (SHA-256 RANKS_SHA256), and if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LARGEST_RANKS_BYTES)
    except OSError as error:
        raise BadModel(str(path), f"it cannot be read ({error.strerror})", "bring the file again") from error
    _require_gpt2(data, str(path))
    pairs = (line.split() for line in data.splitlines())
    return {binascii.a2b_base64(token): int(rank) for token, rank in pairs}


def xgen_tokenizer_json(ranks: dict[bytes, int]) -> dict[str, Any]:
    """The content of the tokenizer.json that gives XGen's ids; `ranks` are GPT-2's.

    It has no code of its own: `transformers.AutoTokenizer` reads it as it is. The code tokens are added
    tokens, but not special ones, as in the original: they stay in a decoded text. ValueError if a token
    of `ranks` is not made of two others.
    """
    n_ranks = len(ranks)
    runs = [mark * n for mark, longest in LONGEST_RUNS.items() for n in range(longest, 1, -1)]
    tokens = [*map(_spelt, ranks), END_OF_TEXT, *map(_spelt, runs), *CODE_TOKENS]
    ids = [*ranks.values(), *range(n_ranks, n_ranks + 1 + len(runs) + len(CODE_TOKENS))]
    vocab = dict(zip(tokens, ids, strict=True))
    merges = [_last_merge(token, ranks) for token in sorted(ranks, key=ranks.__getitem__) if len(token) > 1]
    merges += [(run[:-1], run[-1:]) for run in runs]
    added = [{"id": vocab[text], "content": text} for text in (END_OF_TEXT, *CODE_TOKENS)]
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    bytes_only = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [token | plain | {"special": token["content"] == END_OF_TEXT} for token in added],
        "normalizer": None,
        "pre_tokenizer": bytes_only,
        "post_processor": None,
        "decoder": bytes_only,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": vocab,
            "merges": [[_spelt(left), _spelt(right)] for left, right in merges],
        },
    }


def _last_merge(token: bytes, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """The two tokens that tiktoken's merging joins last to make `token`.

    It joins the neighbours that make the token of the lowest rank, the leftmost first, again and again.
    """
    parts = [token[i : i + 1] for i in range(len(token))]
    while len(parts) > 2:
        joined = [ranks.get(left + right, len(ranks)) for left, right in pairwise(parts)]
        lowest = min(joined)
        if lowest >= ranks[token]:
            break
        i = joined.index(lowest)
        parts[i : i + 2] = [parts[i] + parts[i + 1]]
    if len(parts) != 2:
        raise ValueError(f"no two tokens of lower ranks make {token!r}")
    return parts[0], parts[1]


def _spelt(token: bytes) -> str:
    return "".join(SPELLING[byte] for byte in token)


def _require_gpt2(data: bytes, where: str) -> None:
    if hashlib.sha256(data).hexdigest() != RANKS_SHA256:
        what = "it is not the table of GPT-2's ranks, or is damaged"
        raise BadModel(
            where, what, "bring the file again: r50k_base.tiktoken, which tiktoken downloads, is the same"
        )
