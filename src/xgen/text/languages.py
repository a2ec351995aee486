"""Which language a text is in."""

from functools import cache, lru_cache
from typing import Any

MIN_LETTERS = 20  # below this, a guess says more about the guesser
MIN_PROBABILITY = 0.9
SAMPLE_CHARACTERS = 20_000  # from the beginning; more does not change the verdict and takes longer


@lru_cache(maxsize=8)  # each question about a document asks for it
def language_of(text: str) -> str | None:
    """ISO 639-1 code of the language of `text` by py3langid; None if too short or unsure."""
    sample = text[:SAMPLE_CHARACTERS]
    if sum(character.isalpha() for character in sample) < MIN_LETTERS:
        return None
    code, probability = _identifier().classify(sample)
    return str(code) if probability >= MIN_PROBABILITY else None


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
