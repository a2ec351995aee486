"""A reply while it is written: what may be shown of it by now, and whether a stop string has ended it."""

from collections.abc import Sequence


class Reply:
    """Feed it the text that is certain, get what may be shown: neither an opening nor part of a stop string.

    `opening` is what a model writes before its words (ChatTemplate.reply_opening): taken off with the white
    space around it, if the reply begins so. The first of `stops` to be complete ends the reply before it,
    of several complete at once the one that begins first. How the text is cut into pieces decides nothing.
    ValueError for an empty stop string.
    """

    def __init__(self, opening: str = "", stops: Sequence[str] = ()) -> None:
        if not all(stops):
            raise ValueError("a stop string is empty")
        self.ended = False
        self._opening, self._stops = opening.strip(), tuple(stops)
        self._begun = not self._opening
        self._taken_off = False
        self._held = ""

    def __call__(self, text: str) -> str:
        """What `text` makes certain to be shown; nothing once a stop string has `ended` the reply."""
        if self.ended:
            return ""
        self._held += text
        if not self._begun and not self._begin():
            return ""
        if self._taken_off:
            self._held = self._held.lstrip()
            self._taken_off = not self._held
        found = [(at + len(stop), at) for stop in self._stops if (at := self._held.find(stop)) >= 0]
        if found:
            self.ended = True
            shown, self._held = self._held[: min(found)[1]], ""
            return shown
        return self._release(self._n_open())

    def rest(self) -> str:
        """What was held back to the end, where nothing more comes."""
        return self._release(0)

    def _begin(self) -> bool:
        """Decide whether the reply begins with the opening; False while it may still."""
        begun = self._held.lstrip()
        if len(begun) < len(self._opening) and self._opening.startswith(begun):
            return False
        if begun.startswith(self._opening):
            self._held = begun[len(self._opening) :]
            self._taken_off = True
        self._begun = True
        return True

    def _n_open(self) -> int:
        """Length of the longest end of what is held that begins a stop string."""
        longest = max(map(len, self._stops), default=1) - 1
        for n in range(min(longest, len(self._held)), 0, -1):
            if any(stop.startswith(self._held[-n:]) for stop in self._stops):
                return n
        return 0

    def _release(self, n_kept: int) -> str:
        cut = len(self._held) - n_kept
        shown, self._held = self._held[:cut], self._held[cut:]
        return shown
