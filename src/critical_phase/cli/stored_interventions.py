"""Results of interventions of a run, as its files have them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

from critical_phase.analysis import Intervention
from critical_phase.analysis.judging.causal_evidence import Plan
from critical_phase.errors import StoreError

FOLDER = "interventions"
_PAIRS = ("interval", "control_interval")
_KEYS = ("plan", "about", "share", "control", "control_share", "questions", *_PAIRS)


def read_interventions(run: Path) -> tuple[Intervention, ...]:
    """Read every `interventions/*.json` of a run, in the order of their names.

    Files that say `"for_verdicts": false` answer questions that no verdict asks; they are left out.

    Raises:
        StoreError: A file does not hold an intervention.
    """
    found = [_read(path) for path in sorted((run / FOLDER).glob("*.json"))]
    return tuple(one for one in found if one is not None)


def _read(path: Path) -> Intervention | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        if isinstance(found, Mapping) and found.get("for_verdicts") is False:
            return None
        return _intervention(found)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"this file holds no intervention: {error}",
            where=str(path),
            fix="delete it, and repeat the intervention",
        ) from error


def _intervention(found: Any) -> Intervention:
    if not isinstance(found, Mapping) or found.get("schema_version") != 1:
        raise ValueError("schema_version 1 is expected")
    if lost := [key for key in _KEYS if key not in found]:
        raise ValueError(f"{', '.join(lost)} missing")
    if found["plan"] not in get_args(Plan):
        known = ", ".join(get_args(Plan))
        raise ValueError(f"intervention {found['plan']!r} is unknown, known are {known}")
    low, high, below, above = (float(edge) for key in _PAIRS for edge in found[key])
    share, control = float(found["share"]), float(found["control_share"])
    if not (low <= share <= high and below <= control <= above):
        raise ValueError("a share lies outside its interval")
    another = found.get("control_another")
    return Intervention(
        plan=found["plan"],
        about=str(found["about"]),
        share=share,
        interval=(low, high),
        control=str(found["control"]),
        control_share=control,
        control_interval=(below, above),
        questions=int(found["questions"]),
        control_another=None if another is None else (float(another[0]), float(another[1])),
        mode=str(found.get("mode", "")),
        **_ends(found),
    )


def _ends(found: Mapping[str, Any]) -> dict[str, Any]:
    """Return head and steps of the two ends; both heads where these differ."""
    if "from" not in found or "to" not in found:
        return {}
    (early, _, first), (late, _, last) = (str(found[k]).rpartition("@") for k in ("from", "to"))
    return {
        "head": early if early == late else f"{early} and {late}",
        "between": (int(first), int(last)),
    }
