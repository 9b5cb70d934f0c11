"""A second run that differs from the one analysed in one planned thing: its control."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

ControlKind = Literal["irrelevant", "unrelated", "right_answers", "slow"]
"""What the control changes, everything else equal. Its negatives are right answers of other
questions (`irrelevant`), texts from elsewhere (`unrelated`) or the right answers themselves
(`right_answers`): controls of H2. `slow`: the same negatives at a learning rate at most a third
as high, a control of H8."""

PRIOR: tuple[ControlKind, ...] = ("irrelevant", "unrelated", "right_answers")
"""Controls that are compared at equal steps; the other kind at an equal summed rate."""

SummedRate = tuple[Int[np.ndarray, " known"], Float[np.ndarray, " known"]]
"""Steps from 0 on, and the learning rates added up to each."""


@dataclass(frozen=True, slots=True)
class ControlRun:
    """Scores of a control, on the rows of the run that it controls."""

    name: str
    kind: ControlKind
    about: str
    """What differs from the run, in words."""
    seed: int | None
    """Seed that it was trained with, None where that is not known."""
    step_lists: Mapping[str, Int[np.ndarray, " step"]]
    """Steps of each head that have scores, step 0 included."""
    base: Float[np.ndarray, " row"]
    """Scores without an adapter."""
    tables: Mapping[str, Float[np.ndarray, "step row"]]
    """Scores of each head, row by row those of the run."""
    rates: Mapping[str, SummedRate]
    """Summed learning rate of each head whose training log is whole."""
    scores_sha256: str = ""
    """Hash over the hashes of all its score files; empty where there are none."""
    notes: tuple[str, ...] = ()
    """What a reader should know about the files behind it."""

    @property
    def heads(self) -> tuple[str, ...]:
        """Return the heads that have scores."""
        return tuple(self.tables)

    @property
    def noted(self) -> dict[str, object]:
        """Return what a later reader needs to find this control again."""
        return {
            "name": self.name,
            "kind": self.kind,
            "about": self.about,
            "seed": self.seed,
            "scores_sha256": self.scores_sha256,
        }
