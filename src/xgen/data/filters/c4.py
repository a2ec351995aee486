"""The rules of C4 that also hold for manuals and books (Raffel et al. 2020, section 2.2).

https://arxiv.org/abs/1910.10683. Not taken: dropping every line that does not end in punctuation, and every
text with a curly bracket, for headings and examples of code belong to a manual.
"""

import re

from xgen.data.filters.prose import Prose

_SENTENCE_END = re.compile(r"[.!?…:;]['\"”’»)\]]*(?:\s|$)|[。！？：；]")


def fault(prose: Prose, min_sentences: int = 3, characters_per_filler: int = 2000) -> str | None:
    """The first rule that the text breaks, or None.

    A whole manual may show filler text in one example; the paper's rule is one mention in a web page.
    """
    if prose.text.lower().count("lorem ipsum") * characters_per_filler > len(prose.text):
        return "filler_text"
    found = 0
    for found, _ in enumerate(_SENTENCE_END.finditer(prose.text), 1):
        if found >= min_sentences:
            return None
    return None if found >= min_sentences else "too_few_sentences"
