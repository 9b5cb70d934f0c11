"""What a model holds while it reads candidates, after every block: one mean vector per row."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, record
from critical_phase.probes.interventions.slot_kinds import ANSWER, KINDS, QUESTION, QUESTION_END
from critical_phase.probes.interventions.update import State
from critical_phase.probes.interventions.vectors import wanted_kinds
from critical_phase.probes.positions import ANSWER_MEAN, Positions


@dataclass(frozen=True, eq=False)
class AnswerStates:
    """Vectors of the rows of some questions."""

    values: Float[np.ndarray, "layer row d"]
    """Mean over the tokens of the candidate, after each block."""
    question: Int[np.ndarray, " row"]
    """Question of each row."""
    right: Bool[np.ndarray, " row"]
    means: Float[np.ndarray, "layer part d"]
    """Mean of each kind of slot: tokens of the question, its last one, candidates (every row
    counts once)."""

    def within(self, layer: int) -> Float[np.ndarray, "row d"]:
        """Return the vectors after one block minus the mean of their question."""
        return self.centred(self.values[layer].astype(np.float64))

    @property
    def labels(self) -> Float[np.ndarray, " row"]:
        """Return 1 for right and 0 for wrong, minus the share of right ones in the question."""
        return self.centred(self.right.astype(np.float64)[:, None])[:, 0]

    def mean_of(self, layer: int, kind: int) -> Float[np.ndarray, " d"]:
        """Return the mean of a kind of slot after one block."""
        return np.asarray(self.means[layer, (QUESTION, QUESTION_END, ANSWER).index(kind)])

    def centred(self, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
        """Return rows minus the mean of their question."""
        _, place = np.unique(self.question, return_inverse=True)
        sums = np.zeros((int(place.max()) + 1, x.shape[1]))
        np.add.at(sums, place, x)
        return x - (sums / np.bincount(place)[:, None])[place]


@torch.no_grad()
def answer_states(
    bench: Bench, state: State, questions: Bool[np.ndarray, " question"]
) -> AnswerStates:
    """Read every row of some questions once.

    Args:
        bench: The model and the rows.
        state: What the adapted modules hold.
        questions: Marks the questions that are read.
    """
    sites = [Site("resid", layer) for layer in range(bench.sites.layers)]
    rows: list[np.ndarray] = []
    parts: list[Tensor] = []
    sums, count = None, np.zeros(2)
    for batch in bench.open_packer:
        held: dict[Site, Tensor] = {}
        bench.mixture.hold(state)
        with record(bench.sites, sites, held):
            bench.run(batch)
        mine = questions[bench.plan.question[batch.rows]]
        read = Positions(bench.plan, batch, (ANSWER_MEAN,))
        own = torch.stack([read.read(held[site])[:, 0] for site in sites])
        parts.append(own[:, torch.from_numpy(mine).to(own.device)].float().cpu())
        rows.append(batch.rows[mine])
        kinds = wanted_kinds(bench, batch, questions)
        found = [
            torch.stack([held[site][kinds == kind].double().sum(0) for site in sites]).cpu()
            for kind in (QUESTION, QUESTION_END)
        ]
        sums = found if sums is None else [a + b for a, b in zip(sums, found, strict=True)]
        count += [int((kinds == kind).sum()) for kind in (QUESTION, QUESTION_END)]
    order = np.argsort(np.concatenate(rows))
    values = torch.cat(parts, dim=1).numpy()[:, order]
    assert sums is not None
    before = [one.numpy() / max(n, 1) for one, n in zip(sums, count, strict=True)]
    means = np.stack([*before, values.astype(np.float64).mean(axis=1)], axis=1)
    kept = np.concatenate(rows)[order]
    return AnswerStates(values, bench.plan.question[kept], bench.plan.correct[kept], means)


def means_by_kind(states: AnswerStates, layer: int, scope: str) -> dict[int, Tensor]:
    """Return the mean of every kind of slot of a named position after one block."""
    return {kind: torch.from_numpy(states.mean_of(layer, kind).copy()) for kind in KINDS[scope]}
