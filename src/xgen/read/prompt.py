"""What the model is told, and where a prompt may be cut: documents come first and are read once."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xgen.text.chat import Message, Piece

if TYPE_CHECKING:  # the words alone are wanted by what makes tuning data, without torch
    from xgen.bundle import Bundle

ABSENT = "not in the document"

SYSTEM = (
    "You read a document and answer questions about it, with nothing but what the document says. "
    f'If the document does not answer a question, reply "{ABSENT}".'
)

DOCUMENT = "Document:\n"
QUESTION = "\n\nQuestion: "
"""What stands before a document, and before a question about it."""


@dataclass(frozen=True)
class Wording:
    """What follows the document: `request` after the question, then the reply begun with `opening`.

    A span ends with `closing`. The words were chosen on development
    questions (docs/log.md).
    """

    request: str
    opening: str = ""
    closing: str = ""


QUOTE = Wording(
    request="Reply with the exact words of the document that answer it, as few words as possible.",
    opening='The answer is "',
    closing='"',
)
FREE = Wording(request="Answer in one or two short sentences.")


def document_ids(bundle: "Bundle", text: str) -> list[int]:
    """Ids of the prompt up to the end of the document; the same whatever is asked."""
    rendered, turn = _rendered(bundle, "x")
    return bundle.tokenizer.encode_markup([*rendered[:turn], Piece(DOCUMENT + text, False)])


def question_ids(bundle: "Bundle", wording: Wording, question: str) -> list[int]:
    """Ids of the rest of the prompt: the question, the turn's end, the reply's opening."""
    rendered, turn = _rendered(bundle, "x")
    asked = f"{_asked(question)}\n{wording.request}"
    opening = bundle.template.reply_begun(wording.opening)
    return bundle.tokenizer.encode_markup([Piece(asked, False), *rendered[turn + 1 :], *opening])


def question_length(bundle: "Bundle", question: str) -> int:
    """How many of the `question_ids` are the question itself."""
    return len(bundle.tokenizer.encode(_asked(question)))


def _asked(question: str) -> str:
    return QUESTION + question.strip()


def _rendered(bundle: "Bundle", content: str) -> tuple[list[Piece], int]:
    """The pieces of a conversation whose user turn is `content`, and the index of that piece."""
    rendered = bundle.template.render([Message("system", SYSTEM), Message("user", content)])
    return rendered, max(i for i, piece in enumerate(rendered) if piece == Piece(content, False))
