"""What interventions in the model say, as verdicts read it.

An intervention changes one thing between an early and a late checkpoint and asks how much of
the change of the margin comes or goes with it. The share is a ratio of sums over questions,
since ratios of single questions explode where nothing moved. Reference: 2404.15255 (what is
sufficient and what is necessary are two questions).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Plan = Literal[
    "constant_vector", "erase_direction", "prefix_graft", "pattern_graft", "frozen_attention"
]
"""`constant_vector`: the late update is replaced by its mean shift, fitted on other questions.
`erase_direction`: the direction that the base's probe reads is erased in the late model.
`prefix_graft`: late adapters of the first layers are put into the early model.
`pattern_graft`: late attention patterns are put into the early model.
`frozen_attention`: the late model attends as the early one does."""

NECESSARY: tuple[Plan, ...] = ("erase_direction", "frozen_attention")
"""Plans whose share is what is lost; the share of all others is what is gained."""


@dataclass(frozen=True, slots=True)
class Intervention:
    """One intervention with its control, over questions that chose nothing."""

    plan: Plan
    about: str
    """What was put where, in words."""
    share: float
    """Share of the margin's change that comes with it, or, of `NECESSARY` plans, goes."""
    interval: tuple[float, float]
    """95 % interval over questions."""
    control: str
    """What the control did: a random direction of the same norm, other layers, ..."""
    control_share: float
    control_interval: tuple[float, float]
    questions: int

    @property
    def beats_control(self) -> bool:
        """Say whether the share lies above all that the control could have brought."""
        return self.interval[0] > self.control_interval[1]

    @property
    def text(self) -> str:
        """Say what was found, in one clause."""
        verb = "takes away" if self.plan in NECESSARY else "brings"
        (low, high), (below, above) = self.interval, self.control_interval
        return (
            f"{self.about} {verb} {self.share:.2f} [{low:.2f}, {high:.2f}] of the margin's change;"
            f" {self.control} {self.control_share:.2f} [{below:.2f}, {above:.2f}]"
            f" ({self.questions} questions)"
        )


def of_plan(found: Sequence[Intervention], plan: Plan) -> tuple[Intervention, ...]:
    """Return every intervention of a plan."""
    return tuple(one for one in found if one.plan == plan)
