"""What the package brings itself: `nano`, a model of its own."""

from pathlib import Path

import pytest

from xgen.bundle import load, pull
from xgen.cards import CARDS, read_card
from xgen.files import model_folder, shipped_file
from xgen.formats.folder import read_shape

LARGEST_BYTES = 16_000_000


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XGEN_HOME", str(tmp_path))
    return tmp_path


def test_nano_is_small_and_says_what_it_is() -> None:
    path = shipped_file("nano")
    assert path is not None
    assert path.stat().st_size <= LARGEST_BYTES
    assert CARDS["nano"].n_parameters <= 15_000_000
    assert len(CARDS["nano"].languages) == 22


def test_it_becomes_an_ordinary_folder_at_first_use(home: Path) -> None:
    bundle = load("nano", device="cpu", dtype="fp32")
    folder = model_folder("nano")
    assert bundle.folder == folder
    assert read_card(folder) == CARDS["nano"]
    assert read_shape(folder / "config.json").n_parameters == CARDS["nano"].n_parameters
    before = (folder / "model.safetensors").stat().st_mtime_ns
    assert pull("nano") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == before


def test_it_has_learned_22_languages_and_code(home: Path) -> None:
    """A text of each sort is likelier than its words in another order, by half a nat a token and more."""
    import torch

    bundle = load("nano", device="cpu", dtype="fp32")
    texts = [
        "The program reads the configuration file and writes the result to the standard output.",
        "Das Programm liest die Konfigurationsdatei und schreibt das Ergebnis in die Ausgabe.",
        "Программа читает файл настроек и записывает результат в стандартный вывод.",
        "Le programme lit le fichier de configuration et écrit le résultat sur la sortie standard.",
        "def read(path):\n    with open(path) as file:\n        return file.read()\n",
    ]

    def nats(text: str) -> float:
        ids = torch.tensor([[bundle.tokenizer.special_ids["<|endoftext|>"], *bundle.tokenizer.encode(text)]])
        with torch.no_grad():
            logits = bundle.model.logits(bundle.model(ids[:, :-1]))[0]
        return float(torch.nn.functional.cross_entropy(logits, ids[0, 1:]))

    for text in texts:
        words = text.split(" ")
        assert nats(text) + 0.5 < nats(" ".join(words[1::2] + words[::2])), text
