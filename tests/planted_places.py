"""Adapters made by hand: at one known place something happens, everywhere else noise.

Shared by the tests and by `docs/scripts/planted_causes.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from critical_phase.probes.interventions import Sources

ATTENTION = tuple(f"self_attn.{name}_proj" for name in "qkvo")
MLP = tuple(f"mlp.{name}_proj" for name in ("gate", "up", "down"))
STRENGTHS = {1: 0.1, 4: 0.1, 5: 1.0, 8: 1.0}
"""Of what is planted, by step: a step between 4 and 5."""
RANK = 4
NOISE = 0.15
"""Frobenius norm of the random update of every module over that of the planted one."""
FALL = 0.8
"""Part of the base's lead of right over wrong answers (log-probabilities, training questions) that
is gone at strength 1."""

Update = tuple[np.ndarray, np.ndarray, float]
"""B [d_out, r], A [r, d_in] and a factor; the update is the factor times B @ A."""


@dataclass(frozen=True, slots=True)
class Planted:
    """The one place where something happens."""

    layer: int
    short: str
    """Module within the block."""
    head: int | None = None
    """Attention head whose rows or columns alone are used; None for the whole module."""

    @property
    def module(self) -> str:
        return f"model.layers.{self.layer}.{self.short}"

    @property
    def label(self) -> str:
        return f"{self.layer}/{self.short}"


def draw_place(seed: int, layers: int, heads: int, *, head: bool) -> Planted:
    """Draw a module of an MLP, or one head's values or output."""
    rng = np.random.default_rng([43, seed, head])
    # What the last block writes goes straight to the words: it cannot tell questions apart.
    layer = int(rng.integers(layers - 1))
    if not head:
        return Planted(layer, MLP[int(rng.integers(len(MLP)))])
    return Planted(layer, ATTENTION[2 + int(rng.integers(2))], int(rng.integers(heads)))


def module_names(layers: int) -> tuple[str, ...]:
    """All linear maps of a Llama's blocks."""
    return tuple(f"model.layers.{i}.{short}" for i in range(layers) for short in (*ATTENTION, *MLP))


def likely(model: Any, tokens: Tensor, right: Tensor) -> Tensor:
    """Log-probability of right answers minus the mean of wrong ones, in nats; answers are one word.

    Args:
        model: Is run.
        tokens: [question, candidate, token].
        right: Number of the right candidate [question].
    """
    logits = model(input_ids=tokens[:, 0, :-1]).logits[:, -1].log_softmax(-1)
    own = logits.gather(1, tokens[:, :, -1])
    first = own.gather(1, right[:, None])[:, 0]
    wrong = (own.sum(1) - first) / (own.shape[1] - 1)
    return (first - wrong).mean()


def carve(model: Any, place: Planted, tokens: Tensor, right: Tensor) -> Update:
    """An update of one place alone that makes right answers unlikely: nothing is trained.

    It is the gradient there, cut to a few directions and to the rows or columns of the head, in
    the size that takes `FALL` of their lead away (enlarged from small until it does).
    """
    weight = model.get_submodule(place.module).weight
    gradient = torch.autograd.grad(likely(model, tokens, right), weight)[0]
    kept = torch.ones_like(gradient)
    if place.head is not None:
        size = int(model.config.hidden_size) // int(model.config.num_attention_heads)
        own = slice(place.head * size, (place.head + 1) * size)
        kept = torch.zeros_like(gradient)
        at = (slice(None), own) if place.short.endswith("o_proj") else (own, slice(None))
        kept[at] = 1.0
    left, values, wide = torch.linalg.svd((gradient * kept).double(), full_matrices=False)
    tall = -(left[:, :RANK] * (values[:RANK] / values[:RANK].norm())).numpy()
    # Rounding leaves 1e-17 outside of the head: nothing is to be there.
    tall, flat = tall * kept.amax(1, keepdim=True).numpy(), wide[:RANK].numpy()
    flat = flat * kept.amax(0, keepdim=True).numpy()
    size = _size(model, weight, tall @ flat, tokens, right)
    return size * tall, flat, 1.0


@torch.no_grad()
def _size(model: Any, weight: Tensor, update: np.ndarray, tokens: Tensor, right: Tensor) -> float:
    before, kept = float(likely(model, tokens, right)), weight.data.clone()
    size = 0.25
    while size < 64:
        weight.data = kept + size * torch.from_numpy(update).to(kept)
        after = float(likely(model, tokens, right))
        weight.data = kept
        if before - after > FALL * before:
            break
        size *= 1.25
    return size


def plant(sources: Sources, model: Any, place: Planted, update: Update, seed: int) -> None:
    """Put a series of adapters into the sources, as `negative@STEP`.

    Every module of every block holds at every step a random update as well, drawn anew, `NOISE`
    times as large as the planted one at full strength: all places move.
    """
    b, a, _ = update
    names = module_names(int(model.config.num_hidden_layers))
    norms = dict.fromkeys(names, NOISE * float(np.linalg.norm(b @ a)))
    for step, strength in STRENGTHS.items():
        made = noise_updates(model, norms, (seed, step))
        tall, wide, _ = made[place.module]
        both = np.concatenate([strength * b, tall], axis=1), np.concatenate([a, wide], axis=0)
        made[place.module] = (both[0].astype(np.float32), both[1].astype(np.float32), 1.0)
        sources.add(f"negative@{step}", made)


def noise_updates(
    model: Any, norms: Mapping[str, float], seed: Sequence[int], rank: int = 8
) -> dict[str, Update]:
    """Random updates of given Frobenius norms, by module."""
    rng = np.random.default_rng([31, *seed])
    made: dict[str, Update] = {}
    for module, norm in norms.items():
        rows, columns = model.get_submodule(module).weight.shape
        tall, wide = rng.standard_normal((rows, rank)), rng.standard_normal((rank, columns))
        size = float(np.linalg.norm(tall @ wide))
        made[module] = ((tall * (norm / size)).astype(np.float32), wide.astype(np.float32), 1.0)
    return made
