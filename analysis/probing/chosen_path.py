"""Hidden states of the chosen layer over training, and held-out predictions from them."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.probing.linear_probe import (
    Choices,
    expected_pairs,
    loqo_predictions,
    rotate,
)
from critical_phase.analysis.probing.probe_choice import Choice
from critical_phase.analysis.probing.prober import permuted_choices
from critical_phase.analysis.probing.question_blocks import Group, choices, contrasts, groups_of
from critical_phase.analysis.scores.margin import right_pairs
from critical_phase.analysis.states.activations import (
    base_scale,
    base_states,
    sorted_steps,
    state_at,
)


@dataclass(frozen=True, slots=True)
class ChosenPath:
    """One head at its chosen layer; features are scaled by the base's spread.

    States are read when they are asked for, one checkpoint at a time, and not kept.
    """

    arrays: RunArrays
    head: str
    choice: Choice
    groups: tuple[Group, ...]
    right: Choices
    steps: Int[np.ndarray, " step"]
    scale: Float[np.ndarray, " d"]

    def features(self, at: int) -> Float[np.ndarray, "row d"]:
        """Return the scaled states of one checkpoint."""
        now = state_at(self.arrays, self.head, self.choice.layer, int(self.steps[at]))
        return np.asarray(now / self.scale)

    def predictions(self, at: int) -> Float[np.ndarray, " row"]:
        """Predict every question by a probe of the same checkpoint that never saw it."""
        x = self.features(at)
        rotated = rotate(contrasts(self.groups, x), len(x))
        if rotated.scale <= 0:
            return np.zeros(len(x))
        guess = loqo_predictions(rotated, self.groups, self.right, [self.choice.penalty])
        return np.asarray(guess[0, :, 0], dtype=np.float64)


def chosen_path(arrays: RunArrays, head: str, choice: Choice) -> ChosenPath:
    """Load the chosen layer of one head."""
    base = base_states(arrays, choice.layer)
    _, steps = sorted_steps(arrays, head)
    groups = groups_of(arrays.rows)
    right = choices(groups, arrays.rows.correct.astype(np.float64))
    return ChosenPath(arrays, head, choice, groups, right, steps, base_scale(arrays.rows, base))


def probe_pairs(arrays: RunArrays, path: ChosenPath) -> Float[np.ndarray, "step question"]:
    """Return the share of right pairs of every question at every checkpoint."""
    guess = np.stack([path.predictions(at) for at in range(path.steps.size)])
    return right_pairs(arrays.rows, guess)


def chance_pairs(
    path: ChosenPath,
    at: int,
    keep: Bool[np.ndarray, " question"],
    permutations: int,
    rng: np.random.Generator,
) -> float:
    """Return what 95 % of permuted labels stay below: right pairs of some questions at a step."""
    x = path.features(at)
    rotated = rotate(contrasts(path.groups, x), len(x))
    if rotated.scale <= 0:
        return 0.5
    right = permuted_choices(path.groups, permutations, rng)
    guess = loqo_predictions(rotated, path.groups, right, [path.choice.penalty])
    level = expected_pairs(guess, path.groups, right)[0, keep].mean(axis=0)
    return float(np.quantile(level, 0.95))


def half_weights(
    weights: Float[np.ndarray, "draw question"], keep: Bool[np.ndarray, " question"]
) -> Float[np.ndarray, "draw some"]:
    """Keep the resamples' weights of some questions, adding to 1 in every draw."""
    some = weights[:, keep]
    total = some.sum(axis=1, keepdims=True)
    return np.asarray(some / np.where(total > 0, total, 1.0))
