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
    """Of the mean of its draws."""
    questions: int
    control_another: tuple[float, float] | None = None
    """Where one more draw of the control lies, 95 %; None where it was not drawn at random."""
    head: str = ""
    """Head that both ends are of; empty where that is not known."""
    mode: str = ""
    between: tuple[int, int] | None = None
    """Steps of the two ends; None where they are not known."""

    @property
    def beats_control(self) -> bool:
        """Say whether the share lies above the control, and above one more draw of it."""
        another = self.control_another or self.control_interval
        return self.interval[0] > max(self.control_interval[1], another[1])

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


def of_jump(
    found: Sequence[Intervention], head: str, mode: str, tau: float | None
) -> tuple[Intervention, ...]:
    """Return those that are about a jump: of its head and mode, with it between their ends.

    What is not known of an intervention does not leave it out.

    Args:
        found: Interventions.
        head: The head that mechanisms are looked for in.
        mode: Whose jump it is.
        tau: Its step; None where there is none.
    """
    return tuple(
        one
        for one in found
        if one.head in ("", head)
        and one.mode in ("", mode)
        and (one.between is None or tau is None or one.between[0] < tau < one.between[1])
    )
