"""What is true of a planted world, as data: the answers it allows and the changes it holds."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from critical_phase.analysis.judging.hypotheses import ORDER, Kind
from critical_phase.analysis.planted.worlds import PlantedRun

Alarm = Literal["any", "below accuracy"]
"""What counts as a false alarm: any jump or abrupt row, or only rows below accuracy.

Where margins drift steeply, accuracy is rightly steep; then only a margin or a
representation that is called abrupt is wrong.
"""

Answers = dict[str, frozenset[Kind]]

SUPPORTED: frozenset[Kind] = frozenset({"supported"})
EXCLUDED: frozenset[Kind] = frozenset({"excluded"})
OPEN: frozenset[Kind] = frozenset({"supported", "not separable"})
"""Planted, but its kill test needs an intervention or another run."""
FALSE: frozenset[Kind] = frozenset({"excluded", "not separable", "not tested"})
"""Not planted: anything but support."""
TRUE: frozenset[Kind] = frozenset({"supported", "not separable", "not tested"})
"""True beside what is planted, or true in part: anything but exclusion."""
NEITHER: frozenset[Kind] = frozenset({"not separable"})
"""Its control run is there and must decide nothing."""
UNTESTED: frozenset[Kind] = frozenset({"not tested", "not separable"})
"""Its control runs are not there."""

EVERY = ("second_scoring", "collapse", "weights")
"""Measures of every world, beside those that findings need."""

NO_RUN = ("H2", "H3", "H8")
"""Hypotheses that need control runs: open in every world without any."""


@dataclass(frozen=True, slots=True)
class Place:
    """One row of the ranked table: a quantity of a layer and an attention head."""

    quantity: str
    """Stem and head, such as `probe_top1.negative`."""
    layer: int | None = None
    attention_head: int | None = None


@dataclass(frozen=True, slots=True)
class Planted:
    """One draw of a world."""

    run: PlantedRun
    tau: float | None
    """Middle of the planted change of accuracy in steps, None where there is none."""
    margin_tau: float | None = None
    """That of the mean margin, None where there is none."""


@dataclass(frozen=True, slots=True)
class PlantedWorld:
    """A generator with what is true of all its draws."""

    name: str
    planted: str
    """What is planted, in words."""
    make: Callable[[np.random.Generator], Planted]
    answers: Answers
    """Acceptable verdicts; `FALSE` for every hypothesis that is left out."""
    named: str | None = None
    """The hypothesis that is planted, None where no verdict is to be reached."""
    jump: bool | None = None
    """Must a jump be reported? None: it may or may not."""
    alarm: Alarm | None = None
    """How false alarms are counted, None where something changes abruptly."""
    abrupt: tuple[Place, ...] = ()
    """Rows that must be found abrupt."""
    still: tuple[Place, ...] = ()
    """Rows that must not be called abrupt."""
    measures: tuple[str, ...] = ()
    """Measures to run beside `EVERY`."""
    weight: float = 1.0
    """Weight of the subtracted term."""

    def acceptable(self, hypothesis: str) -> frozenset[Kind]:
        """Return the verdicts that are not wrong."""
        rest = UNTESTED if hypothesis in NO_RUN else FALSE
        return self.answers.get(hypothesis, rest)

    def wrong(self, verdicts: Mapping[str, str]) -> tuple[str, ...]:
        """Return the hypotheses whose verdict is not acceptable, with the verdict."""
        return tuple(
            f"{h} {verdicts.get(h, 'missing')}"
            for h in ORDER
            if verdicts.get(h) not in self.acceptable(h)
        )


def answers(**given: frozenset[Kind]) -> Answers:
    """Name the acceptable verdicts of some hypotheses."""
    return dict(given)
