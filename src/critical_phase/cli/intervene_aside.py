"""What interventions do beside the questions: on neutral texts, and in another task."""

from typing import Any

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.interventions.intervention_claim import Beside
from critical_phase.analysis.interventions.intervention_effect import number
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.cli.intervene_inputs import InterveneSettings, Ready, source
from critical_phase.cli.intervene_work import Table, other_term
from critical_phase.cli.plan_rows import rows_of_plan
from critical_phase.probes.interventions import Bench, Cell, drift

NOT_DONE = (
    "another task is not done by this score ({early:.2f}, chance {chance:.2f}): no loss shows"
)
"""Why a task that the early model's score does not do says nothing."""


class Aside:
    """What is measured beside the questions: neutral texts and another task."""

    def __init__(self, ready: Ready, table: Table, settings: InterveneSettings) -> None:
        """Make the benches of the other rows."""
        self._ready, self._table = ready, table
        mixture, tokens = table.bench.mixture, settings.batch_tokens
        self._texts = (
            None if ready.texts is None else Bench(mixture, ready.texts.plan, batch_tokens=tokens)
        )
        self._second = (
            None if ready.second is None else Bench(mixture, ready.second, batch_tokens=tokens)
        )
        self._late: Float[np.ndarray, " text"] | None = None

    def of(self, cell: Cell, controls: list[Cell]) -> tuple[dict[str, Any], Beside]:
        """Measure one answer's drift and other task."""
        ready, states = self._ready, self._table.states
        early = states[source(ready.ends.early)]
        values: dict[str, Any] = {"drift": None, "second": None}
        drifts: dict[str, float] = {}
        if self._texts is not None and ready.texts is not None:
            if self._late is None:
                late = states[source(ready.ends.late)]
                self._late = drift(self._texts, ready.texts, early, late)
            found = {"cell": drift(self._texts, ready.texts, early, cell.state, cell.edit)}
            for one in controls:
                found["control"] = drift(self._texts, ready.texts, early, one.state, one.edit)
            found["late"] = self._late
            drifts = {name: float(one.mean()) for name, one in found.items()}
            values["drift"] = {
                "unit": "nats per token, KL(changed || early), mean over texts",
                "texts": len(ready.texts.texts),
                **{name: self._mean(one) for name, one in found.items()},
            }
        second, why = None, ""
        if self._second is not None:
            values["second"] = self._other_task(cell)
            band = values["second"]["change_interval"]
            # Scores that separate nothing have no accuracy, so no change of one.
            second = (band[0], band[1]) if np.isfinite(band).all() else None
            if second is not None and not values["second"]["done"]:
                second, why = None, NOT_DONE.format(**values["second"])
        return values, Beside(drifts.get("cell"), drifts.get("late"), second, why)

    def _other_task(self, cell: Cell) -> dict[str, Any]:
        """Return the accuracy of early and changed model on another task."""
        ready, old, bench = self._ready, self._table.frame, self._second
        assert bench is not None
        early, late = (self._table.states[source(e)] for e in (ready.ends.early, ready.ends.late))
        other = other_term(ready, bench, self._table.states)
        pre, post = bench.score(early), bench.score(late)
        rows = rows_of_plan(bench.plan)
        frame = Frame(rows, old.mode, old.head, old.weight, old.normalisation, other, pre, post)
        hits = frame.hits(np.stack([pre, bench.score(cell.state, cell.edit), post]))
        weights = frame.weights(np.ones(hits.shape[1], dtype=np.bool_))
        chance = float((1.0 / np.bincount(rows.question)).mean())
        change = number(hits[1] - hits[0], weights)
        early_, changed, late_ = (number(one, weights) for one in hits)
        return {
            "questions": int(hits.shape[1]),
            "chance": chance,
            "done": bool(early_.interval[0] > chance),
            "early": early_.value,
            "changed": changed.value,
            "late": late_.value,
            "change": change.value,
            "change_interval": list(change.interval),
        }

    def _mean(self, values: Float[np.ndarray, " text"]) -> dict[str, Any]:
        rng = np.random.default_rng([self._table.frame.seed, 8])
        counts = rng.multinomial(len(values), np.full(len(values), 1 / len(values)), size=1000)
        found = number(values, counts / len(values))
        return {"mean": found.value, "interval": list(found.interval)}
