"""What a source yields: a text to learn from, whose it is and what may be done with it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Document:
    """One text on its way into a corpus.

    `source` is the name of its entry in the corpus recipe, `id` tells it from all others of that source
    (package and path, say), `licence` is what its own package or repository states, `language` an
    ISO 639-1 code, or "py", "js", ... for code.

    Not the document that is read: that one, in text/document.py, has pages and lines and no licence.
    """

    text: str
    source: str
    id: str
    licence: str
    language: str


@dataclass(frozen=True)
class Rejected:
    """One text, or one part of a source, that does not come into a corpus, and why.

    `reason` is a word for counting that states the fault ("no_licence_stated"); `text` is what a person
    is shown of it, at most some thousand characters. `language` is "" where it is not known.
    """

    source: str
    id: str
    language: str
    reason: str
    text: str
