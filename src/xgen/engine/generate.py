"""Prefill in chunks, then one token after another."""

import time
from collections.abc import Callable, Iterator, Sequence, Set

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.engine.graphs import Decoder, decoder_for
from xgen.engine.many_tokens import reader_for
from xgen.engine.one_token_cpu import one_token_for
from xgen.engine.sample import Greedy
from xgen.engine.speculate import Lookup
from xgen.model.transformer import Transformer

CHUNK = 1024
"""Tokens a prefill takes at once: enough rows for fast products, few enough for a smooth bar."""

LAST = 32
"""Tokens of a chunk that the last layer is computed for, though one output is wanted: as many as pass through
the weights themselves and not through those kept in fewer bits for a few."""


@torch.inference_mode()
def prefill(
    model: Transformer, cache: Cache, ids: Sequence[int], advance: Callable[[int], None] = lambda n: None
) -> Tensor:
    """Read `ids` behind what the cache holds; logits [V] (fp32) of what follows the last one.

    `advance(n)` is called after each chunk. Raises ValueError if the cache is too small or
    `ids` is empty.
    """
    if not ids:
        raise ValueError("nothing to read")
    if cache.length + len(ids) > cache.capacity:
        raise ValueError(f"{cache.length} + {len(ids)} tokens, but the cache holds {cache.capacity}")
    if (reader := reader_for(model, cache)) is not None:
        return reader.read(model, cache, ids, advance)
    if len(ids) == 1 and (one_token := one_token_for(model, cache)) is not None:
        logits_V = one_token.after(ids[0], cache)
        cache.length += 1
        advance(1)
        return logits_V
    for begin in range(0, len(ids), CHUNK):
        chunk = torch.tensor([ids[begin : begin + CHUNK]], device=model.device)
        hidden = model(chunk, cache=cache.buffers, start=cache.length, last=LAST)
        cache.length += chunk.shape[1]
        advance(chunk.shape[1])
    return model.logits(hidden[0, -1])


def generate(
    model: Transformer,
    cache: Cache,
    logits: Tensor,
    choose: Callable[[Tensor], int],
    end_ids: Set[int],
    max_tokens: int,
    lookup: Lookup | None = None,
) -> Iterator[int]:
    """Yield ids until one of `end_ids` (not yielded), `max_tokens`, or a full cache.

    `logits` [V] are those behind the prompt; `choose` picks an id from logits (see sample.py). With a
    `lookup` over the prompt's ids its guesses are checked several at a time: each id is still the
    choice from the logits behind all ids before it. The cache holds what was yielded, up to its last id.
    """
    if lookup is None and isinstance(choose, Greedy):
        decoder = decoder_for(model, cache)
        if decoder is not None and max_tokens > 0:
            yield from _on_device(decoder, cache, logits, choose, end_ids, max_tokens)
            return
    logits_NV, draft, base, n_written = logits[None], list[int](), cache.length, 0
    started = seconds = 0.0
    while n_written < max_tokens:
        n_before = n_written
        for i, logits_V in enumerate(logits_NV):
            token = choose(logits_V)
            if i == 0:  # only now a GPU is done
                seconds = time.perf_counter() - started
            cache.length = base + i  # what stands behind it, if anything, was a guess
            if token in end_ids:
                return
            guessed = i < len(draft) and token == draft[i]
            cache.length += guessed
            if lookup is not None:
                lookup.take(token)
            n_written += 1
            yield token
            if not guessed or n_written == max_tokens:
                break
        if n_written == max_tokens or cache.length == cache.capacity:
            return
        if lookup is not None and n_before:
            lookup.measured(bool(draft), n_written - n_before, seconds)
        n_most = min(cache.capacity - cache.length, max_tokens - n_written) - 1
        draft = [] if lookup is None else lookup.draft(n_most)
        started = time.perf_counter()
        logits_NV = _after_each(model, cache, [token, *draft])
        base = cache.length - len(draft)


def _on_device(
    decoder: Decoder, cache: Cache, logits: Tensor, choose: Greedy, end_ids: Set[int], max_tokens: int
) -> Iterator[int]:
    """What `generate` yields, chosen where it is computed: nothing waits for the host between two ids."""
    first, base = choose(logits), cache.length
    if first in end_ids:
        return
    yield first
    n_most = min(max_tokens - 1, cache.capacity - base)
    for i, token in enumerate(decoder.greedy(first, base, choose.hidden.tolist(), n_most)):
        cache.length = base + i + 1  # the ids before this one
        if token in end_ids:
            return
        yield token


@torch.inference_mode()
def _after_each(model: Transformer, cache: Cache, ids: Sequence[int]) -> Tensor:
    """Read `ids`; logits [n, V] of what follows each of them."""
    alone = len(ids) == 1
    if alone and (decoder := decoder_for(model, cache)) is not None:
        logits_NV = decoder.after(ids[0], cache.length)[None]
    elif alone and (one_token := one_token_for(model, cache)) is not None:
        logits_NV = one_token.after(ids[0], cache)[None]
    else:
        hidden = model(torch.tensor([ids], device=model.device), cache=cache.buffers, start=cache.length)
        logits_NV = model.logits(hidden[0])
    cache.length += len(ids)
    return logits_NV
