"""Files of curvature: one small JSON object per checkpoint."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from critical_phase.probes.fisher_trace import SquaredNorms
from critical_phase.probes.keyed_files import number, step_path
from critical_phase.probes.lanczos import TopEigenvalue

FOLDER = "curvature"
DIGITS = 9
"""Digits of a squared norm: more than float32 gradients have."""


def curvature_path(run: Path, head: str, step: int, *, control: bool = False) -> Path:
    """Return where what was measured at a checkpoint, or at its random twin, belongs."""
    return step_path(run, FOLDER, head, step, control=control)


def fisher_json(norms: SquaredNorms) -> dict[str, Any]:
    """Write squared norms down, question by question."""
    each = norms.drawn.mean(axis=0)
    return {
        "modules": list(norms.modules),
        "fisher": _listed(each.sum(axis=0)),
        "fisher_modules": [_listed(row) for row in each],
        "fisher_draws": _listed(norms.drawn.sum(axis=1).mean(axis=1)),
        "true_answer": _listed(norms.true.sum(axis=0)),
        "true_answer_modules": _listed(norms.true.mean(axis=1)),
    }


def top_json(found: Sequence[TopEigenvalue]) -> list[dict[str, Any]]:
    """Write eigenvalues down, one per sample of examples."""
    return [
        {"value": number(one.value), "residual": number(one.residual), "products": one.products}
        for one in found
    ]


def _listed(values: Float[np.ndarray, " n"]) -> list[float]:
    return [float(f"{value:.{DIGITS}g}") for value in values]
