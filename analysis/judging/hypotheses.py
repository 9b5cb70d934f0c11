"""The hypotheses, what a verdict on one of them holds, and what it is decided from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.jumps.ranked_change import RankedChange
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.results import MeasureResult
from critical_phase.analysis.scores.curves import NEEDS
from critical_phase.analysis.settings import AnalysisSettings

Kind = Literal["supported", "excluded", "not separable", "not tested"]

ORDER = ("H0b", "H0a", "H0c", "H1", "H2", "H3", "H4", "H5", "H6", "H7", "H8", "H9")
"""Order in which hypotheses are settled."""

CLAIMS = {
    "H0a": "the metric thresholds a smooth margin",
    "H0b": "rounding hides small score changes",
    "H0c": "the schedule sets the place of the jump",
    "H1": "the change has its direction early and only grows",
    "H2": "the negative head learns the surface prior of answers",
    "H3": "the negative head detects the style of wrong answers",
    "H4": "one constant vector was added",
    "H5": "an old feature is read out",
    "H6": "a new representation forms",
    "H7": "attention heads are rerouted",
    "H8": "training became unstable",
    "H9": "many small switches, one per question",
}
"""Hypotheses in words."""

MISSING = {
    "H2": "train with irrelevant answers and with right answers as negatives, and give"
    " those runs as --control to probe analyze",
    "H3": "score the answers without their questions and fit a bag of words on the same examples",
    "H8": "train again at a quarter of the learning rate with equal summed learning rate, and"
    " give that run as --control to probe analyze",
}
"""Experiments that the stored arrays cannot replace."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """One hypothesis with its evidence."""

    hypothesis: str
    verdict: Kind
    effect: float | None
    interval: tuple[float, float] | None
    p_adjusted: float | None
    evidence: tuple[str, ...]
    effect_name: str = ""
    """What the effect is, in words; empty without one."""
    effect_unit: str = ""
    """Unit of effect and interval, `share` where it is a share of one."""
    p_name: str = ""
    """Whose abruptness the p is of; empty without one. No verdict rests on a p alone."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything the rules look at."""

    arrays: RunArrays
    settings: AnalysisSettings
    results: Mapping[str, MeasureResult]
    ranked: tuple[RankedChange, ...]
    accuracy: SeriesChange | None
    margin: SeriesChange | None
    primary: str

    @property
    def jump(self) -> SeriesChange | None:
        """Return the jump of accuracy that findings report, if there is one."""
        found: SeriesChange | None = self.results["changes"].facts["jump"]
        return found

    @property
    def parts(self) -> tuple[str, ...]:
        """Return the heads that the primary mode is made of."""
        return NEEDS[self.primary]

    def at_jump(self, row: RankedChange) -> bool:
        """Say whether a row rises abruptly where accuracy jumps.

        An interval of its lead that merely holds zero shows no more than that no lead was found:
        the whole of it lies within the resolution.
        """
        return row.change.size > 0 and row.with_jump

    def maybe_at_jump(self, row: RankedChange) -> bool:
        """Say whether a row rises abruptly, at the jump or not: its place decides neither."""
        if not row.abrupt or row.change.size <= 0 or row.with_jump:
            return False
        return row.lead is None or row.touches

    @property
    def head(self) -> str:
        """Return the head that mechanisms are looked for in."""
        return "negative" if "negative" in self.arrays.heads else self.arrays.heads[0]

    def adjusted(self, quantity: str) -> float | None:
        """Return the p of a whole-model series after adjusting for all ranked series."""
        for row in self.ranked:
            if row.change.series.quantity == quantity and row.change.series.layer is None:
                return row.p_adjusted
        return None
