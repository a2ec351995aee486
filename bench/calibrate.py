"""How far a span can be trusted: fits the weights and measures the shares of src/xgen/read/calibration.json.

    python bench/calibrate.py collect --dev ../shared/instruct --model qwen-0.5b --out signals.jsonl
    python bench/calibrate.py fit signals*.jsonl

`collect` asks development questions (bench/development.py), alone, hidden in 8K, with their paragraph
taken out and of another paragraph of their article, and writes the signals of every candidate span with its
F1, and what the model replies: whether it declines, its F1, and which spans it holds. Processes that name
the same folder with --share divide the work among them. `fit` learns by logistic regression, for each model
and way of reading, how F1 follows from the signals; sets the score from which a span answers although the
model declines, and the threshold of "not in this document" by the rule of ALLOWED; and measures, in five
folds by document, the share of right answers in bands of the score: of spans, and of replies that hold the
best span and that do not. One is right if it is the gold answer or has F1 of 0.5 with it.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import questions as qs
from development import development_sets
from metrics import score
from reading import part
from table import taken

from xgen.files import write_whole
from xgen.read.ask import MOST_BEAMS
from xgen.read.trust import Signals
from xgen.read.words import holds
from xgen.text.document import Document

if TYPE_CHECKING:
    from xgen.read.reader import Reader

CALIBRATION = Path(__file__).parents[1] / "src" / "xgen" / "read" / "calibration.json"
MOST = {"alone": None, "hidden8k": 300, "out8k": 300, "beside": None}
"""The rows that are asked in English, and of how many questions at most; in other languages as many as
MOST_ELSEWHERE are asked alone."""

MOST_ELSEWHERE = 60
WAYS = ("select", "whole")
ALLOWED = {"alone": 0.01, "hidden8k": 0.03, "out8k": 0.12, "beside": 0.05}
"""Shares of questions that may come out wrong by the aims for `reader`: with an answer and refused, in the
first two rows; without one and answered, in the others. The threshold of "not in this document" is the one at
which the shares lie above these by least in sum, and of several the lowest, among those that refuse between
FALSE_ALARMS of all the questions that have an answer (docs/decisions.md)."""

FALSE_ALARMS = (0.02, 0.05)
N_THRESHOLDS = 13  # that are tried, evenly between the two shares
RIGHT_F1 = 0.5
N_BANDS = 6
LEAST_IN_BAND = 40  # replies
N_FOLDS = 5
PENALTY = 1e-3


@dataclass(frozen=True)
class Asked:
    """One question's candidates: signals [n, s] and F1 [n]; `answerable` if its text holds an answer.

    `declined`: the model, asked freely, said that it does not. Else `reply_f1` is its reply's F1 and `held`
    [n] tells which candidates stand in it; None where nothing is known of a reply.
    """

    document: str
    row: str  # with its language, such as "en alone"
    beams: int
    answerable: bool
    signals: np.ndarray[Any, np.dtype[np.float64]]
    f1: np.ndarray[Any, np.dtype[np.float64]]
    declined: bool = False
    reply_f1: float | None = None
    held: Sequence[bool] = ()


class Best(NamedTuple):
    """A question's best candidate: its score and F1, and whether the model's reply holds it."""

    score: float
    f1: float
    agrees: bool = False


# ---- collect


def cases_of(found: qs.QuestionSet, row: str, limit: int | None, count: qs.CountTokens) -> list[qs.Case]:
    """The cases of a row; `limit` questions at most."""
    if row == "beside":
        return qs.beside(found.paragraphs)[:limit]
    golds = qs.take([qs.answerable(p) for p in found.paragraphs], limit)
    if row == "alone":
        return qs.alone(golds)
    target = qs.LENGTHS_TOKENS["8k"] - 2 * qs.RESERVE_TOKENS
    if row == "hidden8k":
        return qs.hidden(found.paragraphs, golds, target, count)
    return qs.taken_out(found.paragraphs, golds, target, count)[0]


def collect(options: argparse.Namespace) -> None:
    """Write one line a question to `options.out`."""
    import xgen

    reader = xgen.load(options.model, device=options.device, adapter=options.adapter)
    with options.out.open("a" if options.share else "w", encoding="utf-8") as out:
        for line in signals_of(reader, options):
            out.write(json.dumps(line, ensure_ascii=False) + "\n")
            out.flush()


def signals_of(reader: "Reader", options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The candidates of every question that is asked and that nobody else has taken."""
    count = cache(lambda text: len(reader.bundle.tokenizer.encode(text)))
    if options.share:
        options.share.mkdir(parents=True, exist_ok=True)
    langs = options.lang.split(",") if options.lang else None
    for found in development_sets(options.dev):
        if langs is not None and found.lang not in langs:
            continue
        for row in options.rows.split(","):
            if found.lang != "en" and row != "alone":
                continue
            limit = options.limit or (MOST[row] if found.lang == "en" else MOST_ELSEWHERE)
            cases = cases_of(found, row, limit, count)[options.part or slice(None)]
            for way in options.read.split(","):
                for number, case in enumerate(cases):
                    if taken(options.share, f"{way} {found.lang} {row}", number):
                        continue
                    asker = reader.prepare([Document("dev", case.text)], way).asker
                    asker.n_beams = options.beams or asker.n_beams
                    about = {"model": reader.bundle.card.name, "way": way, "lang": found.lang, "row": row}
                    for begin in range(0, len(case.asked), asker.n_at_once):
                        some = case.asked[begin : begin + asker.n_at_once]
                        for line in _candidates(asker, some, found.lang):
                            yield {**about, "beams": asker.n_beams, **line}


def _candidates(asker: Any, some: Sequence[qs.Asked], lang: str) -> Iterator[dict[str, Any]]:
    found = asker.evidence([asked.question.text for asked in some])
    for asked, evidence in zip(some, found, strict=True):
        golds = [gold.text for gold in asked.question.golds]
        reply = asker.reply(asked.question.text)

        def f1(text: str, golds: list[str] = golds) -> float:
            return score(text, golds, lang).f1 if golds else 0.0

        yield {
            "document": asked.paragraph,
            "answerable": bool(golds),
            "declined": reply.declined,
            "reply_f1": None if reply.text is None else f1(reply.text),
            "candidates": [
                {
                    **asdict(e.signals),
                    "f1": f1(e.candidate.text),
                    "held": holds(reply.text or "", e.candidate.text),
                }
                for e in evidence
            ],
        }


# ---- fit


def load_signals(files: Sequence[Path]) -> dict[tuple[str, str], list[Asked]]:
    """Questions by (model, way); those without a candidate are kept, as never answered."""
    names = [field.name for field in fields(Signals)]
    groups: dict[tuple[str, str], list[Asked]] = {}
    for line in _lines(files):
        found = line["candidates"]
        signals = np.array([[c[name] for name in names] for c in found]).reshape(-1, len(names))
        asked = Asked(
            line["document"],
            f"{line['lang']} {line['row']}",
            line["beams"],
            line["answerable"],
            signals,
            np.array([c["f1"] for c in found]),
            line["declined"],
            line["reply_f1"],
            [c["held"] for c in found],
        )
        groups.setdefault((line["model"], line["way"]), []).append(asked)
    return groups


def _lines(files: Sequence[Path]) -> Iterator[dict[str, Any]]:
    for file in files:
        for line in file.read_text("utf-8").splitlines():
            yield json.loads(line)


def regress(asked: Sequence[Asked]) -> tuple[np.ndarray[Any, Any], float]:
    """Weights [s] and bias of a logistic regression of F1 on the signals, with an L2 penalty."""
    import torch

    x = torch.tensor(np.concatenate([a.signals for a in asked]))
    y = torch.tensor(np.concatenate([a.f1 for a in asked]))
    mean, spread = x.mean(0), x.std(0) + 1e-6
    weights = torch.zeros(x.shape[1], dtype=x.dtype, requires_grad=True)
    bias = torch.zeros((), dtype=x.dtype, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights, bias], max_iter=200)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        logits = (x - mean) / spread @ weights + bias
        value = torch.nn.functional.binary_cross_entropy_with_logits(logits, y)
        value = value + PENALTY * weights.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    scaled = (weights / spread).detach()
    return scaled.numpy(), float(bias.detach() - scaled @ mean)


def best(asked: Asked, weights: np.ndarray[Any, Any], bias: float) -> Best:
    """The best candidate; all 0 without one."""
    if not len(asked.f1):
        return Best(0.0, 0.0)
    logits = asked.signals @ weights + bias
    top = int(logits.argmax())
    agrees = asked.reply_f1 is not None and asked.held[top]
    return Best(float(1 / (1 + np.exp(-logits[top]))), float(asked.f1[top]), agrees)


def held_out(asked: Sequence[Asked]) -> list[Best]:
    """Each question's best candidate, by weights that never saw its document."""
    documents = sorted({a.document for a in asked})
    fold = {document: index % N_FOLDS for index, document in enumerate(documents)}
    fitted = [regress([a for a in asked if fold[a.document] != k]) for k in range(N_FOLDS)]
    return [best(a, *fitted[fold[a.document]]) for a in asked]


def calibrate(asked: Sequence[Asked]) -> dict[str, Any]:
    """The entry of calibration.json for one model and way, with what was measured on held-out folds."""
    weights, bias = regress(asked)
    scored = held_out(asked)
    answerable = [s for s, a in zip(scored, asked, strict=True) if a.answerable]
    absent = [s for s, a in zip(scored, asked, strict=True) if not a.answerable]
    overrules = overrules_from(asked, scored)
    threshold = threshold_of(asked, [each.score for each in scored], overrules)
    edges, right = bands([(each.score, each.f1) for each in scored], N_BANDS)
    rows = sorted({a.row for a in asked if a.answerable})
    (beams,) = {a.beams for a in asked}  # weights fit the candidates of one search
    return {
        "beams": beams,
        "weights": [round(float(w), 4) for w in weights],
        "bias": round(bias, 4),
        "threshold": round(threshold, 4),
        "overrules": round(overrules, 4),
        "edges": edges,
        "right": right,
        "replies": replies(asked, scored, threshold),
        "measured": {
            "questions": len(asked),
            "absent_questions": len(absent),
            "false_alarm": round(float(np.mean([s.score < threshold for s in answerable])), 3),
            "miss": round(float(np.mean([s.score >= threshold for s in absent])), 3) if absent else None,
            "wrong_verdicts": {
                row: round(share, 3)
                for row, share in wrong_verdicts(
                    asked, [s.score for s in scored], threshold, overrules
                ).items()
            },
            "f1": {
                row: round(
                    float(np.mean([s.f1 for s, a in zip(scored, asked, strict=True) if a.row == row])), 3
                )
                for row in rows
            },
        },
    }


def replies(asked: Sequence[Asked], scored: Sequence[Best], threshold: float) -> dict[str, Any]:
    """The shares of right replies among those that are shown, by whether they hold the best span.

    In bands of its score, as `bands` makes them; none where there are too few for a band.
    """
    shown: dict[str, list[tuple[float, float]]] = {"agreed": [], "apart": []}
    for a, top in zip(asked, scored, strict=True):
        if not a.declined and a.reply_f1 is not None and top.score >= threshold:
            shown["agreed" if top.agrees else "apart"].append((top.score, a.reply_f1))
    found = {}
    for name, pairs in shown.items():
        if n_bands := min(N_BANDS, len(pairs) // LEAST_IN_BAND):
            found[name] = dict(zip(("edges", "right"), bands(pairs, n_bands), strict=True))
    return found


def overrules_from(asked: Sequence[Asked], scored: Sequence[Best]) -> float:
    """The score from which the span answers although the model declines; 1 if it had better never.

    Of the questions that were declined, right spans outnumber wrong ones most from there up.
    """
    declined = sorted((s for s, a in zip(scored, asked, strict=True) if a.declined), reverse=True)
    balance = np.cumsum([1 if each.f1 >= RIGHT_F1 else -1 for each in declined])
    if not declined or balance.max() <= 0:
        return 1.0
    return declined[int(balance.argmax())].score


def threshold_of(asked: Sequence[Asked], scores: Sequence[float], overrules: float) -> float:
    """The threshold by the rule of ALLOWED; `scores` are the questions' best ones, of held-out folds."""
    answerable = [value for value, a in zip(scores, asked, strict=True) if a.answerable]
    tried = np.quantile(answerable, np.linspace(*FALSE_ALARMS, N_THRESHOLDS)).tolist()

    def above(threshold: float) -> float:
        found = wrong_verdicts(asked, scores, threshold, overrules)
        return sum(max(0.0, share - ALLOWED[row]) for row, share in found.items())

    return float(min(tried, key=above))


def wrong_verdicts(
    asked: Sequence[Asked], scores: Sequence[float], threshold: float, overrules: float
) -> dict[str, float]:
    """By row, all languages together: the share of questions with an answer refused, without one answered.

    As the reader answers without --quote: refused by the score, or by the model where it is not overruled.
    """
    wrong: dict[str, list[bool]] = {}
    for a, value in zip(asked, scores, strict=True):
        refused = value < threshold or (a.declined and value < overrules)
        wrong.setdefault(a.row.split()[-1], []).append(refused == a.answerable)
    return {row: float(np.mean(of_row)) for row, of_row in wrong.items()}


def bands(scored: Sequence[tuple[float, float]], n_bands: int) -> tuple[list[float], list[float]]:
    """Edges between bands of the score with as many questions each, and the share of right answers in each.

    `scored` are scores and the F1 of what was answered. Neighbours whose shares do not rise are put
    together (pool adjacent violators).
    """
    ordered = sorted(scored)
    pools: list[list[float]] = []  # lowest score, right answers, questions
    size = len(ordered) / n_bands
    for index in range(n_bands):
        part = ordered[round(index * size) : round((index + 1) * size)]
        pools.append([part[0][0], float(sum(f1 >= RIGHT_F1 for _, f1 in part)), float(len(part))])
        while len(pools) > 1 and pools[-2][1] / pools[-2][2] >= pools[-1][1] / pools[-1][2]:
            _, n_right, n = pools.pop()
            pools[-1][1] += n_right
            pools[-1][2] += n
    edges = [round(first, 4) for first, _, _ in pools[1:]]
    return edges, [round(n_right / n, 3) for _, n_right, n in pools]


def fit(options: argparse.Namespace) -> None:
    """Write calibration.json from the signal files and print what was measured."""
    models: dict[str, dict[str, Any]] = {}
    for (model, way), asked in sorted(load_signals(options.signals).items()):
        models.setdefault(model, {})[way] = calibrate(asked)
        print(model, way, json.dumps(models[model][way]["measured"]), file=sys.stderr)
    table = {"made_by": "bench/calibrate.py", "signals": [f.name for f in fields(Signals)], "models": models}
    write_whole(options.out, (json.dumps(table, indent=1) + "\n").encode())
    print(json.dumps({m: {w: e["measured"] for w, e in ways.items()} for m, ways in models.items()}))


def main(arguments: Sequence[str]) -> None:
    """See the module's words."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("collect")
    verb.add_argument("--dev", type=Path, required=True, metavar="FOLDER")
    verb.add_argument("--model", required=True)
    verb.add_argument("--adapter", metavar="FOLDER", help="a LoRA adapter of that model")
    verb.add_argument("--device", default="auto")
    verb.add_argument("--read", default=",".join(WAYS), help=f"with commas, of {', '.join(WAYS)}")
    verb.add_argument("--rows", default=",".join(MOST), help=f"with commas, of {', '.join(MOST)}")
    verb.add_argument("--lang", help="with commas; all of them if left out")
    verb.add_argument("--beams", type=int, choices=range(1, MOST_BEAMS + 1), metavar="N")
    verb.add_argument("--limit", type=int, help="of each row instead of what MOST says")
    verb.add_argument("--share", type=Path, metavar="FOLDER", help="processes that name it divide the work")
    verb.add_argument("--part", type=part, metavar="K/N", help="every Nth text, from the Kth on")
    verb.add_argument("--out", type=Path, required=True)
    verb.set_defaults(run=collect)
    verb = verbs.add_parser("fit")
    verb.add_argument("signals", type=Path, nargs="+")
    verb.add_argument("--out", type=Path, default=CALIBRATION)
    verb.set_defaults(run=fit)
    options = parser.parse_args(arguments)
    options.run(options)


if __name__ == "__main__":
    main(sys.argv[1:])
