"""What the late model adds to the residual stream, on average and in its main directions."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.probes.batches import Batch
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.edits import Site, record
from critical_phase.probes.interventions.slot_kinds import ANSWER, QUESTION, QUESTION_END
from critical_phase.probes.interventions.update import State

PARTS = (QUESTION, QUESTION_END, ANSWER)


@dataclass(frozen=True, eq=False)
class Shifts:
    """Sums of late minus early over the slots of some questions, by layer and kind of slot."""

    sums: Float[Tensor, "layer part d"]
    """Sum of the differences, in float64."""
    count: Float[Tensor, " part"]
    """Slots of each kind; a question that several candidates share counts once."""

    def mean(self, layer: int, parts: tuple[int, ...]) -> Float[Tensor, " d"]:
        """Return the mean shift over kinds of slots together."""
        at = [PARTS.index(part) for part in parts]
        return self.sums[layer, at].sum(0) / self.count[at].sum()


@torch.no_grad()
def mean_shifts(
    bench: Bench, pre: State, post: State, questions: Float[np.ndarray, " question"] | np.ndarray
) -> Shifts:
    """Add up what the late model has more than the early one after every block.

    Args:
        bench: The model and the rows.
        pre: Early state.
        post: Late state.
        questions: Marks the questions that are read.
    """
    sites = [Site("resid", layer) for layer in range(bench.sites.layers)]
    sums: Tensor | None = None
    count = torch.zeros(len(PARTS), dtype=torch.float64)
    for batch, late, early in _pairs(bench, pre, post, sites):
        kinds = wanted_kinds(bench, batch, questions)
        for part, kind in enumerate(PARTS):
            at = kinds == kind
            gap = torch.stack([(late[s] - early[s])[at].double().sum(0) for s in sites]).cpu()
            sums = (
                torch.zeros(len(sites), len(PARTS), gap.shape[1]).double() if sums is None else sums
            )
            sums[:, part] += gap
            count[part] += int(at.sum())
    assert sums is not None
    return Shifts(sums, count)


@torch.no_grad()
def main_directions(
    bench: Bench,
    pre: State,
    post: State,
    layer: int,
    parts: tuple[int, ...],
    questions: Float[np.ndarray, " question"] | np.ndarray,
) -> Float[Tensor, "d d"]:
    """Return the directions of the shift after one block, the strongest first, as columns.

    They are those of the second moment, so the mean shift is among what they span.
    """
    site, moment = Site("resid", layer), None
    for batch, late, early in _pairs(bench, pre, post, [site]):
        kinds = wanted_kinds(bench, batch, questions)
        at = torch.isin(kinds, torch.tensor(parts, device=kinds.device))
        gap = (late[site] - early[site])[at].double()
        own = (gap.T @ gap).cpu()
        moment = own if moment is None else moment + own
    assert moment is not None
    directions: Tensor = torch.linalg.eigh(moment).eigenvectors.flip(1)
    return directions


def _pairs(
    bench: Bench, pre: State, post: State, sites: list[Site]
) -> Iterator[tuple[Batch, dict[Site, Tensor], dict[Site, Tensor]]]:
    """Run every batch under both states; yields what the late and the early one hold."""
    for batch in bench.open_packer:
        late: dict[Site, Tensor] = {}
        early: dict[Site, Tensor] = {}
        for state, into in ((post, late), (pre, early)):
            bench.mixture.hold(state)
            with record(bench.sites, sites, into):
                bench.run(batch)
        yield batch, late, early


def wanted_kinds(bench: Bench, batch: Batch, questions: np.ndarray) -> Tensor:
    """Return kinds of slots, 0 in the lines of questions that are not read."""
    kinds = bench.kinds(batch)
    line = np.zeros(len(kinds), dtype=np.bool_)
    line[batch.owner.cpu().numpy()] = questions[bench.plan.question[batch.rows]]
    return kinds * torch.from_numpy(line).to(kinds.device)[:, None]
