"""The documents of one reading as one text, and the way back from any offset to a document's place."""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from xgen.read.answer import Citation
from xgen.text.document import Document

BREAK = "\n\n"


@dataclass(frozen=True)
class Sources:
    """`text` is the documents' texts joined by a blank line; document i begins at `starts[i]`."""

    documents: tuple[Document, ...]
    text: str
    starts: tuple[int, ...]

    @classmethod
    def of(cls, documents: Sequence[Document]) -> "Sources":
        """Join at least one document."""
        starts, length = [], 0
        for document in documents:
            starts.append(length)
            length += len(document.text) + len(BREAK)
        return cls(tuple(documents), BREAK.join(document.text for document in documents), tuple(starts))

    def bounds(self, index: int) -> tuple[int, int]:
        """Where document `index` begins and ends in `text`."""
        return self.starts[index], self.starts[index] + len(self.documents[index].text)

    def index_at(self, offset: int) -> int:
        """The document that holds the character at `offset` of `text`."""
        return bisect_right(self.starts, offset) - 1

    def citation(self, start: int, end: int, quote: str | None = None) -> Citation:
        """Cite `text[start:end]`, with offsets into the document that holds it.

        `quote` is what the words are given as, by default what stands there; the citation is
        verified only if both are the same, letter for letter.
        """
        document = self.documents[self.index_at(start)]
        begin, stop = start - self.starts[self.index_at(start)], end - self.starts[self.index_at(start)]
        place = document.place(begin)
        standing = document.text[begin:stop]
        return Citation(
            quote=standing if quote is None else quote,
            path=document.path,
            page=place.page,
            line=place.line,
            start=begin,
            end=stop,
            verified=quote is None or quote == standing,
        )
