"""Normalise scores by the length of the answer, or by how likely it is without the question.

Reference: lm-evaluation-harness `acc`, `acc_norm`, `acc_bytes`; PMI_DC 2104.08315.
"""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows
from critical_phase.errors import ConfigError, ShapeError

Normalisation = Literal["sum", "per_char", "per_token", "per_byte"]
"""Nothing, or what a score is divided by: characters, tokens or UTF-8 bytes of the answer."""

NORMALISATIONS: tuple[Normalisation, ...] = get_args(Normalisation)


def normalise(
    rows: Rows, values: Float[np.ndarray, "*rest row"], how: str
) -> Float[np.ndarray, "*rest row"]:
    """Divide combined scores by the length of their answers.

    Args:
        rows: The candidates the scores belong to.
        values: Scores of one mode, after the heads were combined.
        how: `sum`, `per_char` (acc_norm: characters of the answer without the space
            before it), `per_token` or `per_byte`.

    Returns:
        Scores of the same shape, in float64. An empty answer counts as one long.

    Raises:
        ConfigError: No normalisation of that name.
        ShapeError: As many scores as rows are needed.
    """
    if how not in NORMALISATIONS:
        raise ConfigError(f"asked for {how}, known are {', '.join(NORMALISATIONS)}")
    if values.shape[-1] != rows.question.size:
        raise ShapeError(f"{rows.question.size} rows, but {values.shape[-1]} scores are given")
    result: np.ndarray = np.asarray(values, dtype=np.float64) / _lengths(rows, how)
    return result


def pmi_dc(
    scores: Float[np.ndarray, "*rest row"], domain: Float[np.ndarray, "*rest row"]
) -> Float[np.ndarray, "*rest row"]:
    """Subtract log P(answer | domain premise) from log P(answer | question)."""
    difference: np.ndarray = np.asarray(scores, dtype=np.float64) - domain
    return difference


def _lengths(rows: Rows, how: str) -> Int[np.ndarray, " row"]:
    """Return what each score is divided by, at least one."""
    lengths = {
        "sum": np.ones_like(rows.tokens),
        "per_char": rows.characters,
        "per_token": rows.tokens,
        "per_byte": rows.bytes,
    }[how]
    counted: np.ndarray = np.maximum(lengths, 1)
    return counted
