"""Dates in a text, in digits or words, in the languages of the models' cards."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

# January to December; in Slavic languages the genitive of "3 July" and the nominative of "July 2023".
_NAMES = """
en january february march april may june july august september october november december
de januar februar märz april mai juni juli august september oktober november dezember
fr janvier février mars avril mai juin juillet août septembre octobre novembre décembre
es enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
pt janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro
it gennaio febbraio marzo aprile maggio giugno luglio agosto settembre ottobre novembre dicembre
ca gener febrer març abril maig juny juliol agost setembre octubre novembre desembre
ro ianuarie februarie martie aprilie mai iunie iulie august septembrie octombrie noiembrie decembrie
nl januari februari maart april mei juni juli augustus september oktober november december
da januar februar marts april maj juni juli august september oktober november december
sv januari februari mars april maj juni juli augusti september oktober november december
pl stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia
cs ledna února března dubna května června července srpna září října listopadu prosince
sl januarja februarja marca aprila maja junija julija avgusta septembra oktobra novembra decembra
hr siječnja veljače ožujka travnja svibnja lipnja srpnja kolovoza rujna listopada studenoga prosinca
hu január február március április május június július augusztus szeptember október november december
ru января февраля марта апреля мая июня июля августа сентября октября ноября декабря
uk січня лютого березня квітня травня червня липня серпня вересня жовтня листопада грудня
bg януари февруари март април май юни юли август септември октомври ноември декември
sr јануара фебруара марта априла маја јуна јула августа септембра октобра новембра децембра
pl styczeń luty marzec kwiecień maj czerwiec lipiec sierpień wrzesień październik listopad grudzień
cs leden únor březen duben květen červen červenec srpen září říjen listopad prosinec
sl januar februar marec april maj junij julij avgust september oktober november december
hr siječanj veljača ožujak travanj svibanj lipanj srpanj kolovoz rujan listopad studeni prosinac
ru январь февраль март апрель май июнь июль август сентябрь октябрь ноябрь декабрь
uk січень лютий березень квітень травень червень липень серпень вересень жовтень листопад грудень
sr јануар фебруар март април мај јун јул август септембар октобар новембар децембар
"""
_ENGLISH_SHORT = "jan feb mar apr may jun jul aug sep oct nov dec"


def _months() -> dict[str, frozenset[int]]:
    """Month numbers by name; languages may disagree (listopada: October in Croatian, November in Polish)."""
    months: dict[str, set[int]] = {"sept": {9}}
    rows = [line.split()[1:] for line in _NAMES.strip().splitlines()]
    for row in [*rows, _ENGLISH_SHORT.split()]:
        for number, name in enumerate(row, start=1):
            months.setdefault(name, set()).add(number)
    return {name: frozenset(numbers) for name, numbers in months.items()}


MONTHS = _months()
# English words that are something else without their capital.
_NEEDS_CAPITAL = frozenset({"march", "sept", *_ENGLISH_SHORT.split()})

_MONTH = r"(?P<month>[^\W\d_]{3,12})\b\.?"  # any word: the table is asked afterwards, which is quicker
_DAY = r"(?P<day>\d{1,2})(?:st|nd|rd|th|er|º|\.|-?(?:го|е))?"
_OF = r"(?:\s(?:of|de|del|d'))?\s?"
_YEAR = r"(?P<year>[12]\d{3})(?!\d)"
_PATTERNS = [
    re.compile(rf"(?<!\d){pattern}", re.IGNORECASE)
    for pattern in (
        rf"{_YEAR}[-/.](?P<month>\d{{1,2}})[-/.](?P<day>\d{{1,2}})(?!\d)",
        rf"(?P<day>\d{{1,2}})(?P<mark>[-/.]) ?(?P<month>\d{{1,2}})(?P=mark) ?{_YEAR}",
        rf"{_YEAR}\s?[年년]\s?(?:(?P<month>\d{{1,2}})\s?[月월]\s?)(?:(?P<day>\d{{1,2}})\s?[日号일])?",
        r"(?P<month>\d{1,2})\s?[月월]\s?(?P<day>\d{1,2})\s?[日号일]",
        rf"{_YEAR}\.?\s{_MONTH}\s(?P<day>\d{{1,2}})(?!\d)",
        rf"{_DAY}{_OF}\b{_MONTH},?(?:{_OF}\b{_YEAR})?",
        rf"\b{_MONTH}\s{_DAY}(?!\w)(?:,?\s{_YEAR})?",
        rf"\b{_MONTH},?{_OF}\b{_YEAR}",
    )
]


@dataclass(frozen=True)
class Date:
    """A date as written at `start:end`; `year` or `day` is None where it is not said."""

    start: int
    end: int
    year: int | None
    month: int
    day: int | None


def dates(folded: str) -> Iterator[Date]:
    """Every reading of every date in folded text: 03/07/2023 is read as 3 July and as 7 March."""
    taken: list[tuple[int, int]] = []
    for pattern in _PATTERNS:
        for found in pattern.finditer(folded):
            if any(start < found.end() and found.start() < end for start, end in taken):
                continue
            readings = list(_readings(found))
            if readings:
                taken.append(found.span())
                yield from readings


def _readings(found: re.Match[str]) -> Iterator[Date]:
    parts = found.groupdict()
    name = parts["month"]
    if name in _NEEDS_CAPITAL or not (name.isdigit() or name.casefold() in MONTHS):
        return  # no month, or "may 3 people", "march 5 miles"
    year = int(parts["year"]) if parts.get("year") else None
    day = int(parts["day"]) if parts.get("day") else None
    if not name.isdigit():
        pairs = {(month, day) for month in MONTHS[name.casefold()]}
    elif parts.get("mark") and day is not None:
        pairs = {(int(name), day), (day, int(name))}
    else:
        pairs = {(int(name), day)}
    for month, day_read in sorted(pairs, key=str):
        if 1 <= month <= 12 and (day_read is None or 1 <= day_read <= 31):
            yield Date(found.start(), found.end(), year, month, day_read)
