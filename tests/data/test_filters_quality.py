import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xgen.data.filters import c4, fineweb, gopher, starcoder
from xgen.data.filters.prose import Prose

SUBJECTS = ("the reader", "a careful clerk", "the old printer", "an engine", "the harbour", "my neighbour")
VERBS = ("opens", "repairs", "remembers", "measures", "paints", "carries to the river")
THINGS = ("the letter", "a broken lamp", "every map of the coast", "the second volume", "two barrels")


def prose(n: int = 40, seed: int = 1) -> str:
    chance = random.Random(seed)
    sentences = [
        f"{chance.choice(SUBJECTS)} {chance.choice(VERBS)} {chance.choice(THINGS)} of {chance.randrange(999)}"
        f" and calls it {' '.join(''.join(chance.choices('aeinrst', k=6)) for _ in range(8))}."
        for _ in range(n)
    ]
    return "\n".join(" ".join(sentences[i : i + 4]) for i in range(0, n, 4))


def reason(text: str, language: str = "en") -> str | None:
    read = Prose(text, language)
    return (
        gopher.quality_fault(read) or c4.fault(read) or fineweb.fault(read) or gopher.repetition_fault(read)
    )


def test_prose_passes_all_rules() -> None:
    assert reason(prose()) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("Too short to tell.", "too_few_words"),
        ("word " * 200_000, "too_many_words"),
        (" ".join(f"lemma{i} dog{i}" for i in range(99)), "too_few_stop_words"),
        ("a of to in it " * 60, "words_too_short"),
        ("the of " + "incomprehensibilities " * 99, "words_too_long"),
        ("the of " + "123 4567 890 " * 60 + "and that is all " * 10, "too_few_words_with_letters"),
        ("the of and " + "#word " * 99, "too_many_symbols"),
        (
            "\n".join(f"- the next long step of working by hand {i} is rest" for i in range(40)),
            "too_many_bullet_lines",
        ),
        (
            "\n".join(f"the step of work {i} and rest{'…' * (i % 2)}" for i in range(40)),
            "too_many_lines_end_in_dots",
        ),
        (prose() + "\n" + "Lorem ipsum dolor sit amet. " * 9, "filler_text"),
        (prose().replace(".", ""), "too_few_sentences"),
        (
            prose() + "\n" + "a title of some length without an end\n" * 500,
            "too_few_lines_end_in_punctuation",
        ),
        ("\n".join(f"See the part {i} of volume." for i in range(60)), "too_many_short_lines"),
        (
            prose() + "\n" + "\n".join(["The very same line of the page stands here."] * 30),
            "too_many_duplicate_lines",
        ),
        (prose(20) + "\n" + "\n".join([prose(4, 2)] * 3), "too_much_text_in_duplicate_lines"),
    ],
)
def test_each_fault_has_its_name(text: str, fault: str) -> None:
    assert reason(text) == fault


def test_repetition_is_seen_within_lines() -> None:
    again = prose(12) + " ".join(f"as was said before {i}" for i in range(200)) + "."
    assert gopher.repetition_fault(Prose(again, "en")) in {
        "one_phrase_over_and_over",
        "too_many_duplicate_phrases",
    }
    passage = " ".join(prose(8, 3).split())
    assert (
        gopher.repetition_fault(Prose(f"{prose(20)}\n{passage} x {passage}", "en"))
        == "too_many_duplicate_phrases"
    )


def duplicate_share(words: list[str], n: int) -> float:
    """By the definition: characters of words covered by a run of n words that stood there before."""
    seen: set[tuple[str, ...]] = set()
    covered = set()
    for i in range(len(words) - n + 1):
        run = tuple(words[i : i + n])
        if run in seen:
            covered.update(range(i, i + n))
        seen.add(run)
    return sum(len(words[i]) for i in covered) / max(sum(map(len, words)), 1)


def top_share(words: list[str], n: int) -> float:
    runs = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    best = max((count, sum(map(len, run))) for run, count in runs.items())
    return best[0] * best[1] / sum(map(len, words)) if best[0] > 1 else 0.0


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["aaa", "bbb", "ccc"]), min_size=8, max_size=60), st.integers(2, 4))
def test_against_definition_shares_of_repeated_phrases(words: list[str], n: int) -> None:
    """Words are equally long, so that which of equally frequent runs is the top one does not matter."""
    text = Prose(" ".join(words), "en")

    def faulty(**bounds: tuple[tuple[int, float], ...]) -> bool:
        off: dict[str, tuple[tuple[int, float], ...]] = {"max_top": (), "max_duplicate": ()}
        return gopher.repetition_fault(text, 1, 1, **(off | bounds)) is not None  # type: ignore[arg-type]

    share = duplicate_share(words, n)
    assert faulty(max_duplicate=((n, share - 0.001),)) or share == 0
    assert not faulty(max_duplicate=((n, share + 0.001),))
    share = top_share(words, n)
    assert faulty(max_top=((n, share - 0.001),)) or share == 0
    assert not faulty(max_top=((n, share + 0.001),))


def test_texts_without_spaces_have_words_too() -> None:
    text = "".join(
        f"第{i}章では、機械の部品{i * 37}番を外し、水で洗い、乾かしてから元の場所に戻します。\n"
        for i in range(40)
    )
    assert gopher.quality_fault(Prose(text, "ja")) is None
    assert gopher.quality_fault(Prose("漢字" * 200, "ja")) == "too_few_stop_words"


CODE = "".join(f"def part_{i}(x):\n    return x * {i} + part_{i - 1}(x - 1)\n\n\n" for i in range(1, 20))


@pytest.mark.parametrize(
    ("code", "fault"),
    [
        (CODE, None),
        ("x = 1\n", "too_short"),
        ("# This file was automatically generated by make.\n" + CODE, "generated_code"),
        (CODE + "table = [" + "'a b', " * 200 + "]\n", "line_too_long"),
        ("\n".join(["call(" + "argument, " * 12 + ")"] * 20), "lines_too_long"),
        (("+" * 60 + "\n") * 20 + "x = 1\n", "too_few_letters_and_digits"),
        ("data = '''\n" + ("QUJD" * 19 + "\n") * 40 + "'''\n" + CODE, "encoded_data"),
    ],
)
def test_each_fault_of_code_has_its_name(code: str, fault: str | None) -> None:
    assert starcoder.fault(code) == fault
