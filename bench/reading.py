"""How well a model reads: the product's own reader on sets of questions, beside a reader without a model.

    python bench/reading.py --data questions.jsonl.gz --model qwen-0.5b
    python bench/reading.py --dev --rows alone,hidden8k --limit 100 --read select --quote
    python bench/reading.py --all --data ../shared/eval --model FOLDER

Rows: `alone` (the paragraph), `hidden2k|4k|8k` (at a random depth among others of its set),
`unanswerable` (2K without the paragraph, siblings kept; questions written as unanswerable beside, on
their own text), `needle` (2K, 4K, 8K by depth), `licences` (which models of a table may be used
commercially). Each is asked of the BM25 sentence, of the model alone (`whole`, free answer) and of
both (`select --quote`), or of the one way that --read and --quote name.

The form of the questions is in questions.py, of the scores in metrics.py. Beside the result, NAME.json,
stands NAME.answers.jsonl: every answer given, with its gold, score and F1. The last line printed is the
result as JSON.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, TextIO

import questions as qs
import table
from development import development_sets
from machine import commit, machine, now
from metrics import estimate
from rows import ROWS, Given, Method, Row, all_rows, bm25, by_reader, licence_row, refused
from table_shown import shown

from xgen.errors import XgenError
from xgen.files import write_whole

ROOT = Path(__file__).parents[1]
SETS_TO_CHOOSE_ON = ROOT / ".." / "shared" / "instruct"

# ---- running


def run(row: Row, method: Method, answers: TextIO) -> dict[str, Any]:
    """Ask all questions of a row; write each answer to `answers` and return the row of the result."""
    values: dict[str, list[float]] = {}
    documents, depths, prompts = [], [], []
    seconds = 0.0
    for case in row.cases:
        begun = time.perf_counter()
        given = method.ask(case, row.answer_tokens)
        seconds += time.perf_counter() - begun
        for asked, one in zip(case.asked, given, strict=True):
            measured = row.measure(asked, one)
            for name, value in measured.items():
                values.setdefault(name, []).append(value)
            documents.append(asked.paragraph)
            depths.append(asked.depth)
            prompts.append(one.prompt_tokens or 0)
            answers.write(_answer_line(row, method, asked, one, measured) + "\n")
        answers.flush()
    main = next(name for name in ("f1", "refused", "hit", "set_f1") if name in values)
    return {
        "set": row.set,
        "row": row.name,
        "method": method.name,
        "n_questions": len(documents),
        "n_documents": len(set(documents)),
        "n_texts": len(row.cases),
        "measures": {name: vars(estimate(each, documents)) for name, each in values.items()},
        "main": main,
        "by_depth": _by_depth(depths, values[main]),
        "prompt_tokens": round(sum(prompts) / len(prompts)),
        "seconds": round(seconds, 2),
        "note": row.note,
    }


def _answer_line(row: Row, method: Method, asked: qs.Asked, given: Given, measured: dict[str, float]) -> str:
    line = {
        "set": row.set,
        "row": row.name,
        "method": method.name,
        "id": asked.question.id,
        "document": asked.paragraph,
        "depth": asked.depth,
        "question": asked.question.text,
        "gold": [g.text for g in asked.question.golds],
        **vars(given),
        **measured,
    }
    return json.dumps(line, ensure_ascii=False)


def _by_depth(depths: Sequence[float | None], values: Sequence[float]) -> dict[str, list[float]]:
    """Mean and count of `values` at the nearest of the five depths 0, 0.25, ..., 1."""
    cells: dict[float, list[float]] = {}
    for depth, value in zip(depths, values, strict=True):
        if depth is not None:
            cells.setdefault(round(depth * 4) / 4, []).append(value)
    if len(cells) < 2:
        return {}
    return {str(d): [round(sum(v) / len(v), 4), len(v)] for d, v in sorted(cells.items())}


def table_line(result: dict[str, Any]) -> str:
    """One row for people: shares in percent, each mean with its 95% interval."""
    measures = "  ".join(
        f"{name} {100 * m['mean']:.1f} [{100 * m['low']:.1f}, {100 * m['high']:.1f}]"
        for name, m in result["measures"].items()
    )
    where = f"{result['set']:<16} {result['row']:<13} {result['method']:<16}"
    return f"{where} n {result['n_questions']:<5} {measures}  {result['seconds']:.0f} s"


def verdicts(results: Sequence[dict[str, Any]], both: str = "select --quote") -> list[str]:
    """A sentence for each row where the reader with model and ranking is not the best of its methods."""
    groups: dict[tuple[str, str], dict[str, float]] = {}
    for result in results:
        mean = result["measures"][result["main"]]["mean"]
        groups.setdefault((result["set"], result["row"]), {})[result["method"]] = mean
    sentences = []
    for (set_, row), means in groups.items():
        best = max(means, key=lambda method: means[method])
        if both in means and means[best] > means[both]:
            numbers = f"{100 * means[best]:.1f} against {100 * means[both]:.1f}"
            sentences.append(f"{set_} {row}: `{both}` is not the best, `{best}` is ({numbers}).")
    return sentences


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", default=[], metavar="FILE_OR_FOLDER")
    parser.add_argument("--dev", type=Path, nargs="?", const=SETS_TO_CHOOSE_ON, metavar="FOLDER")
    parser.add_argument("--lang", help="of --dev, only these languages, with commas")
    parser.add_argument("--model", default="qwen-0.5b", metavar="NAME_OR_FOLDER")
    parser.add_argument("--adapter", metavar="FOLDER", help="a LoRA adapter of that model")
    parser.add_argument("--tables", type=Path, metavar="FILE", help="of made.py, for the row licences")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--cache", default="auto")
    parser.add_argument("--rows", default=",".join(ROWS), help=f"with commas, of {', '.join(ROWS)}")
    parser.add_argument("--read", choices=("whole", "select"))
    parser.add_argument("--quote", action="store_true", help="with --read: answer by a quotation")
    parser.add_argument("--limit", type=int, metavar="N", help="questions of each set at most")
    parser.add_argument(
        "--part",
        type=part,
        metavar="K/N",
        help="every Nth text of a row, from the Kth on: for N processes",
    )
    parser.add_argument("--out", type=Path, metavar="FILE", help="default: bench/results/reading-MODEL.json")
    parser.add_argument(
        "--all", action="store_true", help="the whole table of table.py; --data is one folder"
    )
    table.add_options(parser)
    options = parser.parse_args(arguments)
    options.rows = options.rows.split(",")
    if unknown := set(options.rows) - set(ROWS):
        parser.error(f"--rows: no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}")
    if options.quote and not options.read:
        parser.error("--quote goes with --read whole or --read select")
    if options.all and (len(options.data) != 1 or not options.data[0].is_dir()):
        parser.error("--all goes with --data and one folder, that of the sets it asks")
    return options


def part(words: str) -> slice:
    """Every Nth, from the Kth on, as `K/N` says; ValueError for anything else."""
    which, n = map(int, words.split("/"))
    if not 1 <= which <= n:
        raise ValueError(words)
    return slice(which - 1, None, n)


def main(arguments: Sequence[str]) -> None:
    import xgen

    options = parse(arguments)
    if options.all:
        whole_table(options)
        return
    sets = [found for place in options.data for found in qs.load(place)]
    if options.dev:
        langs = options.lang.split(",") if options.lang else None
        sets += [s for s in development_sets(options.dev) if langs is None or s.lang in langs]
    reader = xgen.load(options.model, options.device, options.dtype, options.adapter, options.cache)
    rows, notes = all_rows(
        sets, options.rows, options.limit, cache(lambda text: len(reader.bundle.tokenizer.encode(text)))
    )
    if options.tables:
        rows = [licence_row(options.tables) if row.name == "licences" else row for row in rows]
    if options.part:
        rows = [replace(row, cases=row.cases[options.part]) for row in rows]
        rows = [row for row in rows if row.cases]
    if not sets:
        notes.append(
            "No questions were given: name some with --data (bench/questions.py says in which form)."
        )
    ways = [(options.read, options.quote)] if options.read else [("whole", False), ("select", True)]
    name = Path(options.adapter or options.model).name
    result: dict[str, Any] = {
        "command": " ".join(["python bench/reading.py", *arguments]),
        "date": now(),
        "commit": commit(ROOT),
        "machine": machine(reader.bundle.device),
        "model": name,
        "dtype": str(reader.bundle.dtype).removeprefix("torch."),
    }
    out = options.out or ROOT / "bench" / "results" / f"reading-{name}.json"
    run_all(rows, [Method("bm25", bm25), *(by_reader(reader, *way) for way in ways)], result, notes, out)
    for sentence in [*result["verdicts"], *notes]:
        print(sentence)
    print(json.dumps(result, ensure_ascii=False))


def whole_table(options: argparse.Namespace) -> None:
    """Ask all that table.py lists and show it; with --share its own part only, to be shown by table.py."""
    import xgen

    reader = xgen.load(options.model, options.device, options.dtype, options.adapter, options.cache)
    name = Path(options.adapter or options.model).name
    out = options.out or ROOT / "bench" / "results" / f"table-{name}.json"
    options.data, options.dev = options.data[0], options.dev or SETS_TO_CHOOSE_ON
    options.lines = options.lines.split(";") if options.lines else []
    options.share = options.share and options.share / name
    out.parent.mkdir(parents=True, exist_ok=True)
    mode = "a" if options.share else "w"  # what a broken run had taken is not asked again
    with out.with_suffix(".answers.jsonl").open(mode, encoding="utf-8") as answers:
        table.ask(options, reader, answers)
    if not options.share:
        shown([out.with_suffix(".answers.jsonl")], [], out)


def run_all(
    rows: Sequence[Row], methods: Sequence[Method], result: dict[str, Any], notes: list[str], out: Path
) -> None:
    """Run every method on every row, adding to `result` and `notes`; `out` is whole after each."""
    done: list[dict[str, Any]] = []
    result.update(rows=done, notes=notes, verdicts=[])
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.with_suffix(".answers.jsonl").open("w", encoding="utf-8") as answers:
        for row in rows:
            for method in methods:
                if method.name == "bm25" and row.measure is refused:
                    continue  # it has no way to say that there is no answer
                try:
                    done.append(run(row, method, answers))
                    print(table_line(done[-1]), flush=True)
                except XgenError as error:
                    notes.append(f"{row.set} {row.name} by {method.name} is left out: {error}")
                result["verdicts"] = verdicts(done)
                write_whole(out, json.dumps(result, ensure_ascii=False, indent=1).encode() + b"\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except XgenError as error:
        sys.exit(str(error))
