"""The needle grid: numbers told in passing at known depths of a long text, and asked for.

Each text tells the secret numbers of five towns, one at each depth, so that one reading gives a
column of the grid and the reader must find the right number among its likes (as the task with several
keys in RULER, Hsieh et al. 2024, does).
"""

import random
import re
from collections.abc import Sequence

from questions import Asked, Case, CountTokens, Gold, Paragraph, Question, fill

DEPTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
N_TEXTS = 8  # for each length; every cell of the grid is asked so often
# Made up, so that no paragraph knows them.
_TOWNS = ("Arvenholm", "Belmarsk", "Corvanne", "Dellstrom", "Eskarra", "Fenwold", "Grintavar", "Hollmere")
_GAP = "\n\n"


def needle_cases(
    pool: Sequence[Paragraph], target_tokens: int, count: CountTokens, n_texts: int = N_TEXTS
) -> list[Case]:
    """`n_texts` texts of `target_tokens` made of paragraphs of `pool`, with a needle at each depth.

    `Asked.depth` is the depth meant: the needle stands before the paragraph that many paragraphs on.
    Raises NotEnoughText where the pool is too small.
    """
    return [_case(pool, target_tokens, count, number) for number in range(n_texts)]


def hit(gold: str, answer: str | None) -> float:
    """1 if the number `gold` is the only number of its length in the answer; "48,213" counts as 48213."""
    digits = re.findall(r"\d+", re.sub(r"(?<=\d)[,\u00a0\u202f ](?=\d{3}\b)", "", answer or ""))
    return float({number for number in digits if len(number) == len(gold)} == {gold})


def _case(pool: Sequence[Paragraph], target_tokens: int, count: CountTokens, number: int) -> Case:
    draw = random.Random(f"needles {number}")
    towns = draw.sample(_TOWNS, len(DEPTHS))
    needles = [f"The secret number of {town} is {draw.randint(10_000, 99_999)}." for town in towns]
    room = target_tokens - sum(count(needle) + len(_GAP) for needle in needles)
    blocks = [p.text for p in fill(pool, [], room, count, seed=f"needles {number}")]
    places = [round(depth * len(blocks)) for depth in DEPTHS]
    for place, needle in sorted(zip(places, needles, strict=True), reverse=True):
        blocks.insert(place, needle)
    text = _GAP.join(blocks)
    asked = [
        Asked(_question(number, town, needle, text.index(needle)), f"text {number}", depth)
        for town, needle, depth in zip(towns, needles, DEPTHS, strict=True)
    ]
    return Case("en", text, tuple(asked))


def _question(number: int, town: str, needle: str, start: int) -> Question:
    secret = needle[-6:-1]
    gold = Gold(secret, start + needle.index(secret))
    return Question(f"needle-{number}-{town}", f"What is the secret number of {town}?", (gold,))
