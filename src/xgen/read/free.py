"""A free answer: written by the model, then held against the text sentence by sentence."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from xgen.bundle import Bundle
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import greedy
from xgen.engine.speculate import Lookup
from xgen.read.answer import Citation
from xgen.read.prompt import ABSENT, FREE, question_ids
from xgen.read.rows import REPLY_TOKENS
from xgen.read.select import Passage
from xgen.read.sources import Sources
from xgen.read.support import find_quote, strangers, support
from xgen.read.words import words
from xgen.text.rows import begins_rows
from xgen.text.sentences import sentence_spans

_QUOTED = re.compile(r"[\u201c\u00ab\"]([^\u201d\u00bb\"]+)[\u201d\u00bb\"]")
EXACT = 100.0


@dataclass(frozen=True)
class Written:
    """What the model wrote: `text` is None if it declined or only repeats itself, `cut` at the limit.

    `n_prompt` counts the prompt with the document, `n_tokens` what was written.
    """

    text: str | None
    declined: bool
    cut: bool
    n_prompt: int
    n_tokens: int


def write(
    bundle: Bundle,
    cache: Cache,
    document: Sequence[int],
    question: str,
    max_tokens: int,
    stop: Callable[[str], bool] = lambda text: False,
) -> Written:
    """Answer a question behind the ids `document`, which `cache` holds.

    A reply that goes through entries (read/rows.py) may be REPLY_TOKENS longer. It ends where `stop` says so
    of the text so far. What is cut at the limit ends in a whole character.
    """
    ids = question_ids(bundle, FREE, question)
    logits = prefill(bundle.model, cache, ids)
    lookup = Lookup([*document, *ids], bundle.longest_draft) if bundle.longest_draft else None
    n_prompt = cache.length
    most = min(cache.capacity, bundle.shape.max_seq_len) - cache.length - 1
    room, longest = min(max_tokens, most), min(max_tokens + REPLY_TOKENS, most)
    stream, said, n_tokens, cut = bundle.tokenizer.stream(), list[str](), 0, False
    choose = greedy(bundle.hidden_ids)
    # one more than there is room for tells an answer that is cut from one that just fits
    for token in generate(bundle.model, cache, logits, choose, bundle.end_ids, longest + 1, lookup):
        if n_tokens == room and begins_rows("".join(said)):
            room = longest
        if cut := n_tokens == room:
            break
        said.append(stream(token))
        n_tokens += 1
        if stop("".join(said)):
            break
    text = ("".join(said) + ("" if cut else stream.rest())).strip()
    declined = words(text) == words(ABSENT)
    is_answer = bool(text) and not declined and not (cut and loops(text))
    return Written(text if is_answer else None, declined, cut and is_answer, n_prompt, n_tokens)


def loops(text: str) -> bool:
    """Whether a text that was cut ends in the same run of words three times, as small models do."""
    said = words(text)[:-1]  # the last word may be half of one
    return any(said[-n:] == said[-2 * n : -n] == said[-3 * n : -2 * n] for n in range(1, len(said) // 3 + 1))


def hold(
    sources: Sources, passages: Sequence[Passage], text: str
) -> tuple[tuple[Citation, ...], tuple[str, ...]]:
    """What of a free answer the passages bear out, sentence by sentence, and what they do not.

    A quotation in it that stands nearly so in the sources is cited as not verified.
    """
    read = sources.text
    citations: list[Citation] = []
    unsupported: list[str] = []
    for begin, stop in sentence_spans(text):
        sentence = text[begin:stop]
        matches = [
            (match.score, match.start + p.start, match.end + p.start)
            for p in passages
            if (match := support(read[p.start : p.end], sentence)) is not None
        ]
        if matches:
            _, start, end = max(matches)
            citations.append(sources.citation(start, end))
        else:
            unsupported.append(sentence)
        unsupported += strangers(read, sentence)
    for quoted in _QUOTED.findall(text):
        if any(quoted in document.text for document in sources.documents):
            continue
        found = [
            (near.score, near.start + begin, near.end + begin)
            for document, begin in zip(sources.documents, sources.starts, strict=True)
            if (near := find_quote(document.text, quoted)) is not None
        ]
        if not found:
            unsupported.append(quoted)
            continue
        score, start, end = max(found)
        if score < EXACT:
            citations.append(sources.citation(start, end, quote=quoted))
    return tuple(dict.fromkeys(citations)), tuple(dict.fromkeys(unsupported))
