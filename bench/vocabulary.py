"""How many bytes a token holds, by language and vocabulary size: what a vocabulary's parameters buy.

    python bench/vocabulary.py CORPUS [--sample-mb 120] [--sizes 8192 12288 ...] [--json]

One tokenizer of the largest size is learned from a sample of the corpus's training sets (languages weighed by
bytes**0.7, as a build does); its first ids and merges are the smaller ones. Measured on the held-out sets,
whose texts are decoded from the corpus: a byte-level tokenizer loses nothing. Last line: JSON.
"""

import argparse
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from xgen.data.encode import MAX_SAMPLE_CHARACTERS, SAMPLE_TEMPERATURE
from xgen.data.recipe import CODE, TUNING_SETS
from xgen.data.shards import HELD, Corpus, TokenSet, open_corpus
from xgen.text.bpe import learn_bpe, smaller_vocabulary
from xgen.text.tokenizer import Tokenizer

SIZES = (8192, 12288, 16384, 24576, 32768)
MEASURED_BYTES = 1_000_000  # a language, at most
D_MODEL = 320


def is_text(name: str) -> bool:
    return name.partition(".")[0] not in TUNING_SETS


def language_of(name: str, tokens: TokenSet) -> str:
    return f"code {tokens.language}" if name.startswith(f"{CODE}.") else tokens.language


def sample(corpus: Corpus, tokenizer: Tokenizer, n_bytes: float) -> Iterator[str]:
    """Beginnings of documents of the training sets, chosen at random by a fixed seed."""
    sets = {name: it for name, it in corpus.sets.items() if is_text(name) and not name.endswith(HELD)}
    sizes: dict[str, int] = defaultdict(int)
    for name, tokens in sets.items():
        sizes[language_of(name, tokens)] += tokens.n_bytes
    weights = {language: size**SAMPLE_TEMPERATURE for language, size in sizes.items()}
    total = sum(weights.values())
    chance = np.random.default_rng(0)
    for name, tokens in sets.items():
        language = language_of(name, tokens)
        share = min(n_bytes * weights[language] / total / sizes[language], 1.0)
        for i in range(tokens.n_documents):
            length = int(tokens.starts[i + 1] - tokens.starts[i])
            shown = min(length, MAX_SAMPLE_CHARACTERS // 3)
            if chance.random() < share * length / shown:
                yield tokenizer.decode(tokens.document(i)[:shown].tolist())


def held_texts(corpus: Corpus, tokenizer: Tokenizer) -> dict[str, list[str]]:
    """Held-out texts by language, up to a megabyte of each."""
    texts: dict[str, list[str]] = defaultdict(list)
    room: dict[str, int] = defaultdict(lambda: MEASURED_BYTES)
    for name, tokens in corpus.sets.items():
        if is_text(name) and name.endswith(HELD):
            language = language_of(name, tokens)
            for i in range(tokens.n_documents):
                if room[language] > 0:
                    text = tokenizer.decode(tokens.document(i)[:100_000].tolist())
                    texts[language].append(text)
                    room[language] -= len(text.encode())
    return dict(sorted(texts.items()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("corpus", type=Path)
    parser.add_argument("--sample-mb", type=float, default=120)
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    arguments = parser.parse_args()
    sizes = sorted(arguments.sizes)
    corpus = open_corpus(arguments.corpus)
    own = Tokenizer.from_folder(arguments.corpus)
    largest = learn_bpe(sample(corpus, own, arguments.sample_mb * 1e6), sizes[-1])
    texts = held_texts(corpus, own)
    n_bytes = {language: sum(len(text.encode()) for text in of_it) for language, of_it in texts.items()}
    table: dict[str, dict[int, float]] = defaultdict(dict)
    for size in sizes:
        tokenizer = Tokenizer(smaller_vocabulary(largest, size))
        n_tokens = {
            language: sum(map(len, tokenizer.encode_batch(of_it))) for language, of_it in texts.items()
        }
        for language in texts:
            table[language][size] = round(n_bytes[language] / n_tokens[language], 3)
        table["all"][size] = round(sum(n_bytes.values()) / sum(n_tokens.values()), 3)
        table["mean of languages"][size] = round(
            float(np.mean([table[name][size] for name in texts if not name.startswith("code")])), 3
        )
    print(f"{'bytes a token':18}" + "".join(f"{size:>9,}" for size in sizes))
    for language, row in table.items():
        print(f"{language:18}" + "".join(f"{row[size]:9.2f}" for size in sizes))
    print(f"{f'M weights at {D_MODEL}':18}" + "".join(f"{size * D_MODEL / 1e6:9.1f}" for size in sizes))
    print(json.dumps({"corpus": corpus.name, "sample_mb": arguments.sample_mb, "bytes_a_token": table}))


if __name__ == "__main__":
    main()
