"""Where a free answer and the best span of the text say different things: which of them is right, how often.

    python bench/reading.py --dev --lang en --rows hidden8k --read select --model reader --out s.json
    python bench/beside.py s.answers.jsonl

Of answers that reading.py wrote, those where the two differ: F1 of each against the gold,
by what the answer is (words of the text, or words that stand nowhere in it) and by the share of right answers
that the span comes with. The last line printed is the result as JSON.
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from metrics import score

RIGHT_F1 = 0.5
Kind = Callable[[dict[str, Any]], bool]

KINDS: dict[str, Kind] = {
    "all": lambda one: True,
    "stands in the text": lambda one: bool(one["stands"]),
    "stands nowhere": lambda one: not one["stands"],
    "span right half the time or more": lambda one: (one["span_share"] or 0) >= 0.5,
    "of these, stands in the text": lambda one: (one["span_share"] or 0) >= 0.5 and bool(one["stands"]),
    "of these, stands nowhere": lambda one: (one["span_share"] or 0) >= 0.5 and not one["stands"],
}


def beside(given: Sequence[dict[str, Any]], lang: str) -> list[dict[str, Any]]:
    """For each kind of difference: how many, mean F1 of answer and span, and how often one alone is right."""
    differ = [one for one in given if one.get("span") and one.get("gold")]
    pairs = [(one, *(score(one[key], one["gold"], lang).f1 for key in ("answer", "span"))) for one in differ]
    rows = []
    for name, belongs in KINDS.items():
        some = [(free, span) for one, free, span in pairs if belongs(one)]
        rows.append(
            {
                "kind": name,
                "n": len(some),
                "answer_f1": sum(free for free, _ in some) / max(1, len(some)),
                "span_f1": sum(span for _, span in some) / max(1, len(some)),
                "answer_alone_right": sum(free >= RIGHT_F1 > span for free, span in some),
                "span_alone_right": sum(span >= RIGHT_F1 > free for free, span in some),
            }
        )
    return rows


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("answers", type=Path, nargs="+")
    parser.add_argument("--lang", default="en")
    options = parser.parse_args(arguments)
    given = [json.loads(line) for path in options.answers for line in path.read_text("utf-8").splitlines()]
    rows = beside(given, options.lang)
    print(f"{len(given)} questions; where answer and span differ:")
    for row in rows:
        print(
            f"{row['kind']:<34} n {row['n']:<4} F1 {100 * row['answer_f1']:5.1f} {100 * row['span_f1']:5.1f}"
            f"   right alone {row['answer_alone_right']:>3} {row['span_alone_right']:>3}"
        )
    print(json.dumps({"questions": len(given), "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
