"""The decoder, all of it: XGen-7B, Llama, SmolLM2 and Qwen2 are this code in different shapes.

Pre-norm RMSNorm (Zhang and Sennrich 2019), rotary positions (Su et al. 2021), SwiGLU (Shazeer
2020), grouped queries; attention is passed in. Axes: B batch, T tokens, S cached tokens, M d_model,
H query heads, G key-value heads, D head_dim, V vocabulary.
"""

import torch
from torch import Tensor, nn
from torch.linalg import vector_norm
from torch.nn.functional import linear, rms_norm, silu

from xgen.model.attention import Attend, attend_reference
from xgen.model.distil import Taught, distilled_cross_entropy
from xgen.model.joint import joint
from xgen.model.keys_values import Keys, KeysValues, written
from xgen.model.loss import cross_entropy, token_losses
from xgen.model.packed import Packed
from xgen.model.shape import RopeScaling, Shape


class RMSNorm(nn.Module):
    """x / rms(x) * weight over the last axis, computed in fp32; on a CPU it comes in the type of the weight.

    By torch's kernel on a GPU. On a CPU torch makes it of some fifteen operations, which take four
    times as long over a chunk as these few.
    """

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps
        self.eps_scalar = torch.tensor(eps, device="cpu")  # beside tensors of any device

    def forward(self, x_BTM: Tensor) -> Tensor:
        """[..., width] -> the same shape."""
        if x_BTM.is_cuda:
            return rms_norm(x_BTM, self.weight.shape, self.weight, self.eps)
        x_fp32 = x_BTM.float()
        norm = vector_norm(x_fp32, dim=-1, keepdim=True)
        scale = self.eps_scalar.addcmul(norm, norm, value=1 / x_BTM.shape[-1]).rsqrt()
        return (x_fp32 * scale * self.weight).to(self.weight.dtype)


class Layer(nn.Module):
    """One decoder layer: attention, then the gated feed-forward, each added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        d_q, d_kv = shape.n_heads * shape.head_dim, shape.n_kv_heads * shape.head_dim
        self.head_dim = shape.head_dim
        self.attention_norm = RMSNorm(shape.d_model, shape.norm_eps)
        self.q = nn.Linear(shape.d_model, d_q, bias=shape.qkv_bias)
        self.k = nn.Linear(shape.d_model, d_kv, bias=shape.qkv_bias)
        self.v = nn.Linear(shape.d_model, d_kv, bias=shape.qkv_bias)
        self.o = nn.Linear(d_q, shape.d_model, bias=False)
        self.ffn_norm = RMSNorm(shape.d_model, shape.norm_eps)
        self.gate = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.up = nn.Linear(shape.d_model, shape.d_ff, bias=False)
        self.down = nn.Linear(shape.d_ff, shape.d_model, bias=False)

    def forward(
        self,
        x_BTM: Tensor,
        rotation: tuple[Tensor, Tensor],
        attend: Attend,
        buffers: tuple[Tensor, ...] | None,
        start: int,
        mask: Tensor | Packed | None,
        last: int | None = None,
    ) -> Tensor:
        """[B, T, M] -> [B, T, M]; new keys and values go into `buffers` at `start`, if given.

        With `last`, and without a mask, the stream of the last tokens alone: [B, last, M].
        """
        h_BTM = self.attention_norm(x_BTM)
        if last is None:
            q_BTN, k_BTN, v_BTN = joint(h_BTM, self.q, self.k, self.v, alone=True)
            of_queries = rotation
        else:
            q_BTN, k_BTN, v_BTN = self.q(h_BTM[:, -last:]), self.k(h_BTM), self.v(h_BTM)
            of_queries = rotation[0][..., -last:, :], rotation[1][..., -last:, :]
            x_BTM = x_BTM[:, -last:]
        q_BHTD, k_BGTD = rotate(self._heads(q_BTN), of_queries), rotate(self._heads(k_BTN), rotation)
        v_BGTD = self._heads(v_BTN)
        seen: tuple[Keys, Keys] = k_BGTD, v_BGTD
        if buffers is not None:
            seen = written(buffers, k_BGTD, v_BGTD, start)
        out_BHTD = attend(q_BHTD, *seen, mask)
        x_BTM = x_BTM + self.o(out_BHTD.transpose(1, 2).flatten(2))
        h_BTM = self.ffn_norm(x_BTM)
        gate_BTF, up_BTF = joint(h_BTM, self.gate, self.up)
        x_BTM = x_BTM + self.down(silu(gate_BTF) * up_BTF)
        return x_BTM

    def _heads(self, x_BTM: Tensor) -> Tensor:
        return x_BTM.view(*x_BTM.shape[:2], -1, self.head_dim).transpose(1, 2)


class Transformer(nn.Module):
    """The decoder: ids to hidden states, and hidden states to logits on demand.

    The head is apart because a prefill needs the logits of its last token only, and the
    vocabulary's matrix is a quarter of a small model.
    """

    def __init__(self, shape: Shape, attend: Attend = attend_reference) -> None:
        super().__init__()
        self.shape = shape
        self.attend = attend
        weight_VM = torch.empty(shape.vocab_size, shape.d_model)
        if not weight_VM.is_meta:  # there is nothing to draw there, and torch loads its compiler for it
            nn.init.normal_(weight_VM)
        self.embedding = nn.Embedding(shape.vocab_size, shape.d_model, _weight=weight_VM)
        self.layers = nn.ModuleList(Layer(shape) for _ in range(shape.n_layers))
        self.norm = RMSNorm(shape.d_model, shape.norm_eps)
        self.head = None if shape.tied_head else nn.Linear(shape.d_model, shape.vocab_size, bias=False)

    @property
    def device(self) -> torch.device:
        """Where ids and caches are to be; the weights are there."""
        return self.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The type that products read; the weights have it too or are 8 bits (int8.py)."""
        dtype: torch.dtype = self.layers[0].get_parameter("attention_norm.weight").dtype
        return dtype

    def forward(
        self,
        ids_BT: Tensor,
        positions: Tensor | None = None,
        cache: KeysValues | None = None,
        start: int = 0,
        mask: Tensor | Packed | None = None,
        last: int | None = None,
    ) -> Tensor:
        """Final hidden states [B, T, M] of the tokens `ids_BT` (int64), or of the `last` of them alone.

        With a `cache`, its first `start` tokens are seen too and the new keys and values are
        written behind them. `positions` ([T], or [B, T] where rows differ) default to start,
        start + 1, ...; `mask` over `start + T` keys replaces the causal rule (attention.py), and
        `attend_packed` takes a `Packed` instead.
        """
        if positions is None:
            positions = torch.arange(start, start + ids_BT.shape[1], device=ids_BT.device)
        x_BTM = self.embedding(ids_BT)
        rotation = rotary(self.shape, positions, self.dtype)
        for index, layer in enumerate(self.layers):
            buffers = None if cache is None else cache[index]
            of_these = last if index == len(self.layers) - 1 else None
            x_BTM = layer(x_BTM, rotation, self.attend, buffers, start, mask, of_these)
        hidden_BTM: Tensor = self.norm(x_BTM)
        return hidden_BTM

    @property
    def output_weight(self) -> Tensor:
        """The vocabulary's matrix [V, M] that makes logits of hidden states: the head's, or the tied one."""
        return self.embedding.weight if self.head is None else self.head.weight

    def loss(
        self,
        ids_BT: Tensor,
        targets_BT: Tensor,
        positions_BT: Tensor,
        mask: Packed | None,
        taught: Taught | None = None,
    ) -> Tensor:
        """Sum over the trained tokens of the cross entropy in nats, fp32 []; targets of -1 are not trained.

        With what a teacher makes of the same tokens, a share of each target is its.

        A way through the whole model in one call: a model whose weights are shared out among processes
        gathers them for the time of a call.
        """
        hidden_BTM = self.forward(ids_BT, positions_BT, mask=mask)
        hidden_NM, targets_N = hidden_BTM.flatten(0, 1), targets_BT.flatten()
        if taught is not None:
            return distilled_cross_entropy(hidden_NM, self.output_weight, targets_N, taught)
        return cross_entropy(hidden_NM, self.output_weight, targets_N)

    def token_losses(
        self, ids_BT: Tensor, targets_BT: Tensor, positions_BT: Tensor, mask: Packed | None
    ) -> Tensor:
        """The cross entropy of each token in nats, fp32 [B, T], 0 where not trained; a whole way too."""
        hidden_BTM = self.forward(ids_BT, positions_BT, mask=mask)
        losses = token_losses(hidden_BTM.flatten(0, 1), self.output_weight, targets_BT.flatten())
        return losses.view(targets_BT.shape)

    def logits(self, hidden: Tensor) -> Tensor:
        """Hidden states [..., M] -> logits [..., V] in fp32."""
        if self.head is None:
            return linear(hidden, self.embedding.weight).float()
        logits: Tensor = self.head(hidden)
        return logits.float()


def rotary(shape: Shape, positions: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary angles, computed in fp32 (RoFormer, section 3.4).

    Positions [T] or [B, T] give [1, T, D] or [B, 1, T, D], the same for every head.
    """
    angles = positions[..., None, :, None].float() * frequencies(shape, positions.device)
    angles = torch.cat((angles, angles), dim=-1)
    return angles.cos().to(dtype), angles.sin().to(dtype)


def frequencies(shape: Shape, device: torch.device | None = None) -> Tensor:
    """How far each pair is turned from one position to the next: [D / 2] in radians, fp32."""
    half = torch.arange(0, shape.head_dim, 2, device=device, dtype=torch.float32)
    plain = 1.0 / shape.rope_theta ** (half / shape.head_dim)
    return plain if shape.rope_scaling is None else _scaled(plain, shape.rope_scaling)


def _scaled(frequencies: Tensor, scaling: RopeScaling) -> Tensor:
    """Rotary frequencies [D / 2] in radians a token, lowered as RopeScaling says."""
    lowered = frequencies / scaling.factor
    if not scaling.original_window:
        return lowered
    turns = scaling.original_window * frequencies / (2 * torch.pi)
    span = scaling.high_frequency - scaling.low_frequency
    kept = ((turns - scaling.low_frequency) / span).clamp(0, 1)
    return torch.lerp(lowered, frequencies, kept)


def rotate(x_BHTD: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate each pair (i, i + D/2) of [B, H, T, D] by its position's angle."""
    cos, sin = rotation
    first, second = x_BHTD.chunk(2, dim=-1)
    return x_BHTD * cos + torch.cat((-second, first), dim=-1) * sin
