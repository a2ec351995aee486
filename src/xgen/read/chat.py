"""A conversation of several turns, with documents in its first one; read parts are never read twice."""

from collections.abc import Iterator, Sequence

from torch import Tensor

from xgen.bundle import Bundle
from xgen.engine.cache import Cache
from xgen.engine.generate import generate, prefill
from xgen.engine.sample import LIKELIEST, Sampling, not_repeating, sampler
from xgen.engine.speculate import Lookup
from xgen.errors import TooLong, XgenError
from xgen.text.chat import Message
from xgen.text.document import Document
from xgen.text.reply import Reply

SYSTEM = "You are a helpful assistant. Where documents are given, you answer from what they say."
MAX_REPLY_TOKENS = 512


class Chat:
    """Turns so far and the cache of their ids; a new prompt reuses its longest common prefix.

    `system` stands before the first turn; by default SYSTEM, or where ordinary text marks the turns, the
    words of the model's own template, with which it was tuned. A reply ends at the model's end of a turn
    or before the first of `stops`.
    """

    def __init__(
        self,
        bundle: Bundle,
        system: str | None = None,
        documents: Sequence[Document] = (),
        sampling: Sampling = LIKELIEST,
        stops: Sequence[str] = (),
    ) -> None:
        self.bundle = bundle
        self._sampling = sampling
        self._choose = sampler(sampling, bundle.hidden_ids)
        self._stops = tuple(stops)
        self.system = SYSTEM if system is None and not bundle.tokenizer.turn_headers else system
        self.documents = list(documents)
        self.turns: list[Message] = []
        self._cache: Cache | None = None
        self._cached_ids: list[int] = []

    def add(self, document: Document) -> None:
        """Put one more document before the conversation."""
        self.documents.append(document)

    def reset(self) -> None:
        """Forget the turns and the documents."""
        self.turns.clear()
        self.documents.clear()

    def send(self, text: str, max_reply_tokens: int = MAX_REPLY_TOKENS) -> Iterator[str]:
        """The reply to `text`, in pieces as they are certain; never half a character.

        Raises TooLong if the conversation with its documents does not fit the window; the turn is
        then not kept.
        """
        asked = Message("user", text)
        ids = self.bundle.tokenizer.encode_markup(self.bundle.template.render(self._messages(asked)))
        window = self.bundle.shape.max_seq_len
        if len(ids) + max_reply_tokens > window:
            raise TooLong(
                "the conversation",
                f"it has {len(ids):,} tokens with its documents, and the window of {window:,} keeps "
                f"{max_reply_tokens:,} for the reply",
                "use /reset, fewer documents, or `xgen read`, which takes documents of any length",
            )
        cache, logits = self._read(ids, max_reply_tokens)
        reply = Reply(self.bundle.template.reply_opening, self._stops)
        stream, written, said = self.bundle.tokenizer.stream(), list[int](), list[str]()
        for token in generate(
            self.bundle.model,
            cache,
            logits,
            not_repeating(self._choose, self._sampling.repetition_penalty),
            self.bundle.end_ids,
            max_reply_tokens,
            Lookup(ids, self.bundle.longest_draft),
        ):
            written.append(token)
            if piece := reply(stream(token)):
                said.append(piece)
                yield piece
            if reply.ended:
                break
        if rest := reply(stream.rest()) + reply.rest():
            said.append(rest)
            yield rest
        self._cached_ids = (ids + written)[: cache.length]
        self.turns += [asked, Message("assistant", "".join(said))]

    def _messages(self, asked: Message) -> list[Message]:
        turns = [*self.turns, asked]
        if self.documents:
            texts = "\n\n".join(f"Document {d.path}:\n{d.text}" for d in self.documents)
            turns[0] = Message("user", f"{texts}\n\n{turns[0].content}")
        return turns if self.system is None else [Message("system", self.system), *turns]

    def _room(self, n_tokens: int) -> Cache:
        """A cache with room for the turns to come, or where memory has no such for these tokens alone."""
        window = self.bundle.shape.max_seq_len
        try:
            return self.bundle.empty_cache(min(2 * n_tokens, window))
        except XgenError:
            return self.bundle.empty_cache(min(n_tokens, window))

    def _read(self, ids: list[int], spare: int) -> tuple[Cache, Tensor]:
        if self._cache is None or self._cache.capacity < len(ids) + spare:
            self._cache, self._cached_ids = None, []  # else both would lie in memory for a moment
            self._cache = self._room(len(ids) + spare)
        common = 0
        for ours, theirs in zip(self._cached_ids, ids[:-1], strict=False):
            if ours != theirs:
                break
            common += 1
        self._cache.cut(common)
        self._cached_ids = ids[:common]  # true also if the user stops while the rest is read or answered
        logits = prefill(self.bundle.model, self._cache, ids[common:])
        self._cached_ids = ids
        return self._cache, logits
