import gzip
import json
import random
from pathlib import Path

import pytest

from xgen.data.decontaminate import (
    CODE_BYTES,
    WIDE_WORDS,
    WORDS,
    Evaluations,
    evaluation_files,
    evaluation_texts,
    overlapping_pieces,
    overlapping_words,
    overlaps_code,
)
from xgen.data.shingles import word_hashes, words_of
from xgen.errors import XgenError


def words(seed: int, n: int) -> list[str]:
    chance = random.Random(seed)
    return [f"w{chance.randrange(500)}" for _ in range(n)]


def overlaps(text: str, evaluations: Evaluations, language: str = "en") -> list[tuple[int, int]]:
    return overlapping_words(word_hashes(words_of(text)), language, evaluations)


@pytest.mark.parametrize("n_shared", [WORDS - 1, WORDS, WORDS + 5])
def test_thirteen_words_in_a_row_are_an_overlap_and_twelve_are_none(n_shared: int) -> None:
    asked = words(1, 40)
    text = " ".join([*words(2, 50), *asked[7 : 7 + n_shared], *words(3, 50)])
    found = overlaps(text, Evaluations.of([" ".join(asked).title() + "?"]))
    assert found == ([(50, 50 + n_shared)] if n_shared >= WORDS else [])


def test_against_brute_force_stretches_are_those_of_sets_of_words() -> None:
    asked = words(1, 300)
    text = words(2, 100) + asked[10:40] + words(3, 4) + asked[50:70] + words(4, 60) + asked[100:111]
    runs = {tuple(asked[i : i + WORDS]) for i in range(len(asked) - WORDS + 1)}
    covered = {
        j
        for i in range(len(text) - WORDS + 1)
        if tuple(text[i : i + WORDS]) in runs
        for j in range(i, i + WORDS)
    }
    found = overlaps(" ".join(text), Evaluations.of([" ".join(asked)]))
    assert {j for start, end in found for j in range(start, end)} == covered
    assert len(found) == 2


@pytest.mark.parametrize("language", ["zh", ""])
def test_characters_of_a_text_that_does_not_say_its_language_are_compared_too(language: str) -> None:
    chance = random.Random(1)
    asked = "".join(chr(chance.randrange(0x4E00, 0x9000)) for _ in range(40))
    evaluations = Evaluations.of([asked, " ".join(words(1, 40))])
    assert overlaps("一二三" + asked[5:35] + "四五六", evaluations, language) == [(3, 33)]
    assert bool(overlaps(" ".join(words(1, 40)), evaluations, language)) is (language == "")


def test_paragraphs_that_touch_an_overlap_are_named() -> None:
    asked = words(1, 40)
    paragraphs = [
        " ".join(words(2, 30)),
        " ".join(asked[:10]),
        " ".join(asked[10:30]),
        " ".join(words(3, 30)),
    ]
    pieces = [paragraph + "\n\n" for paragraph in paragraphs]
    hashes = word_hashes(words_of("".join(pieces)))
    touched, n_stretches = overlapping_pieces(pieces, hashes, "en", Evaluations.of([" ".join(asked)]))
    assert (touched, n_stretches) == ([False, True, True, False], 1)


@pytest.mark.parametrize("n_shared", [WIDE_WORDS - 1, WIDE_WORDS])
def test_characters_are_the_words_of_chinese(n_shared: int) -> None:
    asked = "".join(chr(0x4E00 + 7 * i) for i in range(60))
    text = "".join(chr(0x6E00 + 3 * i) for i in range(50)) + "，" + asked[:n_shared] + "。"
    assert bool(overlaps(text, Evaluations.of([asked]), "zh")) == (n_shared == WIDE_WORDS)


def test_code_is_looked_for_in_pieces_wherever_they_fall() -> None:
    asked = "def mean_of_the_values(numbers):\n    return sum(numbers) / len(numbers) if numbers else 0\n"
    evaluations = Evaluations.of([asked])
    spaced = asked.replace("    ", "\t").replace(" ", "  ")
    assert overlaps_code(f"import os\n\n\nclass A:\n{spaced}", evaluations)
    bare = "".join(asked.split())
    assert not overlaps_code(bare[: CODE_BYTES - 1] + "#" * 60, evaluations)
    assert not overlaps_code("import numpy as np\n" * 30, evaluations)


def test_every_text_of_a_line_counts_and_comes_back_from_the_disk(tmp_path: Path) -> None:
    asked = " ".join(words(5, 20))
    line = {"id": 1, "questions": [{"answers": [{"text": asked}]}]}
    with gzip.open(tmp_path / "a.jsonl.gz", "wt") as file:
        file.write(json.dumps(line) + "\n\n")
    (tmp_path / "b.jsonl").write_text(json.dumps(["short"]))
    files = evaluation_files([tmp_path])
    assert [path.name for path in files] == ["a.jsonl.gz", "b.jsonl"]
    evaluations = Evaluations.of(evaluation_texts(files))
    assert overlaps(asked, evaluations)
    evaluations.save(tmp_path / "kept.npz")
    assert overlaps(asked, Evaluations.load(tmp_path / "kept.npz"))


def test_a_folder_without_sets_and_a_broken_one_are_named(tmp_path: Path) -> None:
    with pytest.raises(XgenError, match=r"it has no .jsonl"):
        evaluation_files([tmp_path])
    (tmp_path / "a.jsonl").write_text("{")
    with pytest.raises(XgenError, match=r"a\.jsonl: it cannot be read"):
        list(evaluation_texts(evaluation_files([tmp_path])))


def test_no_evaluation_overlaps_nothing() -> None:
    nothing = Evaluations.of([])
    assert overlaps(" ".join(words(1, 100)), nothing) == []
    assert not overlaps_code("def f(x):\n    return x\n" * 9, nothing)
