import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from xgen.bundle.loading import load
from xgen.cards import CARDS, read_card, write_card


def test_one_adapter_comes_out_that_reads_as_the_two_do(
    run_xgen: Callable, tiny_folder: Path, adapter: Path, home: Path
) -> None:
    narrow = home / "narrow"
    shutil.copytree(adapter, narrow)
    write_card(
        dataclasses.replace(
            read_card(adapter), licence=CARDS["xgen-7b-8k-inst"].licence, commercial_use=False
        ),
        narrow,
    )
    ended = run_xgen("average", str(tiny_folder), "out", str(adapter), str(narrow), "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["adapters"] == 2
    assert read_card(home / "out").commercial_use is False  # as the narrower of the two
    assert "research only" in read_card(home / "out").licence
    models = [
        load(tiny_folder, device="cpu", dtype="fp32", adapter=place).model
        for place in (adapter, home / "out")
    ]
    for (name, old), (_, new) in zip(*(m.named_parameters() for m in models), strict=True):
        torch.testing.assert_close(new, old, rtol=0.02, atol=2e-3, msg=name)  # it is written in bf16


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("out", "adapter"), "name two or more"),
        (("tiny", "adapter", "adapter"), "there already"),
        (("out", "adapter", "nobody"), "nobody"),
    ],
)
def test_bad_wishes_are_one_sentence(
    run_xgen: Callable, tiny_folder: Path, adapter: Path, words: tuple[str, ...], said: str
) -> None:
    places = {"adapter": str(adapter), "tiny": str(tiny_folder)}
    ended = run_xgen("average", str(tiny_folder), *(places.get(word, word) for word in words))
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert not Path("out").exists()
