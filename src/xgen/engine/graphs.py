"""One CUDA graph a token: the launches of a token are recorded once and then started as one.

Each would take the host longer to start than the GPU to run. Token and position are numbers on the device,
so the graph stays the same while the text grows, and greedy ids follow one another without the host.
"""

import weakref
from collections import deque
from collections.abc import Collection, Iterator

import torch
from torch import Tensor

from xgen.engine.cache import Cache
from xgen.engine.kernels.compiled import CannotCompile, most_shared_bytes, on_device
from xgen.engine.one_token import OneToken, Tuning, defines_of, serves, tuning_for
from xgen.model.transformer import Transformer
from xgen.show import note

MOST_AHEAD = 8
"""Ids that are made before the host looks at them; as many again are under way then."""


class Decoder:
    """One token after another through `model` on a CUDA device, over the memory of one cache.

    The cache's `length` is the caller's to move on, and less than its capacity when the decoder is made.
    What stands behind it may be overwritten. Raises CannotCompile.
    """

    def __init__(self, model: Transformer, cache: Cache, tuning: Tuning | None = None) -> None:
        device = model.device
        tuning = tuning or tuning_for(model, most_shared_bytes(device))
        defines = defines_of(model, cache, tuning)
        kernels = on_device("products", defines, device), on_device("step", defines, device)
        n_multiprocessors = torch.cuda.get_device_properties(device).multi_processor_count
        self._step = OneToken(model, cache, kernels, defines, n_multiprocessors)
        self._capacity = cache.capacity
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.stream(stream):
            self._begin(0, cache.length)
            self._step.run()  # loads the kernels, which a recording does not allow
            self._graph.capture_begin()
            self._step.run()
            self._graph.capture_end()
        torch.cuda.current_stream(device).wait_stream(stream)
        self._step.launches.clear()  # they hold the cache

    @torch.inference_mode()
    def after(self, token: int, position: int) -> Tensor:
        """Read `token` at `position`; logits [V] (fp32) of what follows, which the next call overwrites."""
        self._begin(token, position)
        self._graph.replay()
        return self._step.logits

    @torch.inference_mode()
    def greedy(self, token: int, position: int, hidden_ids: Collection[int], n_most: int) -> Iterator[int]:
        """Read `token` at `position` and yield the `n_most` likeliest ids behind, one after the other.

        `hidden_ids` are never chosen. The first come at once, later ones some at a time. The keys and
        values of all but the last that was yielded are in the cache, and what lies behind is free.
        """
        n_most = min(n_most, self._capacity - position)
        self._step.hidden.zero_()
        if hidden_ids:
            self._step.hidden[torch.tensor(list(hidden_ids), device=self._step.hidden.device)] = 1
        self._begin(token, position)
        under_way: deque[tuple[torch.cuda.Event, Tensor]] = deque()
        n_started, n_at_once = 0, 1
        while n_started < n_most or under_way:
            while n_started < n_most and len(under_way) < 2:
                n = min(n_at_once, n_most - n_started)
                under_way.append(self._start(position + 1 + n_started, n))
                n_started, n_at_once = n_started + n, min(2 * n_at_once, MOST_AHEAD)
            done, ids = under_way.popleft()
            done.synchronize()
            yield from ids.tolist()

    def _begin(self, token: int, position: int) -> None:
        self._step.state.copy_(torch.tensor([token, position], dtype=torch.int32))

    def _start(self, first: int, n: int) -> tuple[torch.cuda.Event, Tensor]:
        """Start `n` tokens; the ids that they give, once the event has come, at positions from `first` on."""
        for _ in range(n):
            self._graph.replay()
        ids_on_device = self._step.said[first : first + n]
        ids = torch.empty(n, dtype=torch.int32, pin_memory=True)
        ids.copy_(ids_on_device, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(torch.cuda.current_stream(ids_on_device.device))
        return done, ids


_decoders: weakref.WeakKeyDictionary[Transformer, tuple[weakref.ref[Tensor], Decoder | None]] = (
    weakref.WeakKeyDictionary()
)
"""Of each model the decoder that was used last, with the first buffer of the cache it is for."""


def decoder_for(model: Transformer, cache: Cache) -> Decoder | None:
    """The decoder over this cache; None where it is full, and without a GPU or kernels for this model."""
    if model.device.type != "cuda" or cache.length >= cache.capacity or not serves(model, cache):
        return None
    buffer = cache.buffers[0][0]
    made_for, decoder = _decoders.get(model, (None, None))
    if made_for is None or made_for() is not buffer:
        try:
            decoder = Decoder(model, cache)
        except CannotCompile as error:
            decoder = None
            note(f"tokens are computed by torch alone, which is slower: {error}")
        _decoders[model] = weakref.ref(buffer), decoder
    return decoder
