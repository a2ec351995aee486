"""Guesses at what comes next, read off what was said before: answers quote their documents.

Prompt lookup (Saxena 2023): where the last ids stood earlier in the context, what followed them then is
the guess. The model checks all guessed ids in one pass (Leviathan et al. 2023), so the text stays what
it would have been; on a CPU a pass of eight rows costs little more than one of a single row.
"""

from collections.abc import Sequence

LONGEST_DRAFT = 7
LENGTHS = (3, 2)
"""Ids of the runs that are looked up, the longer first: a single id is followed by anything."""

N_TRIALS = 3
"""Passes of each kind before their rates are compared."""


class Lookup:
    """Guesses behind a growing text, of at most `longest` ids; stops when they take longer than they win."""

    def __init__(self, context: Sequence[int], longest: int = LONGEST_DRAFT) -> None:
        self.longest = longest
        self._ids: list[int] = []
        self._next: dict[tuple[int, ...], int] = {}  # a run of ids -> where what followed it last begins
        self._seconds = {True: 0.0, False: 0.0}  # of passes with and without a guess
        self._written = {True: 0, False: 0}
        self._passes = {True: 0, False: 0}
        for token in context:
            self.take(token)

    def take(self, token: int) -> None:
        """The text goes on with `token`."""
        end = len(self._ids)
        for length in LENGTHS:
            if end >= length:
                self._next[tuple(self._ids[end - length :])] = end
        self._ids.append(token)

    def draft(self, n_most: int) -> list[int]:
        """At most `n_most` ids that may come next; none where nothing is known or guessing does not pay."""
        if min(n_most, self.longest) > 0 and self.pays():
            for length in LENGTHS:
                start = self._next.get(tuple(self._ids[-length:]))
                if start is not None:
                    return self._ids[start : start + min(n_most, self.longest)]
        return []

    def measured(self, with_draft: bool, n_written: int, seconds: float) -> None:
        """A pass took so long and gave so many ids."""
        self._seconds[with_draft] += seconds
        self._written[with_draft] += n_written
        self._passes[with_draft] += 1

    def pays(self) -> bool:
        """False once passes with a guess have written fewer ids a second than passes without."""
        if min(self._passes.values()) < N_TRIALS:
            return True
        with_draft, without = (self._written[kind] / self._seconds[kind] for kind in (True, False))
        return with_draft >= without
