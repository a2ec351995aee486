"""Rules as notes tell them: in sentences with one condition or two, by keys to codes, by footnotes."""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from xgen.data.made.conditions import Ruled, drawn_condition
from xgen.data.made.page import Block, filled, joined

Words = Mapping[str, Any]
Aspect = Mapping[str, Any]
"""What a rule decides: `pos` and `neg` go on about rows, `yes` and `no` are labels (rules/LANG.toml)."""

COMBINED: dict[str, Callable[[bool, bool], bool]] = {
    "only": lambda a, b: a,
    "barred": lambda a, b: not a,
    "both": lambda a, b: a and b,
    "but": lambda a, b: a and not b,
    "either": lambda a, b: a or b,
    "neither": lambda a, b: not (a or b),
}
"""Whether what a rule is about holds, by the conditions that are met; rules of the first two have one."""

_ONE, _TWO = ("only", "barred"), ("both", "but", "either", "neither")
TWO_SHARE, BARE_SHARE, FAMILY_SHARE = 0.3, 0.3, 0.8
"""Of rules with two conditions; of others, where a sentence before the rule names the column that decides; of
rules of trade, where they go by licences if there are any."""


@dataclass(frozen=True)
class Rule:
    """For each row whether `aspect` holds, and which column decides: of two the first, if it suffices.

    `text` is how it is told, `says` what it says of each row: a label, in the rule's own words if it has any.
    """

    aspect: Aspect
    text: str
    holds: tuple[bool, ...]
    decides: tuple[int, ...]
    says: tuple[str, ...]


def sentence(words: Words, rows: str, columns: Sequence[Ruled], aspect: Aspect, draw: random.Random) -> Rule:
    """A rule with one condition or two on different columns, in words, perhaps with what decides before it.

    Beside licences that it does not name as one expects, it says what holds for the others, too.
    """
    is_two = len(columns) > 1 and draw.random() < TWO_SHARE
    kind = draw.choice(_TWO if is_two else _ONE)
    chosen = draw.sample(range(len(columns)), len(columns))
    if aspect.get("habit") and draw.random() < FAMILY_SHARE:
        chosen.sort(key=lambda c: columns[c].way != "family")
    chosen = chosen[: 2 if is_two else 1]
    named = _expected(words, columns[chosen[0]], aspect, kind, draw)
    may_be_bare = not is_two and columns[chosen[0]].way != "marks"
    is_bare = may_be_bare and draw.random() < BARE_SHARE
    first = drawn_condition(words, columns, chosen[0], draw, named, "bare" if is_bare else "clause")
    second = drawn_condition(words, columns, chosen[-1], draw) if is_two else first
    may_mislead = range(len(columns)) if aspect.get("habit") else chosen
    is_open = bool(named) or all(columns[c].way != "family" for c in may_mislead)
    patterns = [*words["rule"][kind], *(words["rule"].get(f"{kind}_open", ()) if is_open else ())]
    slots = {"rows": rows, "a": first.clause, "b": second.clause}
    slots |= {slot: draw.choice(aspect[slot]) for slot in ("pos", "neg", "yes", "no")}
    yes, no = slots["yes"], slots["no"]
    slots["s"] = words["subject"].format(rows=rows, clause=first.clause)
    slots |= {slot.capitalize(): text[:1].upper() + text[1:] for slot, text in slots.items()}
    holds = tuple(COMBINED[kind](a, b) for a, b in zip(first.met, second.met, strict=True))
    goes_on = kind in ("both", "but")
    decides = tuple(second.column if a is goes_on else first.column for a in first.met)
    text = draw.choice(patterns).format(**slots)
    if is_bare:
        column = columns[first.column]
        before = draw.choice(words["note"]["decides"]).format(head=column.head, noun=column.words["noun"])
        text = words["gap"].join([before, text])
    return Rule(aspect, text, holds, decides, tuple(yes if own else no for own in holds))


def _expected(words: Words, column: Ruled, aspect: Aspect, kind: str, draw: random.Random) -> list[str]:
    """Licences named as one expects it: all free ones of the column, or all others; at times none."""
    if column.way != "family" or not aspect.get("habit") or kind not in _ONE or draw.random() < 0.4:
        return []
    group = words["families"]["free" if kind == "only" else "bound"]
    named = [label for label in sorted(set().union(*column.labels)) if label in group]
    others = [label for label in group if label not in named]
    named += draw.sample(others, min(len(others), draw.randint(0 if named else 1, 3)))
    return draw.sample(named, len(named))


def footnotes(
    words: Words, columns: Sequence[Ruled], c: int, aspects: Sequence[Aspect], draw: random.Random
) -> list[Rule]:
    """What the marks of a column mean, a label each, which does not hold where the mark is missing."""
    rules = []
    form, column = draw.choice(words["key"]["foot"]), columns[c]
    for mark, aspect in zip(column.pool, aspects, strict=False):
        is_yes = draw.random() < 0.5
        said = {is_so: draw.choice(aspect["yes" if is_so else "no"]) for is_so in (True, False)}
        holds = tuple((mark in labels) is is_yes for labels in column.labels)
        text = form.format(code=mark, says=said[is_yes])
        rules.append(Rule(aspect, text, holds, (c,) * len(holds), tuple(said[own] for own in holds)))
    return rules


def key(
    words: Words, columns: Sequence[Ruled], c: int, aspects: Sequence[Aspect], draw: random.Random
) -> tuple[Block, list[Rule]]:
    """What the codes of a column mean, those too that no row has; marked by ("key", code) is what is said."""
    column, ways = columns[c], words["key"]
    codes = draw.sample(column.pool, len(column.pool))
    if draw.random() < 0.6:
        codes = sorted(set().union(*column.labels) | {*codes[:2]})
    grants = _grants(codes, len(aspects), draw)
    entry = draw.choice(ways["entry"])
    between = "\n" if entry[0] in "-|" else draw.choice(ways["between"])
    gap = draw.choice([each for each in ways["labels"] if each.strip() != between.strip()])
    labels = [{is_so: draw.choice(a["yes" if is_so else "no"]) for is_so in (True, False)} for a in aspects]
    said = _said(grants, labels, gap, ways["as"], draw)
    entries = []
    for code in codes:
        values = {"code": code, "noun": column.words["noun"], "says": said[code]}
        line = filled(entry, values, code)
        entries.append(Block(line.text, {("key", code): line.marks[code, "says"]}))
    block = joined(entries, between)
    if title := draw.choice(ways["title"]).format(head=column.head, noun=column.words["noun"]):
        block = joined([Block(title), block], "\n")
    rules = []
    for i, aspect in enumerate(aspects):
        holds = tuple(grants[cell][i] for cell in column.cells)
        says = tuple(labels[i][own] for own in holds)
        rules.append(Rule(aspect, block.text, holds, (c,) * len(holds), says))
    return block, rules


def _grants(codes: Sequence[str], n: int, draw: random.Random) -> dict[str, tuple[bool, ...]]:
    """By code whether each of `n` aspects holds; of several codes each aspect holds for some, not for all."""
    by_aspect = []
    for _ in range(n):
        own = [True, False, *(draw.random() < 0.5 for _ in codes[2:])]
        by_aspect.append(draw.sample(own[: len(codes)], len(codes)))
    return dict(zip(codes, zip(*by_aspect, strict=True), strict=True))


def _said(
    grants: Mapping[str, tuple[bool, ...]],
    labels: Sequence[Mapping[bool, str]],
    gap: str,
    by_another: Sequence[str],
    draw: random.Random,
) -> dict[str, str]:
    """By code its labels, an aspect each; the last one may be told as being another one but for a label."""
    said = {code: gap.join(labels[i][is_so] for i, is_so in enumerate(own)) for code, own in grants.items()}
    *others, last = grants
    for code in others:
        changed = [i for i in range(len(labels)) if grants[code][i] is not grants[last][i]]
        if len(changed) == 1 and len(labels) > 1 and draw.random() < 0.4:
            label = labels[changed[0]][grants[last][changed[0]]]
            return said | {last: draw.choice(by_another).format(code=code, label=label)}
    return said
