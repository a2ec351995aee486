"""A text taken apart once, for all rules of quality that read prose."""

from dataclasses import dataclass
from functools import cached_property

from xgen.data.shingles import UNSPACED, Hashes, word_hashes, words_of


@dataclass(frozen=True)
class Prose:
    """A text, its lines and its words. Where a language has no spaces, each character is a word."""

    text: str
    language: str

    @property
    def spaced(self) -> bool:
        """Whether words are parted by spaces."""
        return self.language not in UNSPACED

    @cached_property
    def lines(self) -> list[str]:
        """Lines that are not blank, without white space around them."""
        return [line for line in map(str.strip, self.text.split("\n")) if line]

    @cached_property
    def raw_words(self) -> list[str]:
        """Words as written, with the punctuation at them; characters where there are no spaces."""
        return self.text.split() if self.spaced else ["".join(self.text.split())]

    @cached_property
    def words(self) -> list[str]:
        """Words in lower case without punctuation."""
        return words_of(self.text)

    @cached_property
    def hashes(self) -> Hashes:
        """A hash for each of `words`."""
        return word_hashes(self.words)
