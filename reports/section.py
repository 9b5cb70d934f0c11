"""One section of a page: what was measured, and what of it is shown at once."""

from dataclasses import dataclass

from critical_phase.reports.elements import Measure
from critical_phase.reports.panels import Chart, MapFigure

OPEN_MAPS = 6
"""Map figures of a measure that are shown at once; the rest unfolds."""


@dataclass(frozen=True, slots=True)
class Section:
    """One measure on the page, or a plain note that it is missing."""

    id: str
    measure: str
    title: str
    intro: str
    group: str
    found: Measure | None
    charts: tuple[Chart, ...]
    maps: tuple[MapFigure, ...]
    open: bool = False
    """Whether it starts unfolded."""

    @property
    def extent(self) -> str:
        """Say how much there is to unfold."""
        if self.found is None:
            return "not measured"
        figures, tables = len(self.charts) + len(self.maps), len(self.found.tables)
        counts = ((figures, "figure"), (tables, "table"), (len(self.found.tokens), "question"))
        return ", ".join(f"{n} {word}{'s' if n > 1 else ''}" for n, word in counts if n)

    @property
    def open_charts(self) -> tuple[Chart, ...]:
        """Charts shown at once: those whose numbers no map shows."""
        return tuple(chart for chart in self.charts if not self._mapped(chart))

    @property
    def open_maps(self) -> tuple[MapFigure, ...]:
        """Maps shown at once."""
        return self.maps[:OPEN_MAPS]

    @property
    def more_charts(self) -> tuple[Chart, ...]:
        """Charts by layer that repeat a map, with intervals."""
        return tuple(chart for chart in self.charts if self._mapped(chart))

    @property
    def more_maps(self) -> tuple[MapFigure, ...]:
        """Maps that unfold on request."""
        return self.maps[OPEN_MAPS:]

    def _mapped(self, chart: Chart) -> bool:
        stems = {item.id.split(".")[0] for figure in self.maps for item in figure.maps}
        return chart.layered and chart.curves[0].id.split(".")[0] in stems
