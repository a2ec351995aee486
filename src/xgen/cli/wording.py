"""The words of reading for those who make tuning data, so that what is trained is what is read."""

from xgen.data.groups import ReadingWords, Wording
from xgen.read import prompt
from xgen.read.sources import BREAK


def reading_words() -> ReadingWords:
    """How `xgen read` puts documents and questions to a model."""
    quote, free = (Wording(w.request, w.opening, w.closing) for w in (prompt.QUOTE, prompt.FREE))
    return ReadingWords(
        system=prompt.SYSTEM,
        document=prompt.DOCUMENT,
        question=prompt.QUESTION,
        gap=BREAK,
        absent=prompt.ABSENT,
        quote=quote,
        free=free,
    )
