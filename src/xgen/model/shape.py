"""The numbers that define a decoder, and what follows from them: parameters, FLOPs, bytes."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RopeScaling:
    """How rotary frequencies are lowered, so that more positions fit into the angles once trained.

    Without `original_window` all are divided by `factor` (position interpolation: Chen et al. 2023).
    With it, only those that turn fewer than `low_frequency` times within the original window of so many
    tokens; those that turn more than `high_frequency` times stay, and between the two they pass from the
    one to the other (Llama 3.1; the model card's `llama3` kind).
    """

    factor: float
    low_frequency: float = 0.0
    high_frequency: float = 0.0
    original_window: int = 0


@dataclass(frozen=True)
class Shape:
    """A Llama-family decoder: pre-norm RMSNorm, rotary positions, SwiGLU, grouped queries.

    `d_model` is the width, `d_ff` that of the gated feed-forward layer, `max_seq_len` the window
    in tokens. `tied_head` shares the embedding with the output; `qkv_bias` adds biases on q, k
    and v (Qwen2). Rotary pairs dimension i with i + head_dim / 2; `rope_scaling` slows their angles.
    """

    n_layers: int
    d_model: int
    d_ff: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    vocab_size: int
    max_seq_len: int
    rope_theta: float = 10_000.0
    norm_eps: float = 1e-6
    tied_head: bool = False
    qkv_bias: bool = False
    rope_scaling: RopeScaling | None = None

    @property
    def n_parameters(self) -> int:
        """Number of weights; a tied head counts once."""
        return self.n_matrix_weights + self.n_vector_weights

    @property
    def n_matrix_weights(self) -> int:
        """Weights that stand in matrices, the embedding among them; a tied head counts once."""
        return self._layer_matrices * self.n_layers + self._table * (1 + (not self.tied_head))

    @property
    def n_vector_weights(self) -> int:
        """Weights of norms and biases."""
        biases = self.head_dim * (self.n_heads + 2 * self.n_kv_heads) if self.qkv_bias else 0
        return self.n_layers * (2 * self.d_model + biases) + self.d_model

    @property
    def n_matrix_rows(self) -> int:
        """Rows of all matrices, which are their output channels or tokens."""
        of_layer = self.head_dim * (self.n_heads + 2 * self.n_kv_heads) + 2 * self.d_model + 2 * self.d_ff
        return self.n_layers * of_layer + self.vocab_size * (1 + (not self.tied_head))

    def flops_per_token(self, position: int = 0) -> int:
        """Floating-point operations of one token's forward pass at `position`, head included.

        Two per weight of every matrix product, and four per query dimension for each of the
        `position + 1` keys seen (Kaplan et al. 2020, section 2.1).
        """
        matrices = self._layer_matrices * self.n_layers + self._table
        attention = 2 * self.n_layers * self.n_heads * self.head_dim * (position + 1)
        return 2 * (matrices + attention)

    def weight_bytes(self, bytes_per_weight: float = 2) -> int:
        """Bytes of the weights."""
        return round(self.n_parameters * bytes_per_weight)

    def cache_bytes(self, n_tokens: int, bytes_per_value: float = 2) -> int:
        """Bytes of the keys and values of `n_tokens` tokens."""
        return round(2 * self.n_layers * self.n_kv_heads * self.head_dim * n_tokens * bytes_per_value)

    @property
    def _table(self) -> int:
        return self.vocab_size * self.d_model

    @property
    def _layer_matrices(self) -> int:
        attention = 2 * self.d_model * self.head_dim * (self.n_heads + self.n_kv_heads)
        return attention + 3 * self.d_model * self.d_ff


SHAPES = {
    "xgen-7b": Shape(32, 4096, 11008, 32, 32, 128, 51_200, 8192),
    "qwen-0.5b": Shape(24, 896, 4864, 14, 2, 64, 151_936, 32_768, 1e6, 1e-6, True, True),
    "qwen-1.5b": Shape(28, 1536, 8960, 12, 2, 128, 151_936, 32_768, 1e6, 1e-6, True, True),
    "smollm2": Shape(30, 576, 1536, 9, 3, 64, 49_152, 8192, 1e5, 1e-5, True),
    "tiny": Shape(2, 64, 160, 4, 2, 16, 512, 1024, tied_head=True),
}
