"""Tables and facts of the measure `similarity`: longest steps, and what one vector explains."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.inference.bootstrap import interval
from critical_phase.analysis.results import Table, column
from critical_phase.analysis.states.path_share import distance
from critical_phase.analysis.states.similarity_layer import LayerPath


@dataclass(frozen=True, slots=True)
class ConstantVector:
    """What a verdict on one constant vector needs of one layer."""

    head: str
    layer: int
    step: int
    """Last checkpoint, where `phi` and `cka` are taken."""
    phi: float
    """Share of squared change that is one vector common to all questions."""
    phi_interval: tuple[float, float]
    cka: float
    """CKA within questions to the base: 1 where candidates keep their arrangement."""
    cka_interval: tuple[float, float]
    jump: float
    """Largest rise of phi between neighbouring checkpoints."""
    jump_interval: tuple[float, float]
    """Of the rise at that place; the place was chosen for being the largest."""
    jump_steps: tuple[int, int]
    """The two checkpoints of the rise."""


def constant_vector(
    path: LayerPath, weights: Float[np.ndarray, "draw question"]
) -> ConstantVector | None:
    """Return the facts of one layer, None where it never moved."""
    phi, cka = path.found["constant_shift"], path.found["cka_base"]
    moved = np.flatnonzero(np.isfinite(phi).all(axis=1) & np.isfinite(cka).all(axis=1))
    if not moved.size:
        return None
    last = int(moved[-1])
    rise = np.diff(phi[moved], axis=0)
    at = int(np.argmax(rise.mean(axis=1))) if rise.size else 0
    ends = (int(moved[at]), int(moved[min(at + 1, moved.size - 1)]))
    rising = phi[ends[1]] - phi[ends[0]]
    return ConstantVector(
        path.head,
        path.layer,
        int(path.steps[last]),
        float(phi[last].mean()),
        band(weights, phi[last]),
        float(cka[last].mean()),
        band(weights, cka[last]),
        float(rising.mean()),
        band(weights, rising),
        (int(path.steps[ends[0]]), int(path.steps[ends[1]])),
    )


def band(
    weights: Float[np.ndarray, "draw question"], values: Float[np.ndarray, " question"]
) -> tuple[float, float]:
    """Return the question-bootstrap interval of a mean."""
    low, high = interval(weights @ values)
    return float(low), float(high)


def longest_steps(paths: Sequence[LayerPath], weights: Float[np.ndarray, "draw question"]) -> Table:
    """List, per layer, the step that makes up most of the path, beside its controls."""
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("from", "from", "step"),
        column("to", "to", "step"),
        column("share", "share of the path"),
        column("low", "low"),
        column("high", "high"),
        column("even", "share at an even pace"),
        column("first_half", "same, first half of the questions"),
        column("second_half", "same, second half"),
        column("distance", "d"),
        column("random", "d of a random change of equal norm"),
    ]
    caption = (
        "d = sqrt(2 - 2 CKA within questions) between neighbouring checkpoints. The longest step"
        " was chosen for its share, so its interval is somewhat too high; it stands out only if"
        " both halves of the questions put a like share there, well above an even pace."
    )
    rows = [row for path in paths if (row := _longest(path, weights)) is not None]
    return Table("longest_steps", "Longest steps", caption, columns, rows)


def _longest(
    path: LayerPath, weights: Float[np.ndarray, "draw question"]
) -> list[str | int | float] | None:
    """Describe the longest step of one layer."""
    at = path.longest
    if at is None or at == 0:
        return None
    share = path.found["step_share"]
    low, high = band(weights, share[at])
    return [
        path.head,
        layer_label(path.layer),
        int(path.steps[at - 1]),
        int(path.steps[at]),
        float(share[at].mean()),
        low,
        high,
        1 / int(np.isfinite(share).all(axis=1).sum()),
        float(path.half_shares[0, at]),
        float(path.half_shares[1, at]),
        float(distance(float(path.found["cka_step"][at].mean()))),
        path.random_distance,
    ]
