"""Within-question ridge probes with exact leave-one-question-out predictions.

Targets are 1 - 1/k for the right candidate and -1/k for the others, rows are compared only
within their question, so a probe ranks candidates and nothing leaks between folds.
One decomposition serves every penalty and every labelling. Reference: docs/methods.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows, mean_by_question
from critical_phase.analysis.probing.question_blocks import Group
from critical_phase.analysis.states.eigen import symmetric_eigen

PENALTIES = tuple(float(f"{p:.3g}") for p in np.geomspace(1e-3, 30.0, 7))
"""Ridge penalties, in units of the mean squared row norm tr(K)/n."""

TRUSTED = {"float32": 1e-5, "float64": 1e-12}
"""Share of the largest prediction below which differences are rounding."""

Choices = Sequence[Int[np.ndarray, "_q label"]]
"""Right candidate of each question, one column per labelling, for every group."""


def within_centred(rows: Rows, x: Float[np.ndarray, "row d"]) -> Float[np.ndarray, "row d"]:
    """Subtract the mean of each question's own rows."""
    centred: np.ndarray = x - mean_by_question(rows, x.T).T[rows.question]
    return centred


def label_contrasts(
    groups: Sequence[Group], right: Choices, dtype: type = np.float64
) -> Float[np.ndarray, "contrast label"]:
    """Write labellings as contrasts: the column of the basis that belongs to the right one."""
    parts = [
        np.moveaxis(one.basis[:, mark], 0, 1).reshape(one.inner.size, mark.shape[1])
        for one, mark in zip(groups, right, strict=True)
    ]
    return np.concatenate(parts).astype(dtype)


@dataclass(frozen=True, slots=True)
class Rotated:
    """Contrasts in their principal axes: K = z z', z'z = diag(power)."""

    z: Float[np.ndarray, "contrast axis"]
    power: Float[np.ndarray, " axis"]
    scale: float
    """Mean squared norm of a centred row, tr(K)/n; 0 where candidates do not differ."""
    axes: Float[np.ndarray, "d axis"] | None
    """Directions in the space of the features; None where that space is the larger one."""


def rotate(x: Float[np.ndarray, "contrast d"], rows: int) -> Rotated:
    """Rotate contrasts into their principal axes, through the smaller of the two Grams.

    Args:
        x: Contrasts, float32 or float64; all further work has their type.
        rows: Number of candidates, which the scale counts.
    """
    small = x.shape[1] <= x.shape[0]
    power, axes = symmetric_eigen(x.T @ x if small else x @ x.T)
    power = np.maximum(power, 0.0)
    scale = float(power.sum()) / rows
    if small:
        return Rotated(x @ axes, power, scale, axes)
    return Rotated(axes * np.sqrt(power), power, scale, None)


@dataclass(frozen=True, slots=True)
class Leverage:
    """What leaving a question out changes, at one penalty, for the questions of one group."""

    apply: Float[np.ndarray, "q k m"]
    """Takes the smoothed contrasts of a question to the predictions of its candidates."""
    own: Float[np.ndarray, "q k k"]
    """What a question's own label had added to its predictions."""


def leverages(
    rotated: Rotated, groups: Sequence[Group], penalties: Sequence[float]
) -> list[list[Leverage]]:
    """Return the leverage of every group at every penalty.

    With H = z diag(1 / (power + penalty)) z', the held-out prediction of a question G is
    (I - H_GG)^-1 ((H y)_G - H_GG y_G).
    """
    shrink = np.stack([shrinkage(rotated, p) for p in penalties], axis=1)
    found = []
    for one in groups:
        many, m = one.inner.shape
        own = rotated.z[one.inner[0, 0] : one.inner[-1, -1] + 1].reshape(many, m, -1)
        rest = np.empty((m, m, many, len(penalties)), dtype=own.dtype)
        for i in range(m):
            for j in range(i + 1):
                rest[i, j] = rest[j, i] = (i == j) - (own[:, i] * own[:, j]) @ shrink
        inverse = np.moveaxis(_inverted(rest), (3, 2), (0, 1))
        basis = one.basis.astype(own.dtype)
        applied = basis.T @ inverse
        added = applied @ basis - basis.T @ basis  # (I - H)^-1 H = (I - H)^-1 - I
        found.append([Leverage(a, b) for a, b in zip(applied, added, strict=True)])
    return [list(at) for at in zip(*found, strict=True)]


def _inverted(table: Float[np.ndarray, "m m *rest"]) -> Float[np.ndarray, "m m *rest"]:
    """Invert many small positive definite matrices at once, by elimination in place."""
    for i in range(len(table)):
        pivot = 1.0 / table[i, i]
        column = table[:, i] * pivot
        row = table[i].copy()
        table -= column[:, None] * row[None]
        table[i], table[:, i] = row * pivot, -column
        table[i, i] = pivot
    return table


def shrinkage(rotated: Rotated, penalty: float) -> Float[np.ndarray, " axis"]:
    """Return 1 / (power + penalty) along every axis."""
    return np.asarray(1.0 / (rotated.power + penalty * rotated.scale), dtype=rotated.z.dtype)


def loqo_predictions(
    rotated: Rotated,
    groups: Sequence[Group],
    right: Choices,
    penalties: Sequence[float] = PENALTIES,
    known: Sequence[Sequence[Leverage]] | None = None,
) -> Float[np.ndarray, "penalty row label"]:
    """Predict every question by a probe that never saw it.

    Args:
        rotated: Features from `rotate`.
        groups: Questions from `groups_of`.
        right: Right candidate of every question, one column per labelling.
        penalties: Ridge penalties, in units of `rotated.scale`.
        known: Result of `leverages` for the same penalties, computed where left out.

    Returns:
        Held-out predictions of every row, for each penalty and labelling.
    """
    z, labels = rotated.z, label_contrasts(groups, right, rotated.z.dtype.type)
    count = sum(one.index.size for one in groups)
    out = np.empty((len(penalties), count, labels.shape[1]), dtype=z.dtype)
    turned = z.T @ labels
    for at, parts in enumerate(known or leverages(rotated, groups, penalties)):
        smooth = z @ (shrinkage(rotated, penalties[at])[:, None] * turned)
        for one, mark, part in zip(groups, right, parts, strict=True):
            own = np.take_along_axis(part.own, mark[:, None, :], axis=2)
            out[at, one.index] = part.apply @ smooth[one.inner] - own
        out[at] = _settled(out[at])
    return out


def _settled(values: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Round to what can be trusted, so that candidates equal but for rounding are tied."""
    grain = values.dtype.type(TRUSTED[values.dtype.name]) * np.abs(values).max(initial=0.0)
    return np.asarray(np.round(values / grain) * grain) if grain > 0 else values


def transfer_predictions(
    train: Float[np.ndarray, "contrast d"],
    tests: Sequence[Float[np.ndarray, "row d"]],
    groups: Sequence[Group],
    right: Choices,
    penalty: float,
) -> Float[np.ndarray, "test row"]:
    """Predict held-out questions of other checkpoints with probes trained at this one.

    The probe without question G is w - A^-1 x_G' (I - H_GG)^-1 (y - H y)_G, A = x'x + penalty.

    Args:
        train: Contrasts of the checkpoint that the probes are trained at.
        tests: Rows of other checkpoints; only differences within questions count.
        groups: Questions.
        right: Right candidate of every question, one column.
        penalty: Ridge penalty, in units of the scale of `train`.

    Returns:
        Predictions of each test checkpoint's rows, centred within questions.
    """
    count = sum(one.index.size for one in groups)
    rotated = rotate(train, count)
    labels = label_contrasts(groups, right, train.dtype.type)[:, 0]
    shrink = shrinkage(rotated, penalty)
    left = labels - rotated.z @ (shrink * (rotated.z.T @ labels))
    parts = leverages(rotated, groups, [penalty])[0]
    solved = _solved(train, rotated, shrink)
    whole = labels @ solved
    out = np.empty((len(tests), count), dtype=train.dtype)
    for one, part in zip(groups, parts, strict=True):
        gone = np.einsum("mk,qkn,qn->qm", one.basis, part.apply, left[one.inner])
        weights = whole - np.einsum("qm,qmd->qd", gone, solved[one.inner])
        for at, test in enumerate(tests):
            guess = (test[one.index] @ weights[:, :, None])[:, :, 0]
            out[at, one.index] = guess - guess.mean(axis=1, keepdims=True)
    return np.stack([_settled(line) for line in out])


def _solved(
    train: Float[np.ndarray, "contrast d"],
    rotated: Rotated,
    shrink: Float[np.ndarray, " axis"],
) -> Float[np.ndarray, "contrast d"]:
    """Return x (x'x + penalty)^-1, through whichever Gram was decomposed."""
    if rotated.axes is not None:
        return np.asarray((rotated.z * shrink) @ rotated.axes.T)
    rest: np.ndarray = np.sqrt(np.where(rotated.power > 0, rotated.power, 1.0))
    axes = rotated.z / rest
    return np.asarray((axes * shrink) @ (axes.T @ train))


def expected_hits(
    predictions: Float[np.ndarray, "penalty row label"],
    groups: Sequence[Group],
    right: Choices,
) -> Float[np.ndarray, "penalty question label"]:
    """Say per question whether the right candidate ranks first; ties share."""
    count = sum(len(one.index) for one in groups)
    hits = np.empty((len(predictions), count, predictions.shape[2]))
    for one, mark in zip(groups, right, strict=True):
        block = predictions[:, one.index]
        at_top = block == block.max(axis=2, keepdims=True)
        found = np.take_along_axis(at_top, mark[None, :, None, :], axis=2)[:, :, 0]
        hits[:, one.question] = found / at_top.sum(axis=2)
    return hits


def expected_pairs(
    predictions: Float[np.ndarray, "penalty row label"],
    groups: Sequence[Group],
    right: Choices,
) -> Float[np.ndarray, "penalty question label"]:
    """Return per question the share of wrong candidates below the right one; ties count half."""
    count = sum(len(one.index) for one in groups)
    pairs = np.empty((len(predictions), count, predictions.shape[2]))
    for one, mark in zip(groups, right, strict=True):
        block = predictions[:, one.index]
        own = np.take_along_axis(block, mark[None, :, None, :], axis=2)
        won = ((own > block) + 0.5 * (own == block)).sum(axis=2) - 0.5
        pairs[:, one.question] = won / (one.index.shape[1] - 1)
    return pairs
