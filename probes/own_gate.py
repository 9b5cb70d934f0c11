"""Prove that a user's collector reads each row at its own place, whatever shares its batch."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from critical_phase.errors import ConfigError
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Arrays, Collector, Scene, SecondPass
from critical_phase.probes.forward import allocate, attached, one_pass
from critical_phase.probes.layout import TOLERANCES, gate_questions
from critical_phase.probes.scoring import Scorer


@torch.no_grad()
def check_batch_free(
    scene: Scene,
    collectors: Sequence[Collector],
    sizes: dict[str, int],
    packer: Packer,
    naive: Packer,
) -> None:
    """Compare what collectors give for two questions together and for their rows alone.

    Args:
        scene: The model and the plan.
        collectors: Those of the user's own files.
        sizes: Length of each axis by name.
        packer: The layout that will be used.
        naive: Single rows.

    Raises:
        ConfigError: A value depends on what else is in the batch.
    """
    questions = gate_questions(scene.plan)
    rows = torch.tensor([row for q in questions for row in scene.plan.rows_of[q]])
    for collector in collectors:
        if isinstance(collector, SecondPass):
            continue
        together = _values(scene, collector, sizes, packer.few(questions))
        alone = _values(scene, collector, sizes, naive.alone(questions))
        for dataset in collector.datasets:
            if "row" not in dataset.dims:
                continue
            axis = dataset.dims.index("row")
            ours, theirs = (a[dataset.name].index_select(axis, rows) for a in (together, alone))
            gap = _gap(ours, theirs)
            limit = TOLERANCES.get(scene.model.dtype, 1e-4)  # type: ignore[call-overload]
            if gap > limit:
                raise ConfigError(
                    f"collector {collector.name!r}: {dataset.name!r} depends on what else is in "
                    f"the batch (relative difference {gap:.1e}, limit {limit:.0e})",
                    fix="read x[batch.owner, batch.ends[:, 1]], never fixed places such as "
                    "x[:, -1]; store at batch.rows",
                )


def _values(
    scene: Scene, collector: Collector, sizes: dict[str, int], batches: Iterable[Batch]
) -> Arrays:
    arrays, scorer = allocate([collector], sizes), Scorer(scene.sites.unembed, scene.plan.rows)
    with attached([scorer, collector]):
        for batch in batches:
            one_pass(scene.model, batch, scorer, [collector], arrays)
    return arrays


def _gap(ours: Tensor, theirs: Tensor) -> float:
    a, b = ours.double(), theirs.double()
    scale = float(b.abs().max().clamp(min=1e-12)) if b.numel() else 1.0
    gap = float((a - b).abs().max()) / scale if b.numel() else 0.0
    return gap if gap == gap else float("inf")
