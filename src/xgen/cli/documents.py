"""Documents for a verb: opened, and what could not be opened said aloud."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from xgen.cards import Card
from xgen.show import note

if TYPE_CHECKING:
    from xgen.text.document import Document


def open_named(patterns: Sequence[str], keep: bool) -> "list[Document]":
    """Open files, folders, globs and "-"; name on stderr what a folder or a glob held and was skipped.

    With `keep` extracted texts stay on the disk for the next time (text/kept.py).
    """
    from xgen.text.extract import open_documents

    documents, skipped = open_documents(patterns, keep)
    for sentence in skipped:
        note(f"skipped {sentence}")
    return documents


def warn_of_languages(documents: "Sequence[Document]", card: Card) -> None:
    """Warn on stderr of each document whose language its makers do not name on the model's card."""
    from xgen.text.languages import language_of

    for document in documents:
        language = language_of(document.text)
        if language is not None and card.languages and language not in card.languages:
            note(
                f"warning: {document.path} seems to be in '{language}', which is not among the languages of "
                f"{card.name} ({', '.join(card.languages)}); expect worse answers."
            )
