"""Names of the entries in an archive: whatever torch.save writes, and nothing that climbs out."""

import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from xgen.errors import BadModel
from xgen.formats.pickled import read_pickled

WEIGHTS = {"weight": torch.arange(6.0).view(2, 3)}
PRINTABLE = "".join(map(chr, range(32, 127))).replace("/", "").replace("\\", "")


@given(stem=st.text(PRINTABLE, min_size=1, max_size=12).filter(lambda stem: stem not in (".", "..")))
@example(stem="model [epoch 3] (best)")
@example(stem="...")
def test_law_against_torch_whatever_a_file_was_called_when_it_was_saved(
    stem: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """torch puts that name before every entry's."""
    path = tmp_path_factory.getbasetemp() / f"{stem}.bin"
    torch.save(WEIGHTS, path)
    with zipfile.ZipFile(path) as archive:
        assert f"{stem}/data.pkl" in archive.namelist()
    (stored,) = read_pickled(path).values()
    assert torch.equal(stored.read(), torch.load(path)["weight"])
    path.unlink()


@pytest.mark.parametrize("stem", [".", "..", "new\nline", "\x1b[2J"])
def test_names_that_climb_out_or_move_the_cursor_are_refused(stem: str, tmp_path: Path) -> None:
    path = tmp_path / f"{stem}.bin"
    torch.save(WEIGHTS, path)
    with pytest.raises(BadModel, match="not of a file in it"):
        read_pickled(path)
