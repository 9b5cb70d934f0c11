"""How sparsity goes with difficulty, with learning late and with being right, as values."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.activity.sparsity import titled
from critical_phase.analysis.inference.partial import Correlation, family_p
from critical_phase.analysis.results import Table, column


@dataclass(frozen=True, slots=True)
class Gap:
    """Change of sparsity on right answers minus that on wrong ones of the same question."""

    value: float
    interval: tuple[float, float]
    """95 % question bootstrap."""
    z: Float[np.ndarray, " permutation"]
    """The gap, then gaps of answers named right at random, over the spread of the latter."""


@dataclass(frozen=True, slots=True)
class Relation:
    """How one sparsity metric goes with difficulty and with learning late."""

    head: str
    where: str
    """`layer 3`, or `last state` (residual stream after the last block, end of the question)."""
    metric: str
    base: Correlation
    """Of sparsity before training with the base margin."""
    change: Correlation
    """Of the change of sparsity with the base margin."""
    late: Correlation | None
    """Of the change with learning late, base margin held fixed."""
    gap: Gap | None
    """Change right minus wrong within question; None where all candidates share the state."""


def relations_table(found: list[Relation]) -> Table:
    """List all relations; p-values are over all rows of the table."""
    base = family_p([one.base for one in found])
    change = family_p([one.change for one in found])
    late = family_p([one.late for one in found if one.late is not None])
    late = late if late else [float("nan")] * len(found)
    gaps = [one.gap for one in found if one.gap is not None]
    most = np.max([np.abs(gap.z[1:]) for gap in gaps], axis=0) if gaps else np.empty(0)
    rows: list[list[object]] = [
        [one.head, one.where, titled(one.metric)[0], *_cells(one.base, b), *_cells(one.change, c),
         *_cells(one.late, t), *_gap_cells(one.gap, most)]
        for one, b, c, t in zip(found, base, change, late, strict=True)
    ]  # fmt: skip
    columns = [
        column("head", "head", kind="text"),
        column("where", "where", kind="text"),
        column("metric", "metric", kind="text"),
        column("base", "before training, with base margin"),
        column("base_interval", "interval"),
        column("base_p", "p", kind="p"),
        column("change", "change, with base margin"),
        column("change_interval", "interval"),
        column("change_p", "p", kind="p"),
        column("late", "change, with learning late, base margin fixed"),
        column("late_interval", "interval"),
        column("late_p", "p", kind="p"),
        column("gap", "change right minus wrong"),
        column("gap_interval", "interval"),
        column("gap_p", "p", kind="p"),
    ]
    caption = (
        "Rank correlations over questions; intervals: 95 % question bootstrap; p: largest"
        " correlation of the whole column under permuted questions, and largest gap where"
        " candidates are named right at random (max-T). The mean change itself is in the table of"
        " sparsity: it compares the same questions, so difficulty does not enter it. Learning"
        " late: the step from which a question stays right, never counted last. Layers: MLP"
        " activations at the end of the answer. Last state: residual stream after the last block"
        " at the end of the question, before the final norm (2603.03415 reads it after), which all"
        " candidates share."
    )
    return Table("sparsity_difficulty", "Sparsity and difficulty", caption, columns, rows)


def _cells(one: Correlation | None, p: float) -> list[object]:
    """Write a correlation, its interval and its p."""
    return [None] * 3 if one is None else [one.value, list(one.interval), p]


def _gap_cells(gap: Gap | None, most: Float[np.ndarray, " permutation"]) -> list[object]:
    """Write a gap, its interval and its p against the largest gap of all rows by chance."""
    if gap is None:
        return [None] * 3
    p = float((1 + (most >= abs(gap.z[0]) - 1e-12).sum()) / (1 + most.size))
    return [gap.value, list(gap.interval), p]
