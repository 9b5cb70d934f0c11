"""Points 5 and 6 of a stored answer: what analysis and training-time tests say of the same jump.

An answer is about the change between its two ends. A jump that does not lie between them, or is of
another head, mode or weight, says nothing of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critical_phase.analysis.interventions.intervention_minimum import Point, precedes, trained
from critical_phase.cli.stored_training_tests import training_said

Values = Mapping[str, Any]
STATE = "what is changed is a state, and tests in training hold adapters still"


def in_time(found: Values | None, values: Values) -> Point:
    """Return point 5: the first ranked change of the answer's layers that was placed.

    Args:
        found: The run's findings; None where it is not analysed.
        values: The answer.
    """
    if found is None:
        return precedes(None, why="the run is not analysed")
    jump = found.get("jump")
    if jump is None:
        return precedes(None, why="the run has no jump")
    weight = float(found.get("weight", 1.0))
    if why := other_change(values, str(jump["mode"]), weight, float(jump["tau_step"])):
        return precedes(None, why=why)
    for change in found.get("changes", []):
        known = change.get("lead_interval")
        mine = change.get("layer") in values["layers"] and values["head"] in change["quantity"]
        if change.get("head") is not None and not _attends(values):
            continue  # adapters of an MLP do not act on the attention of their own block
        if known is not None and mine:
            of = str(change.get("title") or change["quantity"])
            return precedes((float(known[0]), float(known[1])), of)
    return precedes(None)


def _attends(values: Values) -> bool:
    """Say whether the answer may be of attention: it is no adapter's, or one of attention."""
    modules = values.get("modules") or []
    return not modules or any("attn" in name or "attention" in name for name in modules)


def held_still(run: Path, values: Values) -> Point:
    """Return point 6: tests that held these layers of this head still while this jump formed.

    Raises:
        StoreError: A file does not hold a training-time test.
    """
    if not values.get("adapters", values.get("intervention") == "graft"):
        return trained(None, STATE)
    said = training_said(run, values["head"], values["layers"], lambda test: _same(test, values))
    if not said:
        return trained(None)
    met = True in said
    of = f" in {sum(said)} of {len(said)} tests" if len(said) > 1 else ""
    return trained(met, f"it does{of}" if met else f"it does not{of}")


def other_change(values: Values, mode: str, weight: float, tau: float | None) -> str:
    """Say why a jump is not what an answer is about; empty where it is.

    Args:
        values: The answer.
        mode: Whose jump it is.
        weight: w of that mode.
        tau: Its step.
    """
    ends = [str(values[name]).rpartition("@") for name in ("from", "to")]
    if {head for head, _, _ in ends} != {values["head"]}:
        return "the two ends are not of the head that is changed, so no jump lies between them"
    if (mode, weight) != (values["mode"], float(values["weight"])):
        return f"the jump that is known is of {mode} with w {weight:g}"
    if tau is None or not float(ends[0][2]) < tau < float(ends[1][2]):
        at = "" if tau is None else f" at step {tau:.3g}"
        return f"the jump{at} does not lie between the two ends"
    return ""


def _same(test: Values, values: Values) -> bool:
    tau = test["training"]["run_tau"]["steps"]
    tau = None if tau is None else float(tau)
    return not other_change(values, str(test["mode"]), float(test["weight"]), tau)
