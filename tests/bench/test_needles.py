import re

import pytest
from needles import DEPTHS, hit, needle_cases
from questions import MIN_FILL, NotEnoughText, Paragraph

POOL = [
    Paragraph(str(n), "en", str(n), f"P{n} " + " ".join(f"w{n}x{i}" for i in range(15 + n % 40)), ())
    for n in range(120)
]


def count(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize("target", [700, 1500])
def test_law_each_text_holds_a_needle_at_each_depth(target: int) -> None:
    cases = needle_cases(POOL, target, count)
    assert len({c.text for c in cases}) == len(cases) == 8
    for case in cases:
        assert MIN_FILL * target <= count(case.text) <= target
        told = dict(re.findall(r"The secret number of (\w+) is (\d{5})\.", case.text))
        assert len(told) == len(DEPTHS)
        places = []
        for asked in case.asked:
            town = re.fullmatch(r"What is the secret number of (\w+)\?", asked.question.text)
            (gold,) = asked.question.golds
            assert town is not None
            assert told[town[1]] == gold.text
            assert case.text[gold.start : gold.start + 5] == gold.text
            assert asked.depth is not None
            assert gold.start / len(case.text) == pytest.approx(asked.depth, abs=0.15)
            places.append(gold.start)
        assert [asked.depth for asked in case.asked] == list(DEPTHS)
        assert places == sorted(places)
    assert needle_cases(POOL[::-1], target, count) == cases


def test_a_small_pool_is_refused() -> None:
    with pytest.raises(NotEnoughText):
        needle_cases(POOL[:3], 1500, count)


@pytest.mark.parametrize(
    ("answer", "hits"),
    [
        ("48213", 1),
        ("It is 48,213.", 1),
        ("The secret number of Lima is 48 213!", 1),
        ("482137", 0),
        ("48213 or 11111", 0),
        ("48.213", 0),
        ("12", 0),
        ("", 0),
        (None, 0),
    ],
)
def test_hits(answer: str | None, hits: int) -> None:
    assert hit("48213", answer) == hits
