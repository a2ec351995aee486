"""Turns that a chat template marks by ordinary text (XGen's `### Human:`): no text becomes one.

Where turns are marked by added tokens, a document cannot write one. Where they are marked by words, it could.
So the words stay as they are, but their ids do not: what in a text would have the ids of a header has one of
its tokens written byte by byte, which decodes to the same text and is not what the model was tuned to obey.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from xgen.errors import XgenError

Span = tuple[int, int]


@dataclass(frozen=True)
class Headers:
    """The ids of headers, and the bytes of every id. `id_of` has at least the ids of single bytes."""

    ids: tuple[tuple[int, ...], ...]
    bytes_of: Sequence[bytes]
    id_of: dict[bytes, int]

    def stand_in(self, ids: Sequence[int]) -> bool:
        """Whether the ids of a header occur anywhere."""
        return any(True for _ in self._places(ids))

    def break_up(
        self, ids: list[int], offsets: list[Span], markup: Sequence[Span]
    ) -> tuple[list[int], list[Span]]:
        """Ids, and their characters, in which no header stands but those inside the spans `markup`.

        `offsets` are the characters of each of `ids`; a token written in bytes shares its own among them.
        Raises XgenError where a header of single bytes, which has no other ids, stands in the text.
        """
        if not self.stand_in(ids):
            return ids, offsets
        own = [any(start <= begin and end <= stop for start, stop in markup) for begin, end in offsets]
        while broken := self._to_break(ids, offsets, markup, own):
            pieces = [
                [(self.id_of[bytes([byte])], span) for byte, span in _each(self.bytes_of[token], span)]
                if i in broken
                else [(token, span)]
                for i, (token, span) in enumerate(zip(ids, offsets, strict=True))
            ]
            own = [flag for flag, piece in zip(own, pieces, strict=True) for _ in piece]
            ids = [token for piece in pieces for token, _ in piece]
            offsets = [span for piece in pieces for _, span in piece]
        return ids, offsets

    def _to_break(
        self, ids: Sequence[int], offsets: Sequence[Span], markup: Sequence[Span], own: Sequence[bool]
    ) -> set[int]:
        """Of each header that is not the template's the first token that has several bytes."""
        broken: set[int] = set()
        for start, end in self._places(ids):
            begin, stop = offsets[start][0], offsets[end - 1][1]
            if any(first <= begin and stop <= last for first, last in markup):
                continue
            inside = [i for i in range(start, end) if len(self.bytes_of[ids[i]]) > 1 and not own[i]]
            if not inside:
                text = b"".join(self.bytes_of[i] for i in ids[start:end]).decode("utf-8", "replace")
                what = f"it holds {text!r}, by which this model tells turns apart, and no other ids write it"
                raise XgenError("the text", what, "take it out, or use a model whose turns have tokens")
            broken.add(inside[0])
        return broken

    def _places(self, ids: Sequence[int]) -> Iterator[Span]:
        for header in self.ids:
            start = -1
            try:
                while True:
                    start = ids.index(header[0], start + 1)
                    if tuple(ids[start : start + len(header)]) == header:
                        yield start, start + len(header)
            except ValueError:
                continue


def _each(token: bytes, span: Span) -> Iterator[tuple[int, Span]]:
    """The bytes of a token, each with its own character if that can be told, else with all of them."""
    start, end = span
    alone = len(token) == end - start
    for i, byte in enumerate(token):
        yield byte, ((start + i, start + i + 1) if alone else span)
