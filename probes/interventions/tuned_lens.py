"""A tuned lens, trained on the base: one affine map per block, by KL to the base's own answer.

h -> h + A h + b before the final norm. Reference: 2303.08112, equation 6. One lens trained on the
base serves all checkpoints: a lens of each would show its own change as the model's.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, record
from critical_phase.probes.interventions.vectors import wanted_kinds

SLOTS = 2048
"""Most slots that a lens is trained, or measured, on."""
_BATCH = 256
_LIMIT = 1e-3
"""Largest difference of a logit from the model's own, as a share of the largest."""


@dataclass(frozen=True, eq=False)
class Translator:
    """h + A h + b."""

    turn: Float[Tensor, "d d"]
    shift: Float[Tensor, " d"]

    def __call__(self, x: Float[Tensor, "*slot d"]) -> Float[Tensor, "*slot d"]:
        """Translate."""
        return x + x @ self.turn.to(x).T + self.shift.to(x)


@dataclass(frozen=True, eq=False)
class TunedLens:
    """One translator per block, the last block's left out: there the lens is the model."""

    translators: tuple[Translator, ...]
    before: tuple[float, ...]
    """KL(base || logit lens) on other questions, nats per slot, by block."""
    after: tuple[float, ...]
    """The same through the translators."""
    slots: tuple[int, int]
    """Slots trained on, and measured on."""


@dataclass(frozen=True, eq=False)
class _Slots:
    states: Float[Tensor, "layer slot d"]
    wanted: Float[Tensor, "slot vocabulary"]
    """The base's own log-probabilities."""


def train_lens(
    bench: Bench,
    questions: Float[np.ndarray, " question"] | np.ndarray,
    *,
    steps: int,
    rate: float,
    seed: int,
) -> TunedLens:
    """Train translators on slots of some questions, and measure them on slots of the others.

    Args:
        bench: The model and the rows; the base is held.
        questions: Marks those that are trained on.
        steps: Of Adam, on 256 slots each.
        rate: Of learning; falls to 0 along a straight line.
        seed: Of the choice of slots.

    Raises:
        ConfigError: The family changes logits after the output map, which is not trained through.
    """
    rng = np.random.default_rng([seed, 41])
    ours, others = (_slots(bench, one, rng) for one in (questions, ~questions))
    _check_head(bench, ours)
    made, before, after = [], [], []
    for layer in range(bench.sites.layers - 1):
        found = _train(bench, ours, layer, steps, rate, np.random.default_rng([seed, 43, layer]))
        made.append(found)
        with torch.no_grad():
            before.append(float(_divergence(bench, others.states[layer], others.wanted)))
            after.append(float(_divergence(bench, found(others.states[layer]), others.wanted)))
    counts = (ours.wanted.shape[0], others.wanted.shape[0])
    return TunedLens(tuple(made), tuple(before), tuple(after), counts)


@torch.no_grad()
def _slots(bench: Bench, questions: np.ndarray, rng: np.random.Generator) -> _Slots:
    """Run the base and keep states and log-probabilities of up to `SLOTS` slots."""
    sites = [Site("resid", layer) for layer in range(bench.sites.layers)]
    bench.mixture.hold({})
    counts = [int((wanted_kinds(bench, batch, questions) > 0).sum()) for batch in bench.open_packer]
    chosen = np.sort(rng.permutation(sum(counts))[:SLOTS])
    states, wanted, begin = [], [], 0
    for batch, count in zip(bench.open_packer, counts, strict=True):
        own = torch.from_numpy(chosen[(chosen >= begin) & (chosen < begin + count)] - begin)
        begin += count
        held: dict[Site, Tensor] = {}
        with record(bench.sites, sites, held):
            logits = bench.run(batch)
        at = wanted_kinds(bench, batch, questions) > 0
        own = own.to(at.device)
        states.append(torch.stack([held[site][at][own].float() for site in sites]))
        wanted.append(logits[at][own].float().log_softmax(-1))
    return _Slots(torch.cat(states, dim=1), torch.cat(wanted))


def _check_head(bench: Bench, slots: _Slots) -> None:
    with torch.no_grad():
        gap = (_logits(bench, slots.states[-1]).log_softmax(-1) - slots.wanted).abs().max()
    if not float(gap) <= _LIMIT * float(slots.wanted.abs().max()):
        raise ConfigError(
            "this family changes its logits after the output map, and the tuned lens is trained"
            " through the map alone",
            fix="use --with lenses=logit",
        )


def _logits(bench: Bench, x: Float[Tensor, "slot d"]) -> Float[Tensor, "slot vocabulary"]:
    found: Tensor = bench.sites.unembed(bench.sites.final_norm(x[None]))[0]
    return found.float()


def _divergence(
    bench: Bench, x: Float[Tensor, "slot d"], wanted: Float[Tensor, "slot vocabulary"]
) -> Tensor:
    """Return KL(wanted || lens), mean over slots, in nats."""
    ours = _logits(bench, x).log_softmax(-1)
    return (wanted.exp() * (wanted - ours)).sum(-1).mean()


def _train(
    bench: Bench, slots: _Slots, layer: int, steps: int, rate: float, rng: np.random.Generator
) -> Translator:
    states = slots.states[layer]
    width = states.shape[1]
    turn = torch.zeros(width, width, device=states.device, requires_grad=True)
    shift = torch.zeros(width, device=states.device, requires_grad=True)
    adam = torch.optim.Adam([turn, shift], lr=rate)
    for step in range(steps):
        adam.param_groups[0]["lr"] = rate * (1 - step / steps)
        some = torch.from_numpy(rng.permutation(len(states))[:_BATCH]).to(states.device)
        with torch.enable_grad():
            loss = _divergence(bench, Translator(turn, shift)(states[some]), slots.wanted[some])
            turn.grad, shift.grad = torch.autograd.grad(loss, [turn, shift])
        adam.step()
    return Translator(turn.detach(), shift.detach())
