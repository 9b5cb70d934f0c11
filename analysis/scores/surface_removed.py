"""Scores without what the surface of the answers explains, question by question.

Partial regression (Frisch and Waugh 1933): scores and surface features are both centred within
questions, one line through all candidates is fitted, and what it leaves is kept. No label is
used. Whatever tells right from wrong *and* follows the surface is taken out too, so what is
left is a lower bound on what needs more than the surface.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.inputs import Rows, mean_by_question


def surface_features(
    rows: Rows, alone: Float[np.ndarray, " row"] | None = None
) -> Float[np.ndarray, "feature row"]:
    """Return length in characters and tokens, and the answer's own likelihood where scored.

    Args:
        rows: The candidates.
        alone: Log-likelihood of every answer under the base without its question.

    Returns:
        Features centred within questions and scaled to 1; constant ones are left out.
    """
    found: Sequence[np.ndarray] = [
        rows.characters,
        rows.tokens,
        *([] if alone is None else [alone]),
    ]
    table = np.stack([np.asarray(one, dtype=np.float64) for one in found])
    table = table - mean_by_question(rows, table)[:, rows.question]
    size = table.std(axis=1)
    kept: np.ndarray = table[size > 1e-12] / size[size > 1e-12, None]
    return kept


def without_surface(
    rows: Rows,
    scores: Float[np.ndarray, "step row"],
    features: Float[np.ndarray, "feature row"],
) -> Float[np.ndarray, "step row"]:
    """Take out of the scores of every step what a line through the features explains.

    Args:
        rows: The candidates.
        scores: Scores to compare within questions.
        features: As `surface_features` returns them.

    Returns:
        Residuals, centred within questions.
    """
    inside = scores - mean_by_question(rows, scores)[:, rows.question]
    if not len(features):
        return np.asarray(inside)
    slopes = np.linalg.lstsq(features.T, inside.T, rcond=None)[0]
    left: np.ndarray = inside - slopes.T @ features
    return left
