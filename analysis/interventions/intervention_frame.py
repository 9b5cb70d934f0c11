"""Turns the scores of one head under an intervention into the run's score, margin and accuracy.

An intervention acts on one head; all other terms of the score stay as they are at the late step.
So what is compared differs in that head alone.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from critical_phase.analysis.inference.bootstrap import question_weights
from critical_phase.analysis.inputs import Rows, question_count
from critical_phase.analysis.probing.probe_choice import confirmatory
from critical_phase.analysis.scores.curves import top_hits
from critical_phase.analysis.scores.margin import margins
from critical_phase.analysis.scores.normalisation import normalise
from critical_phase.errors import ConfigError, ShapeError

SIGNS: dict[str, dict[str, int]] = {
    "likra": {"positive": 1, "negative": -1},
    "sft": {"positive": 1},
    "base_likra": {"base": 1, "negative": -1},
    "pos_base": {"positive": 1, "base": -1},
}
"""Terms of each mode; those with a minus are weighted."""


@dataclass(frozen=True, eq=False)
class Frame:
    """How scores of the acting head become answers."""

    rows: Rows
    mode: str
    """`likra`, `sft`, `base_likra` or `pos_base`."""
    head: str
    """The head that interventions act on."""
    weight: float
    """w of the subtracted term."""
    normalisation: str
    """`sum`, `per_char`, `per_token` or `per_byte`, of the combined score."""
    other: Float[np.ndarray, " row"]
    """Log-likelihood of the mode's other term, at the late step; zeros where there is none."""
    pre: Float[np.ndarray, " row"]
    """Log-likelihood of the acting head in the early model."""
    post: Float[np.ndarray, " row"]
    """The same in the late model."""
    draws: int = 1000
    """Question-bootstrap draws."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a head that the mode does not have, and scores of other rows.

        Raises:
            ConfigError: The mode has no term of this head.
            ShapeError: As many scores as rows are needed.
        """
        signs = SIGNS.get(self.mode, {})
        if self.head not in signs or self.head == "base":
            raise ConfigError(
                f"mode {self.mode} has no {self.head} head to act on",
                fix=f"it is made of {', '.join(signs) or 'nothing known'}",
            )
        for name in ("other", "pre", "post"):
            if getattr(self, name).shape != self.rows.question.shape:
                raise ShapeError(f"{name} has other rows than the questions", where="Frame")

    def scores(self, acting: Float[np.ndarray, "cell row"]) -> Float[np.ndarray, "cell row"]:
        """Combine log-likelihoods of the acting head with the other term, and normalise."""
        signs = SIGNS[self.mode]
        rest = next((name for name in signs if name != self.head), "")
        values = self._factor(self.head) * np.asarray(acting, dtype=np.float64)
        if rest:
            values = values + self._factor(rest) * np.asarray(self.other, dtype=np.float64)
        return normalise(self.rows, values, self.normalisation)

    def margins(self, acting: Float[np.ndarray, "cell row"]) -> Float[np.ndarray, "cell question"]:
        """Return the right score minus the best wrong one, per question."""
        return margins(self.rows, self.scores(acting))

    def hits(self, acting: Float[np.ndarray, "cell row"]) -> Float[np.ndarray, "cell question"]:
        """Return 1 for right, 0 for wrong, shares for ties; NaN where a cell separates nothing."""
        return top_hits(self.rows, self.scores(acting)).value

    @cached_property
    def ends(self) -> Float[np.ndarray, "2 question"]:
        """Margins of the early and of the late model."""
        return self.margins(np.stack([self.pre, self.post]))

    @cached_property
    def confirmatory(self) -> Bool[np.ndarray, " question"]:
        """Mark the questions that report; the others choose places, layers and doses."""
        return confirmatory(question_count(self.rows))

    def weights(self, part: Bool[np.ndarray, " question"]) -> Float[np.ndarray, "draw _"]:
        """Return bootstrap weights of the questions of one part, the same at every call."""
        rng = np.random.default_rng([self.seed, 7])
        return question_weights(int(part.sum()), self.draws, rng)

    def _factor(self, term: str) -> float:
        sign = SIGNS[self.mode][term]
        return 1.0 if sign > 0 else -self.weight
