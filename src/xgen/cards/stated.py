"""The card of a model that somebody brings: what he says it is, what its README.md states, or unknown.

The licence of a model on the Hugging Face hub stands in its README.md, as `license:` in the lines between
two `---` at the top (hub documentation, "Model Cards"). Nothing is inferred from a shape: XGen's 8K base and
its instruct model have the same one, and only the first may be used commercially.
"""

import dataclasses
import re

from xgen.cards.fields import UNKNOWN_LICENCE, Card
from xgen.cards.known import CARDS, card
from xgen.errors import BadModel

# The hub's identifiers of licences that allow commercial use, and how SPDX writes them.
COMMERCIAL = {
    name.lower(): name
    for name in (
        *("Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "ISC", "Unlicense", "CC0-1.0"),
        *("CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0", "CC-BY-SA-4.0"),
    )
}
_LONGEST_LICENCE = 100
_NOT_STATED = "nothing in its folder states one"


def imported_card(
    stated: str | None,
    readme: str | None,
    folder_name: str,
    *,
    n_parameters: int,
    window_tokens: int,
    own: Card | None = None,
) -> Card:
    """The card of a model that is imported from a folder or a repository of the hub.

    `stated` is the known name that the person gives it, or None. Without one it is known only if
    `folder_name`, a folder's name or a hub id, is exactly that of published weights and the number of
    parameters agrees. Of a known model nothing is widened: its window is the narrower of the card's and the
    configuration's, and a README.md that states another licence stands beside the known one, as does what
    the folder's `own` card forbids, and the known model whose name the folder has where another is `stated`.
    Raises BadModel if nobody knows the name `stated`, or if that model has another number of parameters.
    """
    published = _published(folder_name, n_parameters)
    if stated is not None:
        known: Card | None = card(stated)
        how = "as whoever imported it says"
        if known is not None and known.n_parameters != n_parameters:
            what = f"it has {n_parameters:,} parameters, {stated} has {known.n_parameters:,}"
            raise BadModel(folder_name, what, "give it the name that it has, or none")
    else:
        known, how = published, f"known by its name, {folder_name}"
    told = stated_card("README.md", readme)
    if own is not None and own.licence_source != _NOT_STATED:
        told = own if told.licence == UNKNOWN_LICENCE else inherited(own, told)
    if known is None:
        name = stated_card(folder_name, None).name
        return dataclasses.replace(
            told,
            name=name,
            title=name,
            n_parameters=n_parameters,
            window_tokens=min(window_tokens, told.window_tokens or window_tokens),
            source=None,
        )
    narrowed = dataclasses.replace(
        known,
        licence_source=f"{known.licence_source} ({how})",
        window_tokens=min(window_tokens, known.window_tokens),
        source=None,
    )
    if published is not None:
        narrowed = inherited(narrowed, published)
    return narrowed if told.licence_source == _NOT_STATED else inherited(narrowed, told)


def _published(folder_name: str, n_parameters: int) -> Card | None:
    for one in CARDS.values():
        names = (one.hub_id, one.hub_id.rpartition("/")[2]) if one.hub_id else ()
        if folder_name in names and one.n_parameters == n_parameters:
            return one
    return None


def stated_card(name: str, readme: str | None) -> Card:
    """The card of a model of which nothing is known but its name and, if it has one, its README.md."""
    name = "".join(c for c in name.rpartition("/")[2] if c.isprintable()) or "model"
    licence = _stated_licence(readme or "")
    return Card(
        name=name,
        title=name,
        licence=licence or UNKNOWN_LICENCE,
        licence_source="license in its README.md" if licence else _NOT_STATED,
        commercial_use=licence in COMMERCIAL.values(),
        languages=(),
        window_tokens=0,
        n_parameters=0,
        source=None,
        default_read="select",
    )


def inherited(own: Card, base: Card) -> Card:
    """The card `own` of a model made from that of `base`: what `base` forbids or warns of, it does too."""
    licence, source = own.licence, own.licence_source
    if own.licence != base.licence:
        licence, source = f"{licence}; {base.name}: {base.licence}", f"{source}; {base.licence_source}"
    joined = "; ".join(filter(None, (own.warning, base.warning)))
    return dataclasses.replace(
        own,
        licence=licence,
        licence_source=source,
        commercial_use=own.commercial_use and base.commercial_use,
        warning=own.warning if base.warning in own.warning else joined,
    )


def _stated_licence(readme: str) -> str:
    """What `license:` says in the front matter of a README.md, or ""; "other" is looked up under its name."""
    front = re.match(r"\ufeff?---[ \t]*\r?\n(.*?)^---", readme, re.DOTALL | re.MULTILINE)
    if front is None:
        return ""
    found = dict(re.findall(r"^(license|license_name):[ \t]*(.*(?:\r?\n[ \t]*-.*)*)", front[1], re.MULTILINE))
    lines = [re.sub(r"^[ \t]*-", "", line) for line in found.get("license", "").splitlines()]
    licence = "; ".join(filter(None, map(_unquoted, lines)))  # of several none is left out
    if licence.lower() == "other":
        licence = _unquoted(found.get("license_name", "")) or licence
    if licence.lower() in ("unknown", "") or not licence.isprintable() or len(licence) > _LONGEST_LICENCE:
        return ""
    return COMMERCIAL.get(licence.lower(), licence)


def _unquoted(value: str) -> str:
    return re.sub(r"(^|\s)#.*", "", value).strip("\"'[] ")


def hub_licence(licence: str) -> str | None:
    """The hub's identifier of a licence; None for one that it has none for, or for several together."""
    return licence.lower() if licence.lower() in COMMERCIAL else None
