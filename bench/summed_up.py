"""Summaries that a model wrote (table.py) beside extraction on the same documents, at the same length.

    python bench/summed_up.py ANSWERS.jsonl ... --data ../shared/eval [--beside BASE.jsonl ...]

ROUGE-1, -2 and -L with 95% intervals, and the share of sentences that the document bears out by the evidence
check of `xgen read` (read/support.py), with no number or name that the document does not know.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from long_texts import tasks
from metrics import estimate
from summaries import MEASURES, Task, extracting, graph, rouge
from table_shown import read

from xgen.read.support import strangers, support
from xgen.text.sentences import sentence_spans

LINES = ("summaries", "summaries, last 2K", "short summaries")


def borne_out(text: str, summary: str) -> float:
    """The share of a summary's sentences that rest on a sentence of the text and know nothing else."""
    sentences = [summary[begin:stop] for begin, stop in sentence_spans(summary)]
    found = [support(text, one) is not None and not strangers(text, one) for one in sentences]
    return sum(found) / len(found) if found else 0.0


def line_of(name: str, some: Sequence[tuple[Task, str]]) -> str:
    """A line of the table: ROUGE in percent with intervals, and the share of sentences borne out."""
    scores = [rouge(task, summary) for task, summary in some]
    ids = [task.id for task, _ in some]
    shown = []
    for measure in MEASURES:
        e = estimate([s[measure] for s in scores], ids)
        shown.append(f"{e.mean:5.1f} [{e.low:4.1f}, {e.high:4.1f}]")
    share = sum(borne_out(task.text, summary) for task, summary in some) / len(some)
    return f"{name:40} n {len(some):3}  {'  '.join(shown)}  borne out {100 * share:5.1f}%"


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("answers", type=Path, nargs="+")
    parser.add_argument("--beside", type=Path, nargs="+", default=[])
    parser.add_argument("--data", type=Path, required=True, metavar="FOLDER")
    options = parser.parse_args(arguments)
    groups: dict[tuple[str, str, str], dict[str, str]] = {}
    for who, files in (("model", options.answers), ("base", options.beside)):
        for one in read(files) if files else []:
            if one["line"] in LINES and "answer" in one:
                groups.setdefault((one["set"], who, one["line"]), {})[one["id"]] = one["answer"] or ""
    for name in sorted({set_ for set_, _, _ in groups}):
        known = {_id(task): task for task in tasks(options.data, name, None)}
        written = {(who, line): given for (set_, who, line), given in groups.items() if set_ == name}
        shared: Any = set.intersection(*(set(given) for given in written.values()))
        some = [known[key] for key in sorted(shared)]
        if not some:
            continue
        print(line_of(f"{name}: extraction", [(task, _first(task)) for task in some]))
        for (who, line), given in sorted(written.items()):
            print(line_of(f"{name}: {who}, {line}", [(task, given[_id(task)]) for task in some]))


def _id(task: Task) -> str:
    return f"{task.id} {task.question}".strip()


def _first(task: Task) -> str:
    return " ".join(extracting(graph)(task).split()[: task.n_words])


if __name__ == "__main__":
    main(sys.argv[1:])
