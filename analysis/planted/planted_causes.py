"""What interventions would find in a planted world, whose mechanism is known."""

from collections.abc import Mapping

import numpy as np

from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.judging.causal_evidence import Intervention, Plan

SPREAD = 0.4
"""Standard deviation of a question's share, and of what a control does to it."""

ABOUT: dict[Plan, tuple[str, str]] = {
    "constant_vector": (
        "the mean shift of other questions in place of the update",
        "a random vector of the same norm",
    ),
    "erase_direction": (
        "erasing the direction that the base's probe reads",
        "erasing a random direction",
    ),
    "prefix_graft": (
        "late adapters of the first layers in the early model",
        "random adapters of the same norm there",
    ),
    "pattern_graft": (
        "late attention patterns in the early model",
        "patterns of other questions",
    ),
    "frozen_attention": (
        "freezing attention at its early patterns",
        "freezing the attention heads that did not move",
    ),
}
"""What every plan does, and what its control does."""


def interventions_of(
    shares: Mapping[Plan, float], rng: np.random.Generator, questions: int = 60
) -> tuple[Intervention, ...]:
    """Draw the result of every plan for planted shares of the margin's change.

    Args:
        shares: True share of each plan; 0 for plans that are left out. Controls do nothing.
        rng: Source of all randomness.
        questions: Questions that the interventions are made on.

    Returns:
        Shares as ratios of sums over questions, with question-bootstrap intervals.
    """
    change = rng.normal(1.5, 0.3, questions)
    weights = question_weights(questions, 200, rng)
    found = []
    for plan, (about, control) in ABOUT.items():
        bands = []
        for truth in (shares.get(plan, 0.0), 0.0):
            moved = change * rng.normal(truth, SPREAD, questions)
            low, high = interval((weights @ moved) / (weights @ change))
            bands.append((float(moved.sum() / change.sum()), (float(low), float(high))))
        (share, band), (other, beside) = bands
        found.append(Intervention(plan, about, share, band, control, other, beside, questions))
    return tuple(found)
