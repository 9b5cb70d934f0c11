"""One row of the ranked table of changes: is it abrupt, and before, with or after the jump?"""

from dataclasses import dataclass

from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.change_point import word_of
from critical_phase.analysis.jumps.resolution import order_of, within
from critical_phase.analysis.jumps.series_change import SeriesChange

AT_LIMIT = "p at the resolution limit"
"""Verdict of a change that no simulated curve matches, but of which there are too few."""


@dataclass(frozen=True, slots=True)
class RankedChange:
    """One row of the ranked table."""

    change: SeriesChange
    p_adjusted: float
    lead: float | None
    """tau minus tau of the jump, in steps; None without a jump."""
    lead_interval: tuple[float, float] | None
    p_family: float = float("nan")
    """Chance that any series of the table looks as abrupt, all being smooth (max-T)."""
    floor: float | None = None
    """Gap between the checkpoints around tau and around the jump: the least lead, in steps.

    None without a lead, and for the jump itself.
    """
    reach: float | None = None
    """How close to the jump is with it, in steps (`resolution.near`); None where `floor` is."""

    @property
    def order(self) -> str:
        """Say `before`, `after` or `with` the jump, or `unresolved`; nothing if not abrupt."""
        if not self.abrupt:
            return ""
        return order_of(self.lead, self.lead_interval, self.floor, self.reach)

    @property
    def with_jump(self) -> bool:
        """Say whether the change is with the jump: no clear lead, and no room for a far one.

        The interval comes within `floor` of zero, and the whole of it lies within `reach`.
        """
        return self.touches and within(self.lead_interval, self.reach)

    @property
    def touches(self) -> bool:
        """Say whether the interval of the lead comes within one gap between checkpoints of zero.

        Nearer than that a quantity that is not linear in another may lead it.
        """
        if not self.abrupt or self.lead_interval is None or self.floor is None:
            return False
        return self.lead_interval[0] <= self.floor and self.lead_interval[1] >= -self.floor

    @property
    def abrupt(self) -> bool:
        """Say whether the change is abrupt after adjusting for all tests."""
        return self.p_adjusted <= LEVEL and self.change.test.found

    @property
    def verdict(self) -> str:
        """Say abrupt, smooth, not smooth without an abrupt change, or p at its limit."""
        test = self.change.test
        if not self.p_adjusted <= LEVEL and test.found and test.at_limit:
            return AT_LIMIT
        return word_of(self.p_adjusted, test.share)
