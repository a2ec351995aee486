from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from xgen.formats.stream import DTYPE_NAMES, LINE_BYTES, layout, write_tensors

WORDS = st.text(st.characters(codec="utf-8"), max_size=5)
KINDS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=5).filter(lambda name: name != "__metadata__"),
    st.tuples(st.sampled_from(list(DTYPE_NAMES)), st.lists(st.integers(1, 4), max_size=3).map(tuple)),
    min_size=1,
    max_size=5,
)


@settings(deadline=None, max_examples=50)
@given(
    kinds=KINDS, said=st.dictionaries(st.text(max_size=5), st.text(max_size=5), max_size=2), data=st.data()
)
def test_against_the_librarys_reader(tmp_path_factory, kinds, said, data) -> None:
    """In whatever order the tensors come, of whatever names."""
    path = tmp_path_factory.mktemp("stream") / "w.safetensors"
    tensors = {name: torch.randn(shape).mul(9).to(dtype) for name, (dtype, shape) in kinds.items()}
    write_tensors(path, kinds, data.draw(st.permutations(list(tensors.items()))), said)
    with safe_open(path, framework="pt") as file:
        assert set(file.keys()) == set(kinds)
        assert (file.metadata() or {}) == said
        for name, tensor in tensors.items():
            assert torch.equal(file.get_tensor(name), tensor)
    first, starts = layout(kinds, said)
    assert starts[next(iter(kinds))] == len(first)
    assert len(first) % LINE_BYTES == 0


def test_what_is_not_as_announced_is_refused(tmp_path: Path) -> None:
    kinds = {"a": (torch.float32, (2,)), "b": (torch.int8, (1,))}
    with pytest.raises(ValueError, match=r"a is torch\.int8"):
        write_tensors(tmp_path / "w", kinds, [("a", torch.zeros(2, dtype=torch.int8))], {})
    with pytest.raises(ValueError, match="1 tensors did not come, one is b"):
        write_tensors(tmp_path / "w", kinds, [("a", torch.zeros(2))], {})
