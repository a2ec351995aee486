"""Lines that are on every page of a package and belong to none: navigation, headers, footers."""

import re
from collections import Counter
from collections.abc import Sequence

MIN_DOCUMENTS = 8
MIN_SHARE = 0.25  # of the documents of a batch
MIN_WORDS = 3  # so that NAME, SYNOPSIS and DESCRIPTION stay, which every manual page has
MIN_WIDE_CHARACTERS = 8
COMMON_SHARE = 0.6  # what stands in more documents than this needs fewer words: the program's name
EVERYWHERE_SHARE = 0.9  # and here one will do: "Contents", "Index"
MAX_CHARACTERS = 300

_LINKS = re.compile(r"\s*\[[^\[\]]{1,80}\](?:[\s|]*\[[^\[\]]{1,80}\])+\s*")
_WORD = re.compile(r"[^\W\d_]{2,}")
_WIDE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff]")


def repeated_lines(
    texts: Sequence[str], min_documents: int = MIN_DOCUMENTS, min_share: float = MIN_SHARE
) -> frozenset[str]:
    """Lines, stripped, that stand in a large share of the texts of one package.

    Of three words; of two where they stand in most texts; of one where in nearly all. Chinese and Japanese:
    of eight characters, else of four.
    """
    if len(texts) < min_documents:
        return frozenset()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update({line.strip() for line in text.split("\n") if len(line) < MAX_CHARACTERS})
    least = max(min_documents, min_share * len(texts))

    def is_repeated(line: str, count: int) -> bool:
        if count < least:
            return False
        if _says(line, MIN_WORDS, MIN_WIDE_CHARACTERS):
            return True
        n_words = 1 if count >= EVERYWHERE_SHARE * len(texts) else MIN_WORDS - 1
        common = count >= COMMON_SHARE * len(texts) and not line.isupper()
        return common and _says(line, n_words, MIN_WIDE_CHARACTERS // 2)

    return frozenset(line for line, count in counts.items() if is_repeated(line, count))


def without_lines(text: str, lines: frozenset[str]) -> str:
    """`text` without the lines that, stripped, are among `lines`, and without rows of links."""
    return "\n".join(
        line for line in text.split("\n") if line.strip() not in lines and not _LINKS.fullmatch(line)
    )


def _says(line: str, n_words: int, n_wide: int) -> bool:
    return len(_WORD.findall(line)) >= n_words or len(_WIDE.findall(line)) >= n_wide
