"""Plan `interpolate`: the straight line from the early to the late update, and beyond."""

from collections.abc import Mapping
from typing import ClassVar

from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.update import added, mixed, scaled

HALF = 0.5


class Interpolate:
    """(1 - alpha) * early + alpha * late by concatenated factors, and the barrier on the way."""

    name: ClassVar[str] = "interpolate"
    about: ClassVar[str] = "the straight line from early to late: barrier and crossings"
    options: ClassVar[Mapping[str, str]] = {
        "doses": "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1,1.25,1.5",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Measure the line; half way speaks, beside random updates as far from the early one."""
        lab.check()
        doses = sorted({0.0, HALF, 1.0, *lab.numbers("doses")})
        cells = [_cell(lab, dose) for dose in doses]
        controls = [_random(lab, i) for i in range(lab.draws)]
        lab.measure(*cells, *controls)
        half = next(cell for cell in cells if cell.axes["dose"] == HALF)
        headline = Headline(
            "interpolate",
            "half of the way from the early to the late update",
            half.name,
            "random updates as far from the early one",
            tuple(one.name for one in controls),
            doses=tuple(one.name for one in cells),
            adapters=True,
        )
        return Outcome((headline,), (), {"line": tuple(one.name for one in cells)})


def _cell(lab: Lab, dose: float) -> Cell:
    axes: dict[str, Value] = {"set": "line", "dose": dose}
    about = f"{dose:.4g} of the way from the early to the late update"
    return Cell(f"line/{dose:.6g}", about, mixed(lab.pre, lab.post, dose), axes=axes)


def _random(lab: Lab, draw: int) -> Cell:
    half = scaled(lab.random_beside({}, lab.places, draw), HALF)
    axes: dict[str, Value] = {"set": "control", "draw": draw}
    about = f"random updates half as large as the way from early to late, draw {draw}"
    return Cell(f"control/{draw}", about, added(lab.pre, half), axes=axes)
