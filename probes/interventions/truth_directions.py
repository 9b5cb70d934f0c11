"""Directions along which right and wrong candidates differ, and others to hold beside them.

Mass mean: the mean over questions of right minus wrong (2310.06824). Probe: ridge on rows centred
within their question, w = X'(XX' + lambda I)^-1 (y - 1/k), lambda in units of tr(XX')/n.
"""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.checkpoints.directions import read_directions
from critical_phase.errors import ConfigError, FitError
from critical_phase.probes.interventions.answer_states import AnswerStates, answer_states
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.slot_kinds import KINDS
from critical_phase.probes.interventions.update import State
from critical_phase.probes.interventions.vectors import mean_shifts

FITTED = ("mass_mean", "probe", "shift")
"""Directions that are fitted here; anything else is the name of a file."""
FITS = ("base", "early")
PENALTY = 0.1
"""lambda of the ridge probe in units of tr(K)/n."""


def mass_mean(states: AnswerStates, layer: int) -> Float[np.ndarray, " d"]:
    """Return the mean over questions of the right candidate minus the wrong ones."""
    x, right = states.within(layer), states.right
    gaps = [
        x[mine & right].mean(axis=0) - x[mine & ~right].mean(axis=0)
        for mine in (states.question == one for one in np.unique(states.question))
        if (mine & right).any() and (mine & ~right).any()
    ]
    if not gaps:
        raise FitError("no question that chooses has a right and a wrong candidate")
    return np.asarray(np.mean(gaps, axis=0))


def ridge(states: AnswerStates, layer: int, penalty: float = PENALTY) -> Float[np.ndarray, " d"]:
    """Return the weights of a ridge probe that ranks candidates within their question."""
    return ridge_weights(states.within(layer), states.labels, penalty)


def ridge_weights(
    x: Float[np.ndarray, "row d"], y: Float[np.ndarray, " row"], penalty: float
) -> Float[np.ndarray, " d"]:
    """Solve (X'X + lambda I) w = X'y through the smaller Gram; lambda = penalty tr(XX') / n."""
    n, d = x.shape
    size = penalty * float((x**2).sum()) / n
    if n <= d:
        return np.asarray(x.T @ np.linalg.solve(x @ x.T + size * np.eye(n), y))
    return np.asarray(np.linalg.solve(x.T @ x + size * np.eye(d), x.T @ y))


def top1(x: Float[np.ndarray, "row d"], states: AnswerStates, w: Float[np.ndarray, " d"]) -> float:
    """Return the share of questions whose right candidate has the largest x . w; ties share."""
    values, hits = x @ w, []
    for one in np.unique(states.question):
        mine = states.question == one
        best = np.isclose(values[mine], values[mine].max(), rtol=0, atol=1e-12)
        hits.append(float(states.right[mine][best].mean()))
    return float(np.mean(hits))


def fit_state(lab: Lab) -> State:
    """Return the model that directions are fitted on: the base, or the early one."""
    return {} if lab.one("fit", FITS) == "base" else lab.pre


def directions(lab: Lab, scope: str) -> tuple[dict[int, Float[Tensor, " d"]], str]:
    """Return a unit vector for every layer, and what they are, in words.

    Args:
        lab: Its option `direction` names how they are fitted, or a file; `fit` the model.
        scope: Positions, for the mean shift.

    Raises:
        ConfigError: No such direction; a file of another width or number of layers.
        FitError: A direction of length 0.
    """
    asked, layers = lab.option("direction"), range(lab.bench.sites.layers)
    if asked == "shift":
        shifts = mean_shifts(lab.bench, lab.pre, lab.post, lab.exploratory)
        found = {i: shifts.mean(i, KINDS[scope]) for i in layers}
        return _units(found), "mean shift direction (late minus early)"
    if asked in FITTED:
        states = answer_states(lab.bench, fit_state(lab), lab.exploratory)
        make = mass_mean if asked == "mass_mean" else ridge
        found = {i: torch.from_numpy(make(states, i)) for i in layers}
        return _units(found), f"{asked.replace('_', '-')} direction of the {lab.option('fit')}"
    return _of_file(Path(asked), lab), f"direction of {Path(asked).name}"


def _of_file(path: Path, lab: Lab) -> dict[int, Tensor]:
    if not path.is_file():
        raise ConfigError(
            f"no direction {str(path)!r}", fix=f"choose from {', '.join(FITTED)}, or name a file"
        )
    vectors, layers = read_directions(path).vectors, lab.bench.sites.layers
    width = int(lab.bench.model.config.get_text_config().hidden_size)
    if vectors.shape[1] != width or len(vectors) not in (1, layers):
        raise ConfigError(
            f"the file holds {vectors.shape[0]} directions of width {vectors.shape[1]}, the model"
            f" has {layers} layers of width {width}",
            where=str(path),
            fix="give one direction of this width, or one per layer",
        )
    return {i: torch.from_numpy(vectors[i % len(vectors)].copy()) for i in range(layers)}


def _units(found: dict[int, Tensor]) -> dict[int, Tensor]:
    for layer, vector in found.items():
        if not float(vector.norm()) > 0:
            raise FitError(f"the direction after layer {layer} has length 0")
    return {layer: vector.double() / vector.double().norm() for layer, vector in found.items()}
