"""What a person may be told went wrong.

XgenError                 bad input or circumstances: one sentence, exit code 2
├── BadDocument           a file that cannot be read as text
├── BadModel              a model that is unknown, damaged or of a form we refuse
├── TooLong               more tokens than the window takes
├── NotPulled             a model that is not on disk yet
├── BadRecipe             a recipe with a field that is wrong, unknown or missing
├── BadCorpus             a corpus that is missing, damaged, or too small for what is asked of it
└── NoRoom                a disk that is full
"""


class XgenError(Exception):
    """The only exception that the package raises on purpose.

    `where` names the thing (a file, a model, a flag), `what` says what is wrong with it and
    `way_out` what to do about it. Printed as one sentence: "where: what; way out."
    """

    def __init__(self, where: str, what: str, way_out: str) -> None:
        super().__init__(f"{where}: {what}; {way_out}.")
        self.where = where
        self.what = what
        self.way_out = way_out

    def __reduce__(self) -> tuple[type["XgenError"], tuple[str, str, str]]:
        """How it comes whole from one process to another."""
        return type(self), (self.where, self.what, self.way_out)


class BadDocument(XgenError):
    """A file that is missing, empty, binary, encrypted, broken or too large to be read as text."""


class BadModel(XgenError):
    """A model that is unknown, damaged, or of a form that is refused by name."""


class TooLong(XgenError):
    """More tokens than the window takes; the sentence holds both numbers."""


class NotPulled(XgenError):
    """A known model that is not on disk yet."""


class NoRoom(XgenError):
    """A disk that is full; whatever was half-written has been removed."""


class BadRecipe(XgenError):
    """A recipe of a corpus or of a run that cannot be followed; the sentence names the field."""


class BadCorpus(XgenError):
    """A corpus that is missing or damaged, or that cannot feed what is asked of it."""
