"""Fifty wrong answers of a run, drawn by a hash of the question, to be read one by one and sorted by cause.

    python bench/failures.py ANSWERS.jsonl ... --line alone --data ../shared/eval/xquad.en.jsonl.gz

Of answers that table.py wrote, those of `--line` with an F1 below 0.5; shown with the text around the gold
answer, and around what was said where that stands in the text too.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import questions as qs
from metrics import score
from table_shown import read, said

RIGHT_F1 = 0.5
AROUND = 90  # characters


def wrong(given: Sequence[dict[str, Any]], line: str, n: int) -> tuple[list[dict[str, Any]], int, int]:
    """At most `n` wrong answers to the questions of a line, how many there are, and of how many."""
    asked = [one for one in given if one["line"] == line and one.get("gold")]
    found = [one for one in asked if score(said(one), one["gold"], one["lang"]).f1 < RIGHT_F1]
    drawn = sorted(found, key=lambda one: qs.by_hash("failures", f"{one['set']} {one['id']}"))
    return drawn[:n], len(found), len(asked)


def around(text: str, words: str | None) -> str:
    """What stands around `words` in `text`."""
    at = text.find(words) if words else -1
    if at < 0:
        return "-"
    return " ".join(text[max(0, at - AROUND) : at + len(words or "") + AROUND].split())


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("answers", type=Path, nargs="+")
    parser.add_argument("--line", default="alone")
    parser.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--n", type=int, default=50)
    options = parser.parse_args(arguments)
    texts = {p.id: p.text for place in options.data for found in qs.load(place) for p in found.paragraphs}
    drawn, n_wrong, n_asked = wrong(read(options.answers), options.line, options.n)
    print(f"{len(drawn)} of {n_wrong} wrong answers to {n_asked} questions")
    for number, one in enumerate(drawn, 1):
        text, gold = texts.get(one["document"], ""), one["gold"][0]
        print(f"\n{number}. {one['question']}\n   gold: {gold}   said: {said(one)}   ({one['score']})")
        print(f"   gold in: {around(text, gold)}\n   said in: {around(text, said(one))}")


if __name__ == "__main__":
    main(sys.argv[1:])
