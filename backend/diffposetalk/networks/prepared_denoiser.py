# SPDX-License-Identifier: GPL-3.0-or-later
"""The denoiser arranged for sampling: all that does not change over the diffusion steps is computed once a window.

Exact algebra, no approximation; in float32 the outputs equal `Denoiser.forward` to rounding:

- Under the alignment mask of width 1 a motion token attends to one speech feature, so its cross-attention is
  the projected value of that feature, whatever the query and the step: a constant of the window and the layer.
- The first token attends to all features; their keys and values are constants too.
- The embeddings of the frames before the window, and their queries, keys and values in the first layer, are
  constants. The window's frames enter the first layer linearly, so its projection is folded with the motion
  embedding into one matrix of D instead of `width` columns, and all guidance branches share its result.
- Of the last layer only the window's own frames are needed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from .cuda_graph import GraphedStep, StepGraphs
from .denoiser import Denoiser

Weight = tuple[torch.Tensor, torch.Tensor]
"""Matrix and bias of a linear map."""


@dataclass(frozen=True)
class _Layer:
    self_in: Weight
    self_out: Weight
    cross_query: Weight
    cross_key: Weight
    cross_value: Weight
    cross_out: Weight
    expand: Weight
    contract: Weight
    norms: tuple[nn.LayerNorm, nn.LayerNorm, nn.LayerNorm]


class PreparedDenoiser:
    """A denoiser's weights, ready for `window`.

    Args:
        denoiser: the trained network, on its device.
        dtype: of the matrix products (their inputs are rounded to it). Normalisation, residuals and the
            result stay in float32, on a CPU attention too, which is slower there in bfloat16.
        graphs: captures steps, or None to run every kernel by itself.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        dtype: torch.dtype = torch.float32,
        graphs: StepGraphs | None = None,
    ) -> None:
        self.denoiser = denoiser
        self.dtype = dtype
        self.graphs = graphs
        config = denoiser.config
        self.heads, self.previous = config.heads, config.previous
        # True where attention is allowed; None: all of it (mask lifted). Not needed under the width of 1.
        self.aligned = config.align_mask_width == 1
        self.mask = None if denoiser.alignment_mask is None else ~denoiser.alignment_mask
        self.attention_dtype = torch.float32 if denoiser.positions.device.type == "cpu" else dtype
        self.layers = [self._layer(layer) for layer in denoiser.transformer.layers]

    def _layer(self, layer: nn.Module) -> _Layer:
        assert isinstance(layer, nn.TransformerDecoderLayer)
        own, cross = layer.self_attn, layer.multihead_attn
        width = own.embed_dim
        query, key, value = (
            self._weight(cross.in_proj_weight[i : i + width], cross.in_proj_bias[i : i + width])
            for i in (0, width, 2 * width)
        )
        return _Layer(
            self_in=self._weight(own.in_proj_weight, own.in_proj_bias),
            self_out=self._weight(own.out_proj.weight, own.out_proj.bias),
            cross_query=query,
            cross_key=key,
            cross_value=value,
            cross_out=self._weight(cross.out_proj.weight, cross.out_proj.bias),
            expand=self._weight(layer.linear1.weight, layer.linear1.bias),
            contract=self._weight(layer.linear2.weight, layer.linear2.bias),
            norms=(layer.norm1, layer.norm2, layer.norm3),
        )

    def _weight(self, matrix: torch.Tensor, bias: torch.Tensor) -> Weight:
        return matrix.detach().to(self.dtype), bias.detach().to(self.dtype)

    def linear(self, x: torch.Tensor, weight: Weight) -> torch.Tensor:
        """The linear map of `x`, computed and returned in `dtype`."""
        return F.linear(x.to(self.dtype), *weight)

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """(R, N, width) to (R, heads, N, width / heads), ready for attention."""
        return x.to(self.attention_dtype).unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def window(
        self,
        previous_motion: torch.Tensor,
        branches: Sequence[tuple[torch.Tensor, torch.Tensor]],
        shape: torch.Tensor,
        indicator: torch.Tensor,
    ) -> PreparedWindow:
        """Prepare one window of B clips or takes, in K branches that differ in speech and style.

        Args:
            previous_motion: (B, T_p, D) clean normalised motion before the window.
            branches: K pairs of projected speech features (B or 1, T_p + T_w, width) and style vectors
                (B or 1, S); branches that share a tensor share the work on it.
            shape: (B, 100) normalised shape coefficients.
            indicator: (B, T_w) 1 for real frames, 0 for padding.
        """
        return PreparedWindow(self, previous_motion, branches, shape, indicator)


class PreparedWindow:
    """`window(motion, step)`: the clean prediction of every branch; see `PreparedDenoiser.window`."""

    def __init__(
        self,
        prepared: PreparedDenoiser,
        previous_motion: torch.Tensor,
        branches: Sequence[tuple[torch.Tensor, torch.Tensor]],
        shape: torch.Tensor,
        indicator: torch.Tensor,
    ) -> None:
        self.prepared = prepared
        network = prepared.denoiser
        self.branches, self.rows = len(branches), len(previous_motion)
        tokens = 1 + prepared.previous
        positions = network.positions
        persons = [
            network.person_proj(torch.cat([shape, style.expand(self.rows, -1)], dim=-1))
            for _, style in branches
        ]
        self.person = torch.cat(persons)[:, None]
        flag = previous_motion.new_zeros(self.rows, prepared.previous, 1)
        self.before = network.motion_proj(torch.cat([previous_motion, flag], dim=-1)) + positions[:, 1:tokens]
        embedding = network.motion_proj.weight
        self.embed = embedding[:, :-1]
        self.frames = (
            indicator[..., None] * embedding[:, -1] + network.motion_proj.bias + positions[:, tokens:]
        )
        # First layer: queries, keys and values of the constant tokens, and the folded map of the noisy motion.
        in_weight = network.transformer.layers[0].self_attn.in_proj_weight  # type: ignore[union-attr]
        first = prepared.layers[0]
        self.before_qkv = prepared.linear(self.before, first.self_in)
        self.frames_qkv = prepared.linear(self.frames, first.self_in)
        self.embed_qkv = (in_weight @ self.embed).to(prepared.dtype)
        self.cross = [self._cross(layer, [speech for speech, _ in branches]) for layer in prepared.layers]
        self.graph: GraphedStep | None = None
        self.graph_sought = prepared.graphs is None

    def _cross(
        self, layer: _Layer, speech: Sequence[torch.Tensor]
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Keys and values of all branches (K·B, heads, F, d), and what every motion token gets (K·B, F, width)."""
        prepared = self.prepared
        known: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}
        for features in speech:
            if id(features) not in known:
                key = prepared.linear(features, layer.cross_key)
                value = prepared.linear(features, layer.cross_value)
                out = prepared.linear(value, layer.cross_out) if prepared.aligned else value
                known[id(features)] = (key, value, out)
        key, value, out = (
            torch.cat([known[id(features)][i].expand(self.rows, -1, -1) for features in speech])
            for i in range(3)
        )
        return prepared.split(key), prepared.split(value), out if prepared.aligned else None

    def without_first_branch(self) -> PreparedWindow:
        """The same window with one branch less, on the same memory."""
        rest = copy.copy(self)
        rest.branches = self.branches - 1
        rest.person = self.person[self.rows :]
        rest.cross = [
            (key[self.rows :], value[self.rows :], None if out is None else out[self.rows :])
            for key, value, out in self.cross
        ]
        return rest

    def constants(self) -> list[torch.Tensor]:
        """Everything that was computed once for this window."""
        cross = [t for tensors in self.cross for t in tensors if t is not None]
        return [self.person, self.before, self.frames, self.before_qkv, self.frames_qkv, *cross]

    def copy(self) -> PreparedWindow:
        """The same window with constants of its own, to be overwritten by other windows'."""
        own = copy.copy(self)
        own.person, own.before, own.frames = self.person.clone(), self.before.clone(), self.frames.clone()
        own.before_qkv, own.frames_qkv = self.before_qkv.clone(), self.frames_qkv.clone()
        own.cross = [
            (key.clone(), value.clone(), None if out is None else out.clone())
            for key, value, out in self.cross
        ]
        return own

    def __call__(self, motion: torch.Tensor, step: int) -> torch.Tensor:
        """Equation 7 for every branch.

        Args:
            motion: (B, T_w, D) noisy normalised motion, the same for all branches.
            step: diffusion step n in 0..N.

        Returns:
            (K, B, T_w, D) predicted clean normalised motion of the window's own frames, float32.
        """
        network, graphs = self.prepared.denoiser, self.prepared.graphs
        embedding = network.step_map(network.step_table[step])
        if not self.graph_sought and graphs is not None:
            self.graph, self.graph_sought = graphs.graphed(self, motion, embedding), True
        return (self.graph or self.predict)(motion, embedding)

    def predict(self, motion: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        """`__call__` with the step already embedded, (width,)."""
        prepared, network = self.prepared, self.prepared.denoiser
        person = self.person + embedding
        first = person + network.positions[:, :1]
        frames = F.linear(motion, self.embed) + self.frames
        others = self._repeat(torch.cat([self.before, frames], dim=1))
        frames_qkv = F.linear(motion.to(prepared.dtype), self.embed_qkv) + self.frames_qkv
        others_qkv = self._repeat(torch.cat([self.before_qkv, frames_qkv], dim=1))
        into, _ = prepared.layers[0].self_in
        if network.person_frames is not None:
            added = network.person_frames(person)
            others, others_qkv = others + added, others_qkv + F.linear(added.to(prepared.dtype), into)
        x = torch.cat([first, others], dim=1)
        qkv = torch.cat([prepared.linear(first, prepared.layers[0].self_in), others_qkv], dim=1)
        last = len(prepared.layers) - 1
        for i, layer in enumerate(prepared.layers):
            x = self._layer(i, layer, x, qkv, own_only=i == last)
            if i != last:
                qkv = prepared.linear(x, prepared.layers[i + 1].self_in)
        return network.motion_head(x).unflatten(0, (self.branches, self.rows))

    def _repeat(self, x: torch.Tensor) -> torch.Tensor:
        """Rows of one branch (B, …) for all branches (K·B, …)."""
        return x.repeat(self.branches, 1, 1)

    def _layer(
        self, index: int, layer: _Layer, x: torch.Tensor, qkv: torch.Tensor, own_only: bool
    ) -> torch.Tensor:
        """One decoder layer; `own_only` drops all tokens but the window's frames from the result."""
        prepared = self.prepared
        begin = 1 + prepared.previous if own_only else 0
        query, key, value = (
            prepared.split(part) for part in qkv.to(prepared.attention_dtype).chunk(3, dim=-1)
        )
        attended = F.scaled_dot_product_attention(query[:, :, begin:], key, value)
        attended = prepared.linear(attended.transpose(1, 2).flatten(2), layer.self_out)
        x = layer.norms[0](x[:, begin:] + attended)
        x = layer.norms[1](x + self._cross_attention(index, layer, x, begin))
        inner = F.gelu(prepared.linear(x, layer.expand))
        return layer.norms[2](x + prepared.linear(inner, layer.contract))

    def _cross_attention(self, index: int, layer: _Layer, x: torch.Tensor, begin: int) -> torch.Tensor:
        prepared = self.prepared
        key, value, out = self.cross[index]
        if out is not None and begin:
            return out[:, begin - 1 :]
        mask = None if out is not None or prepared.mask is None else prepared.mask[begin:]
        asking = x[:, :1] if out is not None else x
        query = prepared.split(prepared.linear(asking, layer.cross_query))
        attended = F.scaled_dot_product_attention(query, key, value, mask)
        attended = prepared.linear(attended.transpose(1, 2).flatten(2), layer.cross_out)
        return attended if out is None else torch.cat([attended, out], dim=1)
