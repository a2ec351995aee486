"""README.md of an exported model: the hub's front matter, and what its card knows, for people.

The fields are those of the hub's documentation, "Model Cards"; a licence that has no identifier there goes
out as `license: other` with its words as `license_name`.
"""

import importlib.metadata
import json

from xgen.cards import CARDS, UNKNOWN_LICENCE, Card, pulled_name
from xgen.cards.stated import hub_licence

_LICENCE_TEXTS = {
    "Apache-2.0": "https://www.apache.org/licenses/LICENSE-2.0",
    "CC-BY-SA-4.0": "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
}


def model_card(card: Card, title: str, dtype: str, changed: str) -> str:
    """The text of README.md; `changed` says in a sentence what was done to the weights."""
    front = [*_licence_lines(card), "library_name: transformers", "pipeline_tag: text-generation"]
    if card.languages:
        front += ["language:", *(f"- {json.dumps(code)}" for code in card.languages)]  # no: false in YAML
    if base := _base(card):
        front += [f"base_model: {base}"]
    facts = [
        f"- Licence: {card.licence}",
        f"- Stated in: {card.licence_source}",
        *(f"- Its text: {url}" for name, url in _LICENCE_TEXTS.items() if name in card.licence),
        f"- Parameters: {card.n_parameters:,}; window: {card.window_tokens:,} tokens; weights: {dtype}",
        f"- Changes: {changed}",
    ]
    if card.warning:
        facts.append(f"- Warning: {card.warning}")
    return "\n".join(["---", *front, "---", "", f"# {title}", "", *facts, ""])


def licence_text(card: Card) -> str | None:
    """The Apache licence's own text, which has to go with what is under it; None for any other.

    It is that of this package, which is under the same. Others are named by their address.
    """
    if "Apache-2.0" not in card.licence:
        return None
    try:
        return importlib.metadata.distribution("xgen").read_text("licenses/LICENSE")
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        return None


def _licence_lines(card: Card) -> list[str]:
    if UNKNOWN_LICENCE in card.licence:
        return ["license: unknown"]
    if identifier := hub_licence(card.licence):
        return [f"license: {identifier}"]
    return ["license: other", f"license_name: {json.dumps(card.licence, ensure_ascii=False)}"]


def _base(card: Card) -> str | None:
    """The published weights that an adapted one of ours began with, or its own."""
    known = CARDS.get(pulled_name(card.name))
    return card.hub_id or (known.hub_id if known else None)
