"""What a build kept and what it rejected, as one page for people and one JSON file for programs.

The page loads nothing from anywhere: pictures are SVG within it. Samples are data: shown, never markup.
"""

import html
import io
import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from xgen.data.run import Built
from xgen.data.shards import open_corpus
from xgen.data.tally import Entry
from xgen.files import write_whole

MB = 1e6
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222 }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0 } td, th { padding: .15rem .8rem; text-align: right }
th { border-bottom: 1px solid #999 } td:first-child, th:first-child { text-align: left }
pre { background: #f4f4f4; padding: .6rem; white-space: pre-wrap; max-height: 14rem; overflow: auto }
svg { max-width: 100%; height: auto } summary { cursor: pointer }
"""
_BLUE, _ORANGE, _GREY = "#3b6ea5", "#d9822b", "#b5b5b5"


def write_report(corpus: Path, built: Built) -> Path:
    """Write CORPUS-report.html and CORPUS-report.json beside a corpus folder; returns the page's path."""
    entries = list(built.tally.entries())
    facts = {
        "corpus": corpus.name,
        "seconds": built.seconds,
        "totals": {
            verdict: dict(zip(("documents", "bytes"), built.tally.total(verdict), strict=True))
            for verdict in ("came", "kept", "rejected", "removed", "moved")
        },
        "counts": [asdict(entry) for entry in entries],
    }
    page = corpus.with_name(f"{corpus.name}-report.html")
    write_whole(page.with_suffix(".json"), json.dumps(facts, ensure_ascii=False, indent=1).encode())
    body = [
        f"<h1>Corpus {_text(corpus.name)}</h1>",
        _totals(facts),
        "<h2>By language</h2>",
        _by(entries, "language"),
        "<h2>By source</h2>",
        _by(entries, "source"),
        "<h2>Why documents or parts of them went</h2>",
        _reasons(entries),
        "<h2>Sets</h2>",
        _sets(corpus),
        "<h2>Time</h2>",
        _table(["step", "seconds"], [[step, f"{s:,.1f}"] for step, s in built.seconds.items()]),
        "<h2>Samples</h2>",
        *_samples(built),
    ]
    text = f"<!doctype html><meta charset='utf-8'><title>{_text(corpus.name)}</title><style>{_STYLE}</style>"
    write_whole(page, (text + "\n".join(body)).encode("utf-8", "replace"))
    return page


def _totals(facts: dict[str, Any]) -> str:
    rows = [
        [verdict, f"{of_it['documents']:,}" if verdict != "removed" else "", f"{of_it['bytes'] / MB:,.2f}"]
        for verdict, of_it in facts["totals"].items()
    ]
    law = "came = kept + rejected, in documents; in bytes also + removed (from within documents)"
    return f"<p>{law}.</p>" + _table(["", "documents", "MB"], rows)


def _by(entries: Sequence[Entry], what: str) -> str:
    """A plot and a table of bytes kept, rejected and removed by language or by source."""
    sums: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in entries:
        if entry.verdict in ("kept", "rejected", "removed"):
            sums[getattr(entry, what) or "not known"][entry.verdict] += entry.bytes
    ordered = sorted(sums.items(), key=lambda item: -sum(item[1].values()))
    bars = [
        (name, [of_it[verdict] / MB for verdict in ("kept", "rejected", "removed")])
        for name, of_it in ordered
    ]
    rows = [[name, *(f"{value:,.2f}" for value in values)] for name, values in bars]
    table = _table([what, "kept, MB", "rejected", "removed"], rows)
    return _bars(bars[:60], ("kept", "rejected", "removed")) + _folded(f"table by {what}", table)


def _reasons(entries: Sequence[Entry]) -> str:
    sums: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])
    for entry in entries:
        if entry.verdict in ("rejected", "removed", "moved"):
            count = sums[entry.verdict, entry.reason]
            count[0] += entry.documents
            count[1] += entry.bytes
    ordered = sorted(sums.items(), key=lambda item: -item[1][1])
    rows = [
        [f"{verdict}: {reason}", f"{documents:,}", f"{n_bytes / MB:,.2f}"]
        for (verdict, reason), (documents, n_bytes) in ordered
    ]
    bars = [(f"{verdict}: {reason}", [n_bytes / MB]) for (verdict, reason), (_, n_bytes) in ordered]
    return _bars(bars[:40], ("bytes",)) + _table(["reason", "documents or pieces", "MB"], rows)


def _sets(corpus: Path) -> str:
    opened = open_corpus(corpus)
    licences: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    for tokens in opened.sets.values():
        for record in tokens.documents():
            licences[record.licence][0] += 1
            licences[record.licence][1] += record.bytes
    sets = [
        [
            name,
            f"{tokens.n_documents:,}",
            f"{tokens.n_tokens:,}",
            f"{tokens.n_bytes / MB:,.2f}",
            f"{tokens.n_bytes / tokens.n_tokens:.2f}",
        ]
        for name, tokens in opened.sets.items()
    ]
    rows = [
        [licence, f"{documents:,}", f"{n_bytes / MB:,.2f}"]
        for licence, (documents, n_bytes) in sorted(licences.items(), key=lambda item: -item[1][1])
    ]
    return (
        _table(["set", "documents", "tokens", "MB", "bytes a token"], sets)
        + "<h2>Licences</h2>"
        + _table(["licence", "documents", "MB"], rows)
    )


def _samples(built: Built) -> Iterable[str]:
    for key, samples in sorted(built.tally.samples.items()):
        shown = "".join(f"<p>{_text(name)}</p><pre>{_text(text)}</pre>" for _, name, text in samples)
        yield _folded(key, shown)


def _bars(bars: Sequence[tuple[str, Sequence[float]]], names: Sequence[str]) -> str:
    """Horizontal stacked bars in MB, as SVG."""
    if not bars:
        return ""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 0.6 + 0.24 * len(bars)), layout="constrained")
    axes = figure.add_subplot()
    left = [0.0] * len(bars)
    labels = [label for label, _ in bars]
    places = range(len(bars), 0, -1)
    for i, (name, colour) in enumerate(zip(names, (_BLUE, _ORANGE, _GREY), strict=False)):
        widths = [values[i] for _, values in bars]
        axes.barh(places, widths, left=left, color=colour, label=name)
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlabel("MB")
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    if len(names) > 1:
        axes.legend(frameon=False)
    drawn = io.StringIO()
    figure.savefig(drawn, format="svg")
    text = drawn.getvalue()
    return text[text.index("<svg") :]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["<tr>" + "".join(f"<th>{_text(cell)}</th>" for cell in header) + "</tr>"]
    lines += ["<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in row) + "</tr>" for row in rows]
    return "<table>" + "\n".join(lines) + "</table>"


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{_text(title)}</summary>{body}</details>"


def _text(value: str) -> str:
    return html.escape(value)
