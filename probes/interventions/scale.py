"""Plan `scale`: the update times a number, early and late; can the early one be scaled up?"""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from critical_phase.probes.interventions.contract import Cell, Headline, Outcome, Value
from critical_phase.probes.interventions.lab import Lab
from critical_phase.probes.interventions.update import State, Term, scaled


class Scale:
    """Multiplies whole updates, never factors.

    Where the late direction is there early and only too small (scale), the early update times
    some number reproduces the late one; where it is not, no number does.
    """

    name: ClassVar[str] = "scale"
    about: ClassVar[str] = "the update times alpha; does an early one, scaled up, bring the jump?"
    options: ClassVar[Mapping[str, str]] = {
        "early": "0.5,1,1.5,2,3,5,10,20",
        "late": "0,0.25,0.5,0.75,1,1.25,1.5,2",
        "draws": "5",
    }

    def run(self, lab: Lab) -> Outcome:
        """Measure both lines of doses; choose the best early one on the questions that choose."""
        lab.check(lines=("early", "late"))
        small = _norm(lab, lab.pre)
        if not small > 0:
            return _nothing_early(lab)
        size = _norm(lab, lab.post) / small
        doses = sorted({*lab.numbers("early"), size})
        early = [_cell("early", lab.pre, dose) for dose in doses]
        late = [_cell("late", lab.post, dose) for dose in lab.doses("late")]
        lab.measure(*early, *late)
        # Times 1 is the early model itself, which answers nothing.
        tried = [cell for cell in early if cell.axes["dose"] != 1.0] or early
        shares = [lab.share(cell) for cell in tried]
        best = tried[int(np.argmax(shares))]
        dose = float(best.axes["dose"])
        controls = [_random(lab, dose, i) for i in range(lab.draws)]
        lab.measure(*controls)
        headline = Headline(
            "scale",
            f"the early update times {dose:.3g}, the best of {len(tried)} factors on other"
            " questions, in place of the late one,",
            best.name,
            "the early model with random updates of the norms that this adds",
            tuple(one.name for one in controls),
            doses=tuple(one.name for one in early),
            adapters=True,
        )
        notes = [
            f"the late update is {size:.3g} times as large as the early one (Frobenius norm over"
            " all modules); this factor is among those tried"
        ]
        if max(shares) <= 0:
            notes.append("no factor brings anything of the margin's change on those questions")
        paths = {"early": tuple(c.name for c in early), "late": tuple(c.name for c in late)}
        return Outcome((headline,), tuple(notes), paths)


def _nothing_early(lab: Lab) -> Outcome:
    """Measure the late line alone: no multiple of nothing is anything."""
    late = [_cell("late", lab.post, dose) for dose in lab.doses("late")]
    lab.measure(*late)
    note = "the early update is nothing, so no factor was tried on it and nothing speaks"
    return Outcome((), (note,), {"late": tuple(cell.name for cell in late)})


def _cell(which: str, state: State, dose: float) -> Cell:
    axes: dict[str, Value] = {"set": f"{which} scaled", "dose": dose}
    about = f"the {which} update times {dose:.4g}"
    return Cell(f"{which}/{dose:.6g}", about, scaled(state, dose), axes=axes)


def _random(lab: Lab, dose: float, draw: int) -> Cell:
    """Add to the early model random updates as large as what scaling adds to it."""
    lab.sources.add_random(f"random:{draw}", lab.ends, lab.seed * 1_000_003 + draw)
    state: dict[str, tuple[Term, ...]] = {}
    for module, terms in lab.pre.items():
        size = abs(dose - 1.0) * lab.sources.norm(terms, module)
        state[module] = (*terms, Term(f"random:{draw}", size))
    axes: dict[str, Value] = {"set": "control", "draw": draw}
    about = f"random updates as large as {dose - 1.0:.3g} times the early one, draw {draw}"
    return Cell(f"control/{dose:.6g}/{draw}", about, state, axes=axes)


def _norm(lab: Lab, state: State) -> float:
    return float(np.sqrt(sum(lab.sources.norm(t, m) ** 2 for m, t in state.items())))
