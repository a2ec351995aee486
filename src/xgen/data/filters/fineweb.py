"""FineWeb's own rules, which find lists and tables that pass for text (Penedo et al. 2024, section 3.6).

https://arxiv.org/abs/2406.17557. Defaults are the paper's; lines of Chinese and Japanese are a third as long.
"""

from xgen.data.filters.prose import Prose

_ENDS = tuple(".!?…:;\"'”’»)]。！？：；」』）")


def fault(
    prose: Prose,
    min_lines_ending: float = 0.12,
    max_short_lines: float = 0.67,
    short_characters: int = 30,
) -> str | None:
    """The first rule that the text breaks, or None. Shares are of lines that are not blank."""
    lines = prose.lines
    if not lines:
        return "no_text"
    if sum(line.endswith(_ENDS) for line in lines) < min_lines_ending * len(lines):
        return "too_few_lines_end_in_punctuation"
    short = short_characters if prose.spaced else short_characters // 3
    if sum(len(line) < short for line in lines) > max_short_lines * len(lines):
        return "too_many_short_lines"
    return None
