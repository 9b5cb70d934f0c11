"""Held-out scores of other kinds of probe, in folds that keep questions whole."""

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.probing.conditional_logit import conditional_logit
from critical_phase.analysis.probing.linear_probe import rotate, within_centred
from critical_phase.analysis.probing.question_blocks import choices, contrasts, groups_of
from critical_phase.analysis.states.row_subset import take_questions

FOLDS = 5

MOST_AXES = 512
"""Most axes of a logistic fit."""

MASS_MEAN = 1e8
"""Ridge penalty at which a probe is the mass-mean direction: mean of right minus mean of all.

H tends to K / penalty, so the held-out prediction tends to the sum over other questions of
x . (right candidate - mean of its candidates), Marks and Tegmark (2310.06824).
"""

STRENGTHS = (1.0, 10.0, 100.0, 1000.0)
"""Ridge penalties of logistic fits on features of unit spread; C = 1 / strength."""


def whole_folds(rows: Rows, rng: np.random.Generator) -> Int[np.ndarray, " question"]:
    """Give every question a fold; candidates of a question are never torn apart."""
    return np.asarray(rng.permutation(len(rows.question_ids)) % FOLDS)


def logit_scores(
    rows: Rows, x: Float[np.ndarray, "row d"], fold: Int[np.ndarray, " question"]
) -> Float[np.ndarray, "strength row"]:
    """Score every question by a conditional logit of the other folds, at every strength."""
    out = np.empty((len(STRENGTHS), len(x)))
    for part in range(FOLDS):
        known = take_questions(rows, fold != part)
        held = (fold == part)[rows.question]
        groups, own = groups_of(known), x[~held]
        right = choices(groups, known.correct.astype(np.float64))
        start = None
        for at in range(len(STRENGTHS))[::-1]:
            start = conditional_logit(own, groups, right, STRENGTHS[at], start).weights
            out[at, held] = x[held] @ start
    return out


def row_logistic_scores(
    rows: Rows, x: Float[np.ndarray, "row d"], fold: Int[np.ndarray, " question"]
) -> Float[np.ndarray, "strength row"]:
    """Score by scikit-learn's logistic regression of right against wrong rows."""
    from sklearn.linear_model import LogisticRegression  # a second, and pandas with it

    out = np.empty((len(STRENGTHS), len(x)))
    for part in range(FOLDS):
        held = (fold == part)[rows.question]
        for at, strength in enumerate(STRENGTHS):
            solver = "newton-cholesky" if x.shape[1] <= len(x) else "lbfgs"
            model = LogisticRegression(C=1 / strength, solver=solver, max_iter=1000)
            model.fit(x[~held], rows.correct[~held])
            out[at, held] = x[held] @ model.coef_[0]
    return out


def logit_features(rows: Rows, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row axis"]:
    """Centre within questions and turn wide features into their principal axes.

    Penalised fits hang on inner products alone, so nothing is lost unless there are more
    than `MOST_AXES` axes; then those of least variance are left out.
    """
    centred = within_centred(rows, x)
    few = contrasts(groups_of(rows), x)
    if x.shape[1] <= min(len(few), MOST_AXES):
        return centred
    rotated = rotate(few, len(x))
    power = np.where(rotated.power > 0, rotated.power, 1.0)
    axes = rotated.axes if rotated.axes is not None else few.T @ (rotated.z / power)
    return np.asarray(centred @ axes[:, ::-1][:, :MOST_AXES])
