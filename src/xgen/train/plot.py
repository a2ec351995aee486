"""A run drawn: loss over tokens with its stages, loss by position, bits per byte by language."""

import json
from pathlib import Path
from typing import Any

from xgen.data.ledger import RUN_FILE
from xgen.errors import XgenError
from xgen.files import whole_file

FILE = "run.svg"


def plot_run(folder: Path) -> Path:
    """Draw the run in `folder` into run.svg there; XgenError if it holds none, or a damaged one."""
    steps = _lines(folder / "metrics.jsonl")
    if not steps:
        raise XgenError(str(folder), "it holds no metrics of a run", "name the --out of an `xgen train`")
    scores = _lines(folder / "held_out.jsonl")

    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 11), layout="constrained")
    loss, positions, languages = figure.subplots(3, 1)
    try:
        run = json.loads((folder / RUN_FILE).read_bytes())
        _loss(loss, steps, run["tokens_per_step"])
        _positions(positions, scores)
        _languages(languages, scores)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"its files are damaged or not those of a run ({type(error).__name__}: {error})"
        raise XgenError(str(folder), what, "name the --out of an `xgen train`") from error
    path = folder / FILE
    with whole_file(path) as draft:
        figure.savefig(draft, format="svg")
    return path


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            break  # the line that a run is just writing
    return found


def _loss(axes: Any, steps: list[dict[str, Any]], tokens_per_step: int) -> None:
    million = tokens_per_step / 1e6
    kept = [one for one in steps if one["accepted"]]
    skipped = [one for one in steps if not one["accepted"]]
    tokens = [one["step"] * million for one in kept]
    axes.plot(tokens, [one["loss"] for one in kept], linewidth=0.6, alpha=0.5, label="each step")
    axes.plot(tokens, _smooth([one["loss"] for one in kept]), linewidth=1.4, label="running mean")
    low, high = axes.get_ylim()
    for one in skipped:
        axes.axvline(one["step"] * million, color="tab:red", linewidth=0.8)
    seen = ""
    for one in steps:
        if one["stage"] != seen:
            seen = one["stage"]
            axes.axvline((one["step"] - 1) * million, color="gray", linestyle=":")
            axes.annotate(
                seen, ((one["step"] - 1) * million, high), xytext=(3, -10), textcoords="offset points"
            )
    title = "loss over tokens" + (f" (red: {len(skipped)} steps skipped)" if skipped else "")
    axes.set(xlabel="million tokens", ylabel="nats per token", title=title, ylim=(low, high))
    axes.legend(loc="upper right")


def _smooth(values: list[float], weight: float = 0.95) -> list[float]:
    """Exponential running mean, without the pull of its start (Kingma and Ba 2015, section 3)."""
    out, mean, total = [], 0.0, 0.0
    for value in values:
        mean, total = weight * mean + (1 - weight) * value, weight * total + (1 - weight)
        out.append(mean / total)
    return out


def _positions(axes: Any, scores: list[dict[str, Any]]) -> None:
    for one in scores:
        bins = one["positions"]
        if bins:
            middle = [(b["first"] + b["last"]) / 2 for b in bins]
            label = f"after {one['stage']}"
            axes.plot(middle, [b["nats"] for b in bins], marker=".", label=label)
    axes.set(
        xlabel="position in the document",
        ylabel="nats per token",
        title="loss by position in long held-out documents",
    )
    axes.set_xscale("log", base=2)
    if axes.lines:
        axes.legend()
    else:
        axes.annotate(
            "no held-out document is as long as the longest rows",
            (0.5, 0.5),
            xycoords="axes fraction",
            ha="center",
        )


def _languages(axes: Any, scores: list[dict[str, Any]]) -> None:
    if not scores:
        axes.annotate("no stage has ended yet", (0.5, 0.5), xycoords="axes fraction", ha="center")
    names = sorted({name for one in scores for name in one["sets"]})
    for one in scores:
        values = [one["sets"].get(name, {}).get("bits_per_byte") for name in names]
        axes.plot(names, values, marker="o", linestyle="", label=f"after {one['stage']}")
    axes.set(ylabel="bits per byte", title="held-out text by set")
    axes.tick_params(axis="x", rotation=90)
    if scores:
        axes.legend()
