"""Prefill in chunks, then one token after another."""

from collections.abc import Callable, Iterator, Sequence, Set

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.model.transformer import Transformer

CHUNK = 512
"""Tokens a prefill takes at once: enough rows for fast products, few enough for a smooth bar."""


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
    device = model.embedding.weight.device
    for begin in range(0, len(ids), CHUNK):
        chunk = torch.tensor([ids[begin : begin + CHUNK]], device=device)
        hidden = model(chunk, cache=cache.buffers, start=cache.length)
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
) -> Iterator[int]:
    """Yield ids until one of `end_ids` (not yielded), `max_tokens`, or a full cache.

    `logits` [V] are those behind the prompt; `choose` picks an id from logits (see sample.py).
    """
    for _ in range(max_tokens):
        token = choose(logits)
        if token in end_ids:
            return
        yield token
        if cache.length == cache.capacity:
            return
        logits = prefill(model, cache, [token])
