"""What a run read, took and learned, as tables in Markdown: the report of `nano`.

    python bench/nano.py RUN [RUN ...] [--corpus DIR]

Of the first run: tokens by source and by language, minutes and utilisation by stage. Of all of them, side by
side: held-out bits per byte by set after each stage, and loss by position. The last line is JSON.
"""

import argparse
import json
import re
import statistics
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from xgen.data.ledger import open_run
from xgen.data.plan import StagePlan
from xgen.data.shards import Corpus


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def read_by(corpus: Corpus, plans: tuple[StagePlan, ...], key: str) -> Counter[str]:
    """Positions that a run reads, by a field of its documents' records."""
    found: Counter[str] = Counter()
    for plan in plans:
        for index, name in enumerate(plan.sets):
            mine, tokens = plan.set_index == index, corpus.sets[name]
            sizes = np.bincount(plan.document[mine], (plan.end - plan.start)[mine], tokens.n_documents)
            for record, size in zip(tokens.documents(), sizes.tolist(), strict=True):
                found[getattr(record, key)] += int(size)
    return found


# A package's own statement is exact and long; a table names the families in it, in this order.
FAMILIES = {
    "public domain": "public-domain|CC0|0BSD",
    "MIT, BSD, ISC, Apache, PSF": "MIT|BSD|ISC|Apache|PSF|Zlib|Artistic|MIT-CMU",
    "MPL": "MPL",
    "CC-BY": "CC-BY-[0-9]|CC-BY(?!-)",
    "CC-BY-SA": "CC-BY-SA",
    "GFDL": "GFDL",
    "LGPL": "LGPL",
    "GPL": "(?<![LA])GPL",
    "AGPL": "AGPL",
}


def licences_of(corpus: Corpus) -> dict[str, list[str]]:
    """The families of licences that the statements of each source's documents name."""
    found: dict[str, set[str]] = {}
    for tokens in corpus.sets.values():
        for record in tokens.documents():
            found.setdefault(record.source, set()).add(record.licence)
    return {
        source: [
            name for name, pattern in FAMILIES.items() if any(re.search(pattern, one) for one in statements)
        ]
        or sorted(statements)
        for source, statements in found.items()
    }


def table(header: list[str], rows: list[list[str]]) -> None:
    print(f"| {' | '.join(header)} |\n|{'---|' * len(header)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def speeds(run: Path) -> list[list[str]]:
    """Minutes, tokens a second and share of the matrix ceiling of each stage."""
    steps = lines(run / "metrics.jsonl")
    rows = []
    for stage in dict.fromkeys(step["stage"] for step in steps):
        own = [step for step in steps if step["stage"] == stage]
        seconds = sum(step["seconds"] for step in own)
        shares = [step["mfu"] for step in own if step["mfu"]]
        utilised = f"{100 * statistics.median(shares):.0f}%" if shares else "-"
        rate = f"{statistics.median(step['tokens_per_s'] for step in own):,.0f}"
        last = statistics.mean(step["loss"] for step in own[-20:])
        skipped = sum(not step["accepted"] for step in own)
        rows.append(
            [stage, f"{len(own):,}", f"{seconds / 60:.1f}", rate, utilised, f"{last:.3f}", str(skipped)]
        )
    return rows


def side_by_side(scores: list[tuple[str, dict[str, Any]]]) -> None:
    """Bits per byte by set, and loss by position, a column for each stage of each run."""
    names = sorted({name for _, score in scores for name in score["sets"]})
    header = [title for title, _ in scores]
    rows = [[name, *(f"{score['sets'][name]['bits_per_byte']:.3f}" for _, score in scores)] for name in names]
    means = [statistics.mean(one["bits_per_byte"] for one in score["sets"].values()) for _, score in scores]
    table(["held-out set, bits per byte", *header], [*rows, ["mean", *(f"{mean:.3f}" for mean in means)]])
    bins = {(b["first"], b["last"]) for _, score in scores for b in score["positions"]}
    rows = []
    for first, last in sorted(bins):
        found = [
            next((b["nats"] for b in score["positions"] if (b["first"], b["last"]) == (first, last)), None)
            for _, score in scores
        ]
        rows.append([f"{first:,}-{last:,}", *("-" if nats is None else f"{nats:.3f}" for nats in found)])
    table(["position, nats per token", *header], rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--corpus", type=Path)
    options = parser.parse_args()
    first = options.runs[0]
    corpus, plans = open_run(first, options.corpus)
    sources, languages = read_by(corpus, plans, "source"), read_by(corpus, plans, "language")
    licences = licences_of(corpus)
    table(
        ["source", "tokens read", "licences"],
        [[name, f"{n:,}", ", ".join(licences[name])] for name, n in sources.most_common() if n],
    )
    table(["language", "tokens read"], [[name, f"{n:,}"] for name, n in languages.most_common() if n])
    header = ["stage", "steps", "minutes", "tok/s", "of the matrix ceiling", "loss at its end", "skipped"]
    table(header, speeds(first))
    scores = [
        (f"{run.name}: {score['stage']}" if len(options.runs) > 1 else score["stage"], score)
        for run in options.runs
        for score in lines(run / "held_out.jsonl")
    ]
    side_by_side(scores)
    print(json.dumps({"tokens_by_source": sources, "tokens_by_language": languages, "scores": dict(scores)}))


if __name__ == "__main__":
    main()
