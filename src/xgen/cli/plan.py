"""`xgen data plan` and `xgen data trace`: what a training will read, and what one of its steps did."""

from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from xgen.cli.extras import require_extra
from xgen.cli.options import Json
from xgen.cli.printing import print_table, print_text
from xgen.errors import BadCorpus
from xgen.files import cache_folder
from xgen.show import print_json

if TYPE_CHECKING:
    from xgen.data.ledger import Read
    from xgen.data.plan import StagePlan
    from xgen.data.shards import Corpus

CorpusFolder = Annotated[
    Path | None,
    typer.Option("--corpus", metavar="DIR", show_default=False, help="The corpus, if it is elsewhere."),
]


def plan(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", show_default=False, help="A training's recipe, in TOML.")
    ],
    *,
    corpus: CorpusFolder = None,
    as_json: Json = False,
) -> None:
    """Show what each stage of a training will read: sets, epochs, licences, and what stays unread.

    Ends with exit code 2 if a stage cannot be fed, and says which set is short of how many tokens.
    """
    require_extra("train", "pydantic")
    from xgen.data.plan import missing, plan_run
    from xgen.data.shards import MANIFEST_FILE, open_corpus
    from xgen.train.recipe import load_recipe

    read = load_recipe(recipe)
    folder = corpus or cache_folder() / "corpora" / read.corpus
    opened = open_corpus(folder, check=True) if (folder / MANIFEST_FILE).is_file() else None
    if short := missing(read.stages, opened.sets if opened else ()):
        _list_missing(short, as_json)
        which = "its sets are not those" if opened else "there is no corpus"
        raise BadCorpus(
            str(folder),
            f"{which}: nothing matches {', '.join(short)}, wanted for {sum(short.values()):,} tokens",
            "build a corpus that has them with `xgen data build`, or name another with --corpus",
        )
    assert opened is not None  # a recipe's mix names something, which would be missing
    plans = plan_run(opened, read.stages, read.seed, read.tokens_per_step)
    shown = plan_table(opened, plans)
    if as_json:
        print_json({"recipe": read.name, "corpus": str(folder)} | shown)
    else:
        _print_plan(shown)


def plan_table(corpus: "Corpus", plans: Iterable["StagePlan"]) -> dict[str, Any]:
    """What the stages of a plan read, for JSON: numbers in tokens, that is positions of rows."""
    from xgen.data.ledger import by_licence, never_read, read_by_stage

    plans = tuple(plans)
    licences = by_licence(corpus, plans)
    epochs: dict[str, float] = {}
    stages = []
    for number, one in enumerate(plans):
        entries = read_by_stage(corpus, one)
        total = sum(entry.positions for entry in entries)
        for entry in entries:
            epochs[entry.set] = epochs.get(entry.set, 0.0) + entry.epochs
        languages: dict[str, int] = {}
        for entry in entries:
            languages[entry.language] = languages.get(entry.language, 0) + entry.positions
        stages.append(
            {
                "name": one.name,
                "length": one.length,
                "rows": one.n_rows,
                "steps": one.n_steps,
                "tokens": one.n_rows * one.length,
                "filled": total / (one.n_rows * one.length),
                "trained": sum(entry.trained for entry in entries),
                "long_share": sum(entry.long for entry in entries) / total,
                "sets": [
                    asdict(entry) | {"share": entry.positions / total, "epochs_so_far": epochs[entry.set]}
                    for entry in entries
                ],
                "languages": languages,
                "licences": {
                    licence: counts[number] for licence, counts in licences.items() if counts[number]
                },
            }
        )
    return {"stages": stages, "never_read": never_read(corpus, plans)}


def _list_missing(short: dict[str, int], as_json: bool) -> None:
    if as_json:
        print_json({"missing": short})
    else:
        print_table(["missing", "tokens wanted"], [[name, f"{n:,}"] for name, n in short.items()])


def _print_plan(shown: dict[str, Any]) -> None:
    for stage in shown["stages"]:
        print_text(
            f"{stage['name']}: {stage['steps']:,} steps, {stage['rows']:,} rows of {stage['length']:,}, "
            f"{stage['tokens']:,} tokens, {stage['filled']:.1%} filled, {stage['trained']:,} trained, "
            f"{stage['long_share']:.0%} in documents of {stage['length']:,} or more"
        )
        print_table(
            ["set", "documents", "tokens", "share", "epochs", "so far", "long"],
            [
                [
                    one["set"],
                    f"{one['documents']:,}",
                    f"{one['positions']:,}",
                    f"{one['share']:.1%}",
                    f"{one['epochs']:.2f}",
                    f"{one['epochs_so_far']:.2f}",
                    f"{one['long'] / max(1, one['positions']):.0%}",
                ]
                for one in stage["sets"]
            ],
        )
        print_text("")
    stages = shown["stages"]
    licences = dict.fromkeys(licence for stage in stages for licence in stage["licences"])
    print_table(
        ["licence", *(stage["name"] for stage in stages)],
        [[name, *(f"{stage['licences'].get(name, 0):,}" for stage in stages)] for name in licences],
    )
    print_text("")
    unread = {name: n for name, n in shown["never_read"].items() if n}
    if unread:
        print_table(["never read", "tokens"], [[name, f"{n:,}"] for name, n in unread.items()])
    else:
        print_text("every token of the corpus is read")


def trace(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", show_default=False, help="The folder of a training: its --out.")
    ],
    *,
    step: Annotated[
        int | None,
        typer.Option(
            "--step", metavar="N", min=1, help="A step, counted as metrics.jsonl does; else all of them."
        ),
    ] = None,
    corpus: CorpusFolder = None,
    as_json: Json = False,
) -> None:
    """Name the documents, sources and licences that a step of a training read.

    Without --step: how much the run has read so far, by stage and set.
    """
    from xgen.data.ledger import open_run, rows_of_step, steps_done
    from xgen.data.ledger import trace as trace_rows

    opened, plans = open_run(run, corpus)
    if step is None:
        _tell_ledger(opened, plans, steps_done(run), as_json)
        return
    stage, rows = rows_of_step(plans, step)
    shown = step_table(trace_rows(opened, stage, rows))
    if as_json:
        print_json({"step": step, "stage": stage.name, "rows": [rows.start, rows.stop]} | shown)
        return
    print_text(f"step {step:,}: rows {rows.start:,} to {rows.stop - 1:,} of stage {stage.name}")
    print_table(
        ["licence", "source", "documents", "tokens"],
        [
            [one["licence"], one["source"], f"{one['documents']:,}", f"{one['tokens']:,}"]
            for one in shown["groups"]
        ],
    )
    print_text("")
    print_table(
        ["set", "document", "source", "licence", "tokens", "of"],
        [
            [
                one["set"],
                one["id"],
                one["source"],
                one["licence"],
                ", ".join(f"{piece['start']:,} to {piece['end']:,}" for piece in one["pieces"]),
                f"{one['n_tokens']:,}",
            ]
            for one in shown["documents"]
        ],
    )


def _tell_ledger(corpus: "Corpus", plans: "tuple[StagePlan, ...]", n_steps: int, as_json: bool) -> None:
    """What the first `n_steps` steps of a run read."""
    from xgen.data.ledger import read_until

    stages = [
        (plan.name, entry)
        for plan, entries in zip(plans, read_until(corpus, plans, n_steps), strict=True)
        for entry in entries
        if entry.documents
    ]
    if as_json:
        print_json({"steps": n_steps, "read": [{"stage": name, **asdict(entry)} for name, entry in stages]})
        return
    print_text(f"{n_steps:,} steps")
    print_table(
        ["stage", "set", "documents", "tokens in", "trained", "epochs"],
        [
            [
                name,
                one.set,
                f"{one.documents:,}",
                f"{one.positions:,}",
                f"{one.trained:,}",
                f"{one.epochs:.2f}",
            ]
            for name, one in stages
        ],
    )


def step_table(read: list["Read"]) -> dict[str, Any]:
    """What rows read, for JSON: `documents`, each once with its pieces, in `groups` of licence and source."""
    documents: dict[tuple[str, int], dict[str, Any]] = {}
    fields = ("set", "index", "id", "source", "licence", "language", "n_tokens")
    for one in sorted(read, key=lambda one: (one.licence, one.source, one.set, one.id, one.index, one.start)):
        about = {key: getattr(one, key) for key in fields}
        entry = documents.setdefault((one.set, one.index), about | {"pieces": []})
        entry["pieces"].append({"row": one.row, "start": one.start, "end": one.end})
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for entry in documents.values():
        licence, source = entry["licence"], entry["source"]
        empty = {"licence": licence, "source": source, "documents": 0, "tokens": 0}
        group = groups.setdefault((licence, source), empty)
        group["documents"] += 1
        group["tokens"] += sum(piece["end"] - piece["start"] for piece in entry["pieces"])
    return {"groups": list(groups.values()), "documents": list(documents.values())}
