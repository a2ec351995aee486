"""`xgen data`: corpora built by recipes, looked at, planned for a training, traced; questions made."""

from pathlib import Path
from typing import Annotated, Any

import typer

from xgen.cli.extras import require_extra
from xgen.cli.options import Json
from xgen.cli.plan import plan, trace
from xgen.cli.printing import print_table, print_text
from xgen.files import cache_folder
from xgen.show import print_json

SHOWN_LICENCES = 30

data = typer.Typer(name="data", help="Corpora: build, show, plan, trace; made questions.")
data.command()(plan)
data.command()(trace)


@data.command()
def build(
    recipe: Annotated[
        Path, typer.Argument(metavar="RECIPE", show_default=False, help="A corpus recipe, in TOML.")
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The corpus; without it, by its name in the cache.")
    ] = None,
    mirror: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Clones of repositories, DIR/OWNER/NAME, used if there."),
    ] = None,
    evaluations: Annotated[
        list[Path] | None,
        typer.Option("--eval", metavar="DIR", help="Evaluation sets (JSON lines) that must not be learned."),
    ] = None,
    downloads: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where packages are kept; without it, in the cache.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a corpus by a recipe, or do what is left of it after a stop.

    Downloads, filters, removes duplicates, learns a vocabulary, writes token ids; DIR-report.html shows
    what was kept, what was rejected and why. What was done is kept in DIR.work for the next build.
    """
    require_extra("train", "pydantic", "datasketch", "zstandard", "matplotlib")
    from xgen.cli.wording import reading_words
    from xgen.data.recipe import load_recipe
    from xgen.data.report import write_report
    from xgen.data.run import Places, build_corpus
    from xgen.data.tuning import Manner
    from xgen.formats.folder import CHATML

    read = load_recipe(recipe)
    folder = out.resolve() if out else cache_folder() / "corpora" / read.name  # "." has no name of its own
    places = Places(
        out=folder,
        work=folder.with_name(f"{folder.name}.work"),
        downloads=downloads or cache_folder() / "downloads",
        mirror=mirror,
        evaluations=tuple(evaluations or ()),
    )
    built = build_corpus(read, places, Manner(CHATML, reading_words()))
    page = write_report(folder, built)
    shown = corpus_table(folder)
    if as_json:
        print_json(shown | {"report": str(page), "seconds": built.seconds})
        return
    _print_table(shown)
    for verdict in ("came", "kept", "rejected"):
        documents, n_bytes = built.tally.total(verdict)
        print_text(f"{verdict}: {documents:,} documents, {n_bytes / 1e6:,.1f} MB")
    print_text(f"removed from within documents: {built.tally.total('removed')[1] / 1e6:,.1f} MB")
    print_text(f"report: {page}")


@data.command()
def questions(
    recipe: Annotated[
        Path,
        typer.Argument(metavar="RECIPE", show_default=False, help="A recipe of made questions, in TOML."),
    ],
    *,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The files; without it, by its name in the cache.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make questions about documents by code: facts, tables, keys, gaps, and what a document does not say.

    Writes a file a kind and language, KIND-LANGUAGE.jsonl.gz, for a corpus recipe to name. The same recipe
    and texts give the same files.
    """
    require_extra("train", "pydantic")
    from xgen.data.made.recipe import load_made_recipe, write_questions

    folder = out.resolve() if out else cache_folder() / "questions" / load_made_recipe(recipe).name
    written = list(write_questions(recipe, folder))
    if as_json:
        print_json(
            {"folder": str(folder), "files": [vars(each) | {"path": each.path.name} for each in written]}
        )
        return
    rows = [
        [
            each.path.name,
            f"{each.n_pages:,}",
            f"{each.n_questions:,}",
            f"{each.n_absent:,}",
            f"{each.n_characters / 1e6:,.2f}",
        ]
        for each in written
    ]
    print_table(["file", "documents", "questions", "absent", "M characters"], rows)
    print_text(f"{sum(each.n_questions for each in written):,} questions in {folder}")


@data.command()
def show(
    corpus: Annotated[
        Path, typer.Argument(metavar="CORPUS", show_default=False, help="A corpus: its folder or its name.")
    ],
    *,
    as_json: Json = False,
) -> None:
    """Show what a corpus holds: documents, tokens and bytes by set, and under which licences."""
    folder = corpus if corpus.is_dir() else cache_folder() / "corpora" / corpus
    shown = corpus_table(folder)
    if as_json:
        print_json(shown)
    else:
        _print_table(shown)


def corpus_table(folder: Path) -> dict[str, Any]:
    """Sets, sizes and licences of a corpus, for JSON; BadCorpus if there is none."""
    from xgen.data.shards import open_corpus

    corpus = open_corpus(folder)
    licences: dict[str, list[int]] = {}
    for tokens in corpus.sets.values():
        for record in tokens.documents():
            count = licences.setdefault(record.licence, [0, 0])
            count[0] += 1
            count[1] += record.bytes
    return {
        "name": corpus.name,
        "folder": str(folder),
        "vocab_size": corpus.vocab_size,
        "sets": {
            name: {"documents": tokens.n_documents, "tokens": tokens.n_tokens, "bytes": tokens.n_bytes}
            for name, tokens in corpus.sets.items()
        },
        "licences": {
            licence: {"documents": documents, "bytes": n_bytes}
            for licence, (documents, n_bytes) in sorted(licences.items(), key=lambda item: -item[1][1])
        },
    }


def _print_table(shown: dict[str, Any]) -> None:
    rows = [
        [
            name,
            f"{of_it['documents']:,}",
            f"{of_it['tokens']:,}",
            f"{of_it['bytes'] / 1e6:,.2f}",
            f"{of_it['bytes'] / of_it['tokens']:.2f}",
        ]
        for name, of_it in shown["sets"].items()
    ]
    print_table(["set", "documents", "tokens", "MB", "bytes a token"], rows)
    rows = [
        [licence, f"{of_it['documents']:,}", f"{of_it['bytes'] / 1e6:,.2f}"]
        for licence, of_it in shown["licences"].items()
    ]
    print_table(["licence", "documents", "MB"], rows[:SHOWN_LICENCES])
    if len(rows) > SHOWN_LICENCES:
        print_text(f"and {len(rows) - SHOWN_LICENCES} licences with less (--json lists all)")
    tokens = sum(of_it["tokens"] for of_it in shown["sets"].values())
    n_bytes = sum(of_it["bytes"] for of_it in shown["sets"].values())
    print_text(
        f"{shown['name']}: {tokens:,} tokens, {n_bytes / 1e6:,.1f} MB, vocabulary of {shown['vocab_size']:,}"
    )
