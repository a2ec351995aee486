"""The memory that a model takes, told before anything is loaded: weights, keys and values, and a pass.

Types by their names on the command line. Loads no torch.
"""

from dataclasses import dataclass

from xgen.model.shape import Shape

TYPE_BYTES = {"fp32": 4, "bf16": 2, "fp16": 2, "int8": 1}
SCALE_BYTES = {"weights": 6, "cache": 4}
"""Of a row in 8 bits: fp32, and for weights bf16 beside it (model/int8.py)."""

PASS_TOKENS = 1024
"""Tokens of a pass, as engine/generate.py takes them."""

BACK_AT_ONCE = 1 << 26
"""Weights of 8 bits that are brought back for a pass at once, as model/int8.py does on a GPU."""


@dataclass(frozen=True)
class Setting:
    """In what a model is held: its weights, its keys and values, and the type that is computed in."""

    weights: str
    cache: str
    compute: str

    def __str__(self) -> str:
        return f"{self.weights} weights with {'an' if self.cache == 'int8' else 'a'} {self.cache} cache"


@dataclass(frozen=True)
class Needed:
    """Bytes: of the weights, of keys and values, and of what a pass holds for its time."""

    weights: int
    cache: int
    working: int

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.cache + self.working


def needed(shape: Shape, setting: Setting, n_tokens: int) -> Needed:
    """What `n_tokens` in the cache need, the pass over the last PASS_TOKENS of them included.

    Weights and cache are exact. A pass is taken to hold the stream and what one layer makes of it, a part
    of 8-bit weights brought back, one layer's keys and values brought to the type that is computed in,
    and the logits of one token twice.
    """
    wide = TYPE_BYTES[setting.compute]
    d_q, d_kv = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
    n_new = min(n_tokens, PASS_TOKENS)
    working = n_new * (4 * shape.d_model + 3 * d_q + 4 * d_kv + 3 * shape.d_ff) * wide
    working += 2 * shape.vocab_size * 4
    if setting.weights == "int8":
        working += min(BACK_AT_ONCE, shape.d_model * max(shape.d_ff, shape.vocab_size)) * wide
    if setting.cache != setting.compute:
        working += 2 * n_tokens * d_kv * wide
    return Needed(weight_bytes(shape, setting), n_tokens * token_bytes(shape, setting.cache), working)


def weight_bytes(shape: Shape, setting: Setting) -> int:
    """Bytes of the weights; of a model in 8 bits the vectors are in the type that is computed in."""
    if setting.weights != "int8":
        return shape.weight_bytes(TYPE_BYTES[setting.weights])
    rows = shape.n_matrix_rows * SCALE_BYTES["weights"]
    return shape.n_matrix_weights + rows + shape.n_vector_weights * TYPE_BYTES[setting.compute]


def token_bytes(shape: Shape, cache: str) -> int:
    """Bytes of one token's keys and values in all layers."""
    rows = 2 * shape.n_layers * shape.n_kv_heads
    return rows * (shape.head_dim * TYPE_BYTES[cache] + (SCALE_BYTES["cache"] if cache == "int8" else 0))


def longest(shape: Shape, setting: Setting, free_bytes: int) -> int:
    """The most tokens, up to the window, that fit into `free_bytes` beside the weights; 0 if none does."""
    fits, too_many = 0, shape.max_seq_len + 1
    while too_many - fits > 1:
        tried = (fits + too_many) // 2
        if needed(shape, setting, tried).total <= free_bytes:
            fits = tried
        else:
            too_many = tried
    return fits


def settings(compute: str) -> list[Setting]:
    """The ways to hold a model that is computed in a type, the largest first."""
    kinds = (compute, "int8")
    return [Setting(weights, cache, compute) for weights in kinds for cache in kinds]


def best_that_fits(shape: Shape, compute: str, free_bytes: int) -> tuple[Setting, int] | None:
    """The setting with the most tokens in `free_bytes`, the nearest to 16 bits among equals, and how many."""
    found = [(longest(shape, setting, free_bytes), setting) for setting in settings(compute)]
    n_tokens = max(n for n, _ in found)
    return next(((setting, n) for n, setting in found if n == n_tokens and n), None)
