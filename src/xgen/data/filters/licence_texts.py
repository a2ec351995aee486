"""Licence texts, which come with every package and would be learned by heart.

They are known by their terms of art: a stretch of a few paragraphs with many of them is a licence, a
sentence with one of them is not. A licence that is whole is a document to be rejected.
"""

import re
from collections.abc import Sequence
from itertools import pairwise

SPREAD = 2  # paragraphs before and after that a paragraph is judged with
MIN_TERMS = 5  # different ones, in that stretch
MAX_CHARACTERS_PER_TERM = 350
MAX_GAP_PARAGRAPHS = 8  # between two parts of one licence
MAX_GAP_CHARACTERS = 2500
MIN_SHARE = 0.6  # of a document's characters, to call it a licence

_TERMS = re.compile(
    r"""
    \b(?: warrant(?:y|ies) | merchantab\w+ | fitness\ for\ a\ particular | non-?infringement | as[ ]is\b
    | liab(?:le|ility) | consequential | damages | sublicen[cs]e | licensor | licensee | redistribut\w+
    | copyright\ (?:notice|holder|owner)s? | permission\ (?:notice|is\ (?:hereby\ )?granted) | covered\ work
    | invariant\ sections? | cover\ texts? | derivative\ works? | general\ public\ licen[cs]e
    | free\ documentation\ licen[cs]e | public\ licen[cs]e | free\ software\ foundation | royalty-free
    | patent\ (?:licen[cs]es?|claims?) | corresponding\ source | source\ form | object\ (?:code|form)
    | terms\ and\ conditions | free\ of\ charge | contributors? | transparent\ copy | opaque\ copy
    | without\ limitation | all\ rights\ reserved | license[sd]?\ under | spdx-license-identifier )\b
    """,
    re.X,
)
# One of these is in nearly every paragraph of a licence; to look for them costs little.
_ROOTS = ("licen", "warrant", "liab", "copyright", "distribut", "permission", "merchantab", "invariant")
_COMMENT = re.compile(
    r"""\A(?:\#!.*\n)?\s*(
    (?:[ \t]*(?:\#|//|--|;;?).*\n | [ \t]*\n)+       # lines of comments
    | /\*(?:.|\n)*?\*/ | \"\"\"(?:.|\n)*?\"\"\" | \(\*(?:.|\n)*?\*\) )""",
    re.X,
)
_MARKS = re.compile(r"copyright|\(c\)|©|licen[cs]e|spdx", re.I)


def licence_paragraphs(pieces: Sequence[str]) -> list[bool]:
    """For each paragraph whether it is part of a licence text."""
    terms = [_terms_of(piece) for piece in pieces]
    if sum(map(len, terms)) < MIN_TERMS:
        return [False] * len(pieces)
    verdicts = []
    for i in range(len(pieces)):
        around = range(max(0, i - SPREAD), min(len(pieces), i + SPREAD + 1))
        found = set().union(*(terms[j] for j in around))
        n_hits = sum(len(terms[j]) for j in around)
        n_characters = sum(len(pieces[j]) for j in around)
        dense = n_characters <= MAX_CHARACTERS_PER_TERM * n_hits
        verdicts.append(len(found) >= MIN_TERMS and dense and (bool(terms[i]) or len(pieces[i]) < 400))
    return _joined(verdicts, pieces)


def _joined(verdicts: list[bool], pieces: Sequence[str]) -> list[bool]:
    """With what stands between two parts of a licence: its clauses are not all in its terms."""
    found = [i for i, verdict in enumerate(verdicts) if verdict]
    joined = list(verdicts)
    for left, right in pairwise(found):
        between = pieces[left + 1 : right]
        if len(between) <= MAX_GAP_PARAGRAPHS and sum(map(len, between)) <= MAX_GAP_CHARACTERS:
            joined[left:right] = [True] * (right - left)
    return joined


def is_licence(pieces: Sequence[str], verdicts: Sequence[bool]) -> bool:
    """Whether a document is a licence and nothing else."""
    n_licence = sum(len(piece) for piece, verdict in zip(pieces, verdicts, strict=True) if verdict)
    return n_licence >= MIN_SHARE * max(sum(map(len, pieces)), 1)


def header_end(code: str) -> tuple[int, int]:
    """Where the comment at the top of a program that states its licence begins and ends; (0, 0) if none."""
    match = _COMMENT.match(code[:20_000])
    if match is None or len(set(_MARKS.findall(match[1].lower()))) < 2:
        return 0, 0
    return match.span(1)


def _terms_of(piece: str) -> set[str]:
    lowered = piece.lower()
    if not any(root in lowered for root in _ROOTS):
        return set()
    return set(_TERMS.findall(" ".join(lowered.split())))
