"""Blocks side by side on a page that have the same labels: data sheets, cards, the halves of a folded table.

Each is read by itself, since between two of them a line of the page goes from one thing to another. What
tells them from a table is that the labels at the left of one come again at the left of the other, with values
behind them that are no labels, that none comes twice in succession, and that one at least stands on both
sides at one height: where none does, as with teams that play one another, the sides are columns of a table.
"""

from collections.abc import Collection, Sequence
from itertools import pairwise

MIN_SHARED = 2
"""Different labels that both sides must have."""

MIN_SHARE = 0.6
"""Of the lines with a value, on either side, that must begin with such a label."""

MIN_ALIKE = 0.8
"""Of the rows under a head that comes twice, that must have as many cells on either side."""

Pieces = Sequence[str]
"""What stands in one line of a side, parted where the gaps are wide."""


def are_sheets(left: Sequence[Pieces], right: Sequence[Pieces]) -> bool:
    """Whether the lines of two sides, from the top down, are blocks with the same labels.

    The lines of both sides that stand at one height have the same index; a side without words there has [].
    """
    labels = [_labelled(side) for side in (left, right)]
    shared = {label for label, _ in labels[0]} & {label for label, _ in labels[1]}
    shared = {label for label in shared if any(sign.isalpha() for sign in label)}
    values = {value for side in labels for _, value in side}
    are_labels = len(shared) >= MIN_SHARED and not shared & values and not any(map(_stammers, labels))
    if are_labels and _are_level(left, right, shared):
        return all(sum(label in shared for label, _ in side) >= MIN_SHARE * len(side) for side in labels)
    return _is_folded(left, right)


def _stammers(side: Sequence[tuple[str, str]]) -> bool:
    """Whether a label comes twice in succession, as where a table has several lines of one thing."""
    return any(above == below for (above, _), (below, _) in pairwise(side))


def _are_level(left: Sequence[Pieces], right: Sequence[Pieces], shared: Collection[str]) -> bool:
    """Whether one of these labels stands on both sides at one height."""
    pairs = [(_label(a), _label(b)) for a, b in zip(left, right, strict=True)]
    return any(a is not None and b is not None and a[0] == b[0] in shared for a, b in pairs)


def _labelled(side: Sequence[Pieces]) -> list[tuple[str, str]]:
    return [found for found in map(_label, side) if found is not None]


def _label(pieces: Pieces) -> tuple[str, str] | None:
    """Label and value of a line that has both, apart or behind a colon."""
    if not pieces:
        return None
    label, colon, value = pieces[0].partition(": ")
    if colon and value.strip():
        return label.strip(), value.strip()
    return (pieces[0].rstrip(" :"), pieces[1]) if len(pieces) > 1 else None


def _is_folded(left: Sequence[Pieces], right: Sequence[Pieces]) -> bool:
    """Whether the first line is a head that comes twice, and the rows below have their cells in it alike."""
    both = [(a, b) for a, b in zip(left, right, strict=True) if a and b]
    if len(both) < 3:
        return False
    (head, again), *rows = both
    if list(head) != list(again) or len(set(head)) < 2:
        return False
    return sum(len(a) == len(b) for a, b in rows) >= MIN_ALIKE * len(rows)
