"""What a sentence names and the document does not know: numbers, dates and names that a model made up."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

from xgen.read.dates import MONTHS, Date, dates
from xgen.read.fold import Folded, fold
from xgen.text.languages import language_of

Span = tuple[int, int]


def strangers(text: str, sentence: str) -> list[str]:
    """The numbers, dates and capitalised names of `sentence` that do not occur in `text`, as written.

    Numbers are compared by value and as wholes: 1,234 = 1234 = 1 234, 1,5 = 1.5, 5% = 5 percent, 7B = 7
    billion; 12 does not occur in 512. A comma or point before three digits may be either, and is known if one
    reading is. A date is known if the same day (or month and year) stands in the document in any form of
    read/dates.py. A name is known by its words, one by one, in any case; scripts without case have no
    names here, and German, which capitalises every noun, only words with a further capital or a digit.
    The word that opens the sentence is looked at only if a capitalised word follows it directly, and if it is
    long enough and no function word.
    """
    document = _known(text)
    folded = fold(sentence)
    known_dates: dict[Span, bool] = {}
    for date in dates(folded.text):
        span = date.start, date.end
        known_dates[span] = known_dates.get(span, False) or document.has_date(date)
    found = [
        (number.start, number.end)
        for number in _numbers(folded.text)
        if number.is_digits and not document.has_number(number)
    ]
    found += _unknown_names(document, folded.text)
    # A date is looked up as a whole: its year and its month are not looked up again.
    found = [a for a in found if not any(start <= a[0] < end for start, end in known_dates)]
    found += [span for span, known in known_dates.items() if not known]
    return list(dict.fromkeys(_original(sentence, folded, span) for span in sorted(found)))


def _original(sentence: str, folded: Folded, span: Span) -> str:
    return sentence[folded.starts[span[0]] : folded.ends[span[1] - 1]]


# ---- numbers --------------------------------------------------------------------------------------

_SCALES = {
    "thousand": 3, "million": 6, "billion": 9, "trillion": 12,
    "k": 3, "K": 3, "M": 6, "mn": 6, "B": 9, "bn": 9, "T": 12,
    "万": 4, "萬": 4, "만": 4, "億": 8, "亿": 8, "억": 8,
}  # fmt: skip
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen twenty"
)
_TENS = "thirty forty fifty sixty seventy eighty ninety"
_WORDS = {word: i for i, word in enumerate(_UNITS.split())} | {
    word: 10 * i for i, word in enumerate(_TENS.split(), start=3)
}
_SCALE = (
    r"(?:[ -]?(?P<scale>(?i:thousand|million|billion|trillion)(?=s?\b)|(?:bn|mn|[kKMBT])\b|[万萬만億亿억]))?"
)
# Digits in groups of three parted by spaces or apostrophes, or digits with points and commas between them.
_DIGITS = r"\d{1,3}(?:[ ']\d{3})+(?:[.,]\d+)?(?!\d)|\d+(?:[.,]\d+)*"
_MAX_DIGITS = 28  # what Decimal keeps exactly; a longer run of digits is a serial number and means itself
_NUMBER = re.compile(
    rf"(?<![A-Za-z\d])(?:(?P<digits>{_DIGITS})|(?P<word>\b(?i:{'|'.join(_WORDS)})\b)){_SCALE}"
)


@dataclass(frozen=True)
class _Number:
    """A number as written at `start:end`: its possible values, without and with its scale word."""

    start: int
    end: int
    values: frozenset[Decimal | str]
    scaled: frozenset[Decimal | str]  # empty without a scale word
    is_digits: bool


def _numbers(folded: str) -> Iterator[_Number]:
    for found in _NUMBER.finditer(folded):
        if digits := found["digits"]:
            values = _values(digits)
            end = found.end("digits")
        else:
            values = frozenset({Decimal(_WORDS[found["word"].lower()])})
            end = found.end("word")
        exponent = _SCALES.get(found["scale"] or "") or _SCALES.get((found["scale"] or "").lower())
        scaled = frozenset(
            (v * 10**exponent).normalize() for v in values if exponent and isinstance(v, Decimal)
        )
        yield _Number(found.start(), max(end, found.end("scale")), values, scaled, bool(digits))


def _values(digits: str) -> frozenset[Decimal | str]:
    """What the written digits may mean; a version or an address ("4.29.2") means itself."""
    digits = re.sub("[ ']", "", digits)
    if len(digits) > _MAX_DIGITS:
        return frozenset({digits})
    marks = re.findall("[.,]", digits)
    groups = re.split("[.,]", digits)
    in_threes = len(groups[0]) <= 3 and groups[0] != "0" and all(len(group) == 3 for group in groups[1:])
    whole, last = "".join(groups[:-1]), groups[-1]
    meanings: list[str] = []
    if not marks:
        meanings = [digits]
    elif len(set(marks)) == 2 and marks[-1] not in marks[:-1]:
        meanings = [f"{whole}.{last}"]  # 1,234.5
    elif len(set(marks)) == 1:
        meanings = [whole + last] if in_threes else []  # 1,234,567
        if len(marks) == 1:
            meanings.append(f"{whole}.{last}")
    return frozenset(_normal(Decimal(meaning)) for meaning in meanings) or frozenset({digits})


def _normal(value: Decimal) -> Decimal:
    return value.normalize() + 0


# ---- names ----------------------------------------------------------------------------------------

_WORD = re.compile(r"[^\W_]+")
_OPENS = re.compile(r"(?:^|[.!?:]['\"]?\s|\")[\W_]*$")  # what stands before the first word of a sentence
# Words of four letters and more that open sentences: English, French, Spanish, Italian, Portuguese, Dutch.
_OPENERS = """
about above according across after against ahead along although among another around because before behind
below beneath beside besides between beyond both despite during each either every except following from given
however inside instead into like many more most near neither once only other over past since some such than
that their there these they this those though through throughout thus together toward under unlike until
upon what when where whereas whether which while whose with within without your
avec cette dans depuis entre leur leurs nous pendant pour sans selon sous vers
como cuando desde durante esta este hasta para pero según sobre todos tras
della delle dello dopo fino nella nelle quando questa questo secondo senza
depois pela pelo segundo
naar onder over tussen voor waar
"""
_FUNCTION_WORDS = frozenset(_OPENERS.split())


def _unknown_names(document: "_Known", sentence: str) -> list[Span]:
    """Capitalised words that the document lacks; neighbours make one name."""
    words = list(_WORD.finditer(sentence))
    unknown: list[Span] = []
    for word, following in zip(words, [*words[1:], None], strict=False):
        if not _is_name(word[0]) or document.has_name(word[0]):
            continue
        if not _is_compound(word[0]):
            is_followed = following and _is_name(following[0]) and word.end() + 1 == following.start()
            may_be_name = len(word[0]) > 3 and word[0].casefold() not in _FUNCTION_WORDS
            opens = _OPENS.search(sentence, 0, word.start())
            if document.is_german or (opens and not (is_followed and may_be_name)):
                continue
        if unknown and sentence[unknown[-1][1] : word.start()] == " ":
            unknown[-1] = (unknown[-1][0], word.end())
        else:
            unknown.append(word.span())
    return unknown


def _is_name(word: str) -> bool:
    return len(word) > 1 and word[0].isalpha() and any(c.isupper() or c.istitle() for c in word)


def _is_compound(word: str) -> bool:
    """A capital or a digit after the first letter: OpenAI, T4, iPhone."""
    return any(c.isupper() or c.isdigit() for c in word[1:])


# ---- the document ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Known:
    """What a document knows."""

    plain: frozenset[Decimal | str]  # numbers without a scale word
    counts: frozenset[Decimal | str]  # numbers before a scale word: 7 of "7 billion"
    scaled: frozenset[Decimal | str]  # what the two make together
    dates: tuple[Date, ...]
    words: frozenset[str]  # case-folded
    letters: str  # letters and digits alone, in their case
    is_german: bool

    def has_number(self, number: _Number) -> bool:
        """Whether the amount, or the bare number where one side has no scale, stands in the document."""
        if number.scaled:
            return bool(number.scaled & (self.scaled | self.plain) or number.values & self.plain)
        return bool(number.values & (self.plain | self.counts | self.scaled))

    def has_date(self, date: Date) -> bool:
        """Whether the same date stands here; one without a year takes any year in the document."""
        return any(
            date.month == known.month
            and date.day in (None, known.day)
            and (date.year in (None, known.year) or (known.year is None and Decimal(date.year) in self.plain))
            for known in self.dates
        )

    def has_name(self, word: str) -> bool:
        """Whether the word stands here: also with or without an s, a compound in parts, a month in digits."""
        key = word.casefold()
        if key in self.words or key.removesuffix("s") in self.words or f"{key}s" in self.words:
            return True
        if _is_compound(word) and word in self.letters:
            return True
        return any(date.month in MONTHS.get(key, ()) for date in self.dates)


@lru_cache(maxsize=8)
def _known(text: str) -> _Known:
    folded = fold(text).text
    numbers = list(_numbers(folded))
    # "12 345" may also be two numbers, in a row of a table say.
    parts = [part for n in numbers for part in re.split("[ ']", folded[n.start : n.end]) if part.isdigit()]
    words = _WORD.findall(folded)
    return _Known(
        plain=frozenset().union(*(n.values for n in numbers if not n.scaled), *map(_values, parts)),
        counts=frozenset().union(*(n.values for n in numbers if n.scaled)),
        scaled=frozenset().union(*(n.scaled for n in numbers)),
        dates=tuple(dates(folded)),
        words=frozenset(word.casefold() for word in words),
        letters="".join(words),
        is_german=language_of(text) == "de",
    )
