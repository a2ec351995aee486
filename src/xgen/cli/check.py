"""`xgen check`: what fewer bits change, on a document of the user's own."""

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from xgen.cli.documents import open_named
from xgen.cli.loading import require_model
from xgen.cli.options import Adapter, Device, Json, NoCache, Offline
from xgen.cli.printing import print_table, print_text
from xgen.errors import XgenError
from xgen.show import note, print_json, progress

if TYPE_CHECKING:
    from xgen.bundle import Bundle
    from xgen.engine.compare import Continuation, Difference

Kind = Literal["bf16", "fp16", "fp32", "int8"]


@dataclass(frozen=True)
class Checked:
    """One way to hold the model, and what it made of the document."""

    setting: str
    difference: "Difference"
    continuation: "Continuation"
    first_divergence: int | None
    margin: float | None


def check(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="A model by its name or its folder.")],
    file: Annotated[str, typer.Argument(metavar="FILE", help="A document, as for `xgen read`.")],
    *,
    dtype: Annotated[Kind, typer.Option(help="The weights to check; int8: 8-bit weights.")] = "int8",
    cache: Annotated[
        Kind | None, typer.Option(help="The cache to check; by default as for `xgen read`.")
    ] = None,
    against: Annotated[
        Literal["auto", "bf16", "fp16", "fp32"],
        typer.Option(help="The type to check it against; auto: fp32, where the memory holds both."),
    ] = "auto",
    max_tokens: Annotated[
        int, typer.Option("--tokens", metavar="N", min=2, help="How much of the document to read.")
    ] = 2048,
    max_continued: Annotated[
        int, typer.Option("--continue", metavar="N", min=1, help="How far to write on behind it.")
    ] = 64,
    adapter: Adapter = None,
    device: Device = "auto",
    no_cache: NoCache = False,
    offline: Offline = False,
    as_json: Json = False,
) -> None:
    """Check what 8 bits change on your own document.

    The document is read by the model in both types. Told are, for each token that follows: how far the two
    are apart (KL divergence in nats, mean and largest), how often both have the same first choice, the
    perplexities, and where the likeliest text behind the document first differs. Beside fp32 the 16-bit
    type is measured too, as what is lost anyway.
    """
    (document,) = _one(open_named([file], keep=not no_cache))
    require_model(model, offline)
    from xgen.bundle import load
    from xgen.engine.compare import faults

    def held(kind: str, of_cache: str = "auto") -> "Bundle":
        return load(model, device=device, dtype=kind, adapter=adapter, cache=of_cache)

    checked = held(dtype, cache or "auto")
    ids = checked.tokenizer.encode(document.text)
    room = checked.shape.max_seq_len - max_continued
    if room < 2:
        what = f"{max_continued:,} tokens leave no room for a document in {checked.shape.max_seq_len:,}"
        raise XgenError("--continue", what, "write on for fewer")
    n_read = min(len(ids), max_tokens, room)
    if n_read < 2:
        raise XgenError(document.path, f"it has {len(ids)} tokens", "name a longer document")
    others = [held(kind) for kind in _kinds(checked, against)]
    rows = _measured([*others, checked], ids[:n_read], max_continued)
    against_it = faults(rows[-1].difference, rows[0].difference if len(rows) == 2 else None)
    reference, name = str(others[0].setting), checked.card.name
    if as_json:
        told = {"model": name, "document": document.path, "tokens": len(ids), "tokens_read": n_read}
        facts = [_facts(row) | {"text": checked.tokenizer.decode(list(row.continuation.ids))} for row in rows]
        print_json({**told, "reference": reference, "checked": facts, "faults": against_it})
        return
    print_text(f"{name} reads {n_read:,} of {len(ids):,} tokens of {document.path}, beside {reference}:\n")
    _print(rows)
    for row in rows:
        behind = ids[max(0, row.difference.max_kl_at - 7) : row.difference.max_kl_at + 1]
        words = " ".join(checked.tokenizer.decode(behind).split())
        largest = f'the largest divergence is behind "{words}"'
        print_text(f"\n{row.setting}: {largest}; {_told_of_text(row, max_continued)}")
    verdict = "not as good here: " + "; ".join(against_it) if against_it else "good enough here"
    print_text(f"\n{rows[-1].setting}: {verdict}.")


def _one(documents: list[Any]) -> list[Any]:
    if len(documents) != 1:
        raise XgenError("check", f"{len(documents)} documents are named", "name one")
    return documents


def _kinds(checked: "Bundle", against: str) -> list[str]:
    """The types to load beside the checked one: the reference, and behind fp32 the 16-bit type."""
    import torch

    from xgen.engine.free import NAMES, free_bytes
    from xgen.model.memory import Setting, weight_bytes

    half = "bf16" if checked.dtype == torch.float32 else NAMES[checked.dtype]
    if against == "auto":
        free = free_bytes(checked.device)
        wanted = sum(weight_bytes(checked.shape, Setting(kind, kind, kind)) for kind in ("fp32", half))
        against = "fp32" if free is None or wanted <= free else half
        if against != "fp32":
            note(f"the memory does not hold fp32 beside: checked against {half}")
    is_half = checked.setting.weights == half and checked.setting.cache != "int8"
    return [against] if against != "fp32" or is_half else [against, half]


def _measured(bundles: "list[Bundle]", ids: list[int], max_continued: int) -> list[Checked]:
    """Each of `bundles` but the first beside the first."""
    from xgen.engine.compare import Subject, compare, continued, first_difference

    subjects = [Subject(each.model, each.empty_cache(len(ids) + max_continued)) for each in bundles]
    with progress("reading", len(ids), "tok") as advance:
        differences = compare(subjects[0], subjects[1:], ids, advance)
    hidden = bundles[0].hidden_ids
    with progress("writing", len(subjects), "texts") as advance:
        texts = []
        for subject in subjects:
            texts.append(continued(subject, ids[-1], hidden, max_continued))
            advance(1)
    rows = []
    for bundle, difference, text in zip(bundles[1:], differences, texts[1:], strict=True):
        place = first_difference(texts[0].ids, text.ids)
        margin = None if place is None else texts[0].margins[place]
        rows.append(Checked(str(bundle.setting), difference, text, place, margin))
    return rows


def _print(rows: list[Checked]) -> None:
    header = ["", "KL mean", "largest", "same first choice", "perplexity", "change"]
    print_table(
        header,
        [
            [
                row.setting,
                f"{row.difference.mean_kl:.5f}",
                f"{row.difference.max_kl:.3f}",
                f"{row.difference.same_first:.2%}",
                f"{row.difference.perplexity:.3f}",
                f"{row.difference.perplexity_change:+.2%}",
            ]
            for row in rows
        ],
    )


def _told_of_text(row: Checked, max_continued: int) -> str:
    if row.first_divergence is None:
        return f"the likeliest {max_continued} tokens behind the document are the same."
    near = f"where the reference's choice led by {row.margin:.2f} nats"
    return f"the likeliest text behind the document differs from token {row.first_divergence + 1} on, {near}."


def _facts(row: Checked) -> dict[str, Any]:
    facts = asdict(row.difference) | {"perplexity_change": row.difference.perplexity_change}
    return {
        "setting": row.setting,
        **facts,
        "first_divergence": row.first_divergence,
        "margin": row.margin,
    }
