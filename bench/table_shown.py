"""What table.py shows: answers measured, with 95% intervals by document, beside what was aimed at."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import needles
from licence_tables import names_in
from metrics import estimate, score, set_f1

from xgen.files import write_whole

Given = dict[str, Any]
Measures = dict[str, float]


def said(given: Given) -> str | None:
    """The answer that a person sees."""
    return given["answer"] if given.get("found", True) else None


def _answer(given: Given) -> Measures:
    found = score(said(given), given["gold"], given["lang"])
    return {"F1": found.f1, "EM": found.exact, "refused": float(said(given) is None)}


def _refused(given: Given) -> Measures:
    return {"refused": float(said(given) is None)}


def _needle(given: Given) -> Measures:
    return {"hit": needles.hit(given["gold"][0], said(given))}


def _worst_cell(some: Sequence[Given]) -> float:
    """The smallest share of needles found at one depth of texts of one length."""
    cells: dict[tuple[str, float], list[float]] = {}
    for given in some:
        length = str(given["id"]).partition("-")[0]
        cells.setdefault((length, given["depth"]), []).append(_needle(given)["hit"])
    return min(100 * sum(cell) / len(cell) for cell in cells.values())


def _names(given: Given) -> Measures:
    free, found = set(given["free"]), names_in(said(given) or "", given["names"])
    return {"all right": float(found == free), "F1 of names": set_f1(found, free)}


def _rouge(given: Given) -> Measures:
    from rouge_score.rouge_scorer import RougeScorer

    names = ("rouge1", "rouge2", "rougeL")
    found = RougeScorer(names, use_stemmer=True).score_multi(given["gold"], said(given) or "")
    return {name: found[name].fmeasure for name in names}


def _fairytale(given: Given) -> Measures:
    return {"rougeL": _rouge(given)["rougeL"], **_answer(given)}


def measure_of(line: str, set_: str) -> Callable[[Given], Measures] | None:
    """How the answers of a line are measured."""
    if "summaries" in line:
        return _rouge
    if set_ == "fairytaleqa":
        return _fairytale
    special = {"licence tables": _names, "needles": _needle, "chat": None, "plain text": None}
    if line in special:
        return special[line]
    return _refused if line.startswith(("another paragraph", "out of")) else _answer


def read(files: Sequence[Path]) -> list[Given]:
    """All answers, each once: the first of those of a line and question. Half a line is said and left out."""
    found: dict[tuple[str, ...], Given] = {}
    for file in files:
        for number, text in enumerate(file.read_text("utf-8").split("\n"), 1):
            if not text:
                continue
            try:
                one = json.loads(text)
            except ValueError:  # of a process that was killed while it wrote
                print(f"{file}, line {number}: not whole, left out", file=sys.stderr)
                continue
            key = (one["line"], one["set"], *(str(one.get(k)) for k in ("id", "document", "depth", "note")))
            found.setdefault(key, one)
    return list(found.values())


def table(given: Sequence[Given]) -> list[dict[str, Any]]:
    """A row a line and set: n, and each measure in percent with its interval."""
    groups: dict[tuple[str, str], list[Given]] = {}
    for one in given:
        if "note" not in one:
            groups.setdefault((one["line"], one["set"]), []).append(one)
    shown_rows = []
    for (line, set_), some in groups.items():
        row: dict[str, Any] = {"line": line, "set": set_, "n": len(some)}
        measure = measure_of(line, set_)
        if line == "plain text":
            row["nats a token"] = round(sum(g["nats"] for g in some) / sum(g["n_tokens"] for g in some), 4)
        elif measure is not None:
            values = [measure(g) for g in some]
            documents = [g["document"] for g in some]
            for name in values[0]:
                e = estimate([100 * v[name] for v in values], documents)
                row[name] = [round(e.mean, 2), round(e.low, 2), round(e.high, 2)]
        if line == "needles":
            row["worst cell"] = [_worst_cell(some)] * 3
        shown_rows.append(row)
    return shown_rows


Find = Callable[[str, str, str], float | None]  # line, set, measure


def _mean(*values: float | None) -> float | None:
    return None if None in values else sum(v for v in values if v is not None) / len(values)


def _share(find: Find) -> float | None:
    alone = find("alone, selected", "xquad.en", "F1")
    hidden = _mean(*(find(f"{n}K, selected", "xquad.en", "F1") for n in (2, 4, 8)))
    return hidden / alone if alone and hidden is not None else None


def _en(line: str, measure: str = "F1") -> Callable[[Find], float | None]:
    return lambda find: find(line, "xquad.en", measure)


def _further(set_: str) -> Callable[[Find], float | None]:
    return lambda find: find("further languages", set_, "F1")


AIMS: tuple[tuple[str, Callable[[Find], float | None], float, float, bool], ...] = (
    ("alone, free, F1", _en("alone"), 82, 87, True),
    ("alone, --quote, F1", _en("alone, quoted"), 84, 88, True),
    ("hidden in 8K, whole, F1", _en("8K"), 76, 83, True),
    ("hidden in 2K to 8K by select, of alone", _share, 0.96, 0.97, True),
    ("answerable refused, alone, %", _en("alone", "refused"), 1, 1, False),
    ("answerable refused, 8K, %", _en("8K", "refused"), 3, 2, False),
    ("unanswerable refused, another paragraph, %", _en("another paragraph", "refused"), 95, 97, True),
    ("unanswerable refused, taken out of 8K, %", _en("out of 8K", "refused"), 88, 90, True),
    (
        "de es ru ro, mean F1",
        lambda find: _mean(
            *(find("other languages", f"xquad.{lang}", "F1") for lang in ("de", "es", "ru", "ro"))
        ),
        66,
        79,
        True,
    ),
    ("zh, F1", _further("xquad.zh"), 71, 83, True),
    ("JaQuAD, F1", _further("jaquad"), 78, 86, True),
    ("SQuAD-it, F1", _further("squad_it"), 69, 79, True),
    ("DRCD, F1", _further("drcd"), 84, 94, True),
    ("needles, worst cell, %", lambda find: find("needles", "needles", "worst cell"), 99, 99, True),
    (
        "licence tables, all right, %",
        lambda find: find("licence tables", "licences", "all right"),
        95,
        95,
        True,
    ),
)
"""What is aimed at (issue 19): for the 0.5B and for the 1.5B, and whether more is better."""


def shown(files: Sequence[Path], beside: Sequence[Path], out: Path | None) -> None:
    """Print the table, the aims and the replies; write all but the answers to `out`."""
    given, base = read(files), read(beside)
    rows, of_base = table(given), {(r["line"], r["set"]): r for r in table(base)}
    for row in rows:
        print(_text(row), "" if not beside else f"| base {_text(of_base.get((row['line'], row['set']), {}))}")
    by_line = {(r["line"], r["set"]): r for r in rows}

    def find(line: str, set_: str, measure: str) -> float | None:
        found = by_line.get((line, set_), {}).get(measure)
        return None if found is None else found[0]

    aims = []
    for name, value, small, large, more in AIMS:
        is_at = value(find)
        aims.append({"aim": name, "is": is_at, "0.5B": small, "1.5B": large})
        if is_at is not None:
            met = [is_at >= a if more else is_at <= a for a in (small, large)]
            words = [
                f"{a} {'met' if m else f'missed by {abs(is_at - a):.2g}'}"
                for a, m in zip((small, large), met, strict=True)
            ]
            print(f"{name:<46} {is_at:8.3f}   {'; '.join(words)}")
        else:
            print(f"{name:<46} not asked")
    for one in given:
        if one["line"] == "chat":
            print(f"> {one['question']}\n  {one['answer']!r}")
        if "note" in one:
            print(f"{one['line']} is left out: {one['note']}")
    if out is not None:
        result = {"rows": rows, "base": list(of_base.values()), "aims": aims}
        write_whole(out, json.dumps(result, ensure_ascii=False, indent=1).encode() + b"\n")


def _text(row: dict[str, Any]) -> str:
    parts = [
        f"{name} {v[0]:.1f} [{v[1]:.1f}, {v[2]:.1f}]" if isinstance(v, list) else f"{v}"
        for name, v in row.items()
    ]
    return " ".join(parts)
