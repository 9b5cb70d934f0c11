"""What `interventions/training-*.json` holds of a training-time test."""

import json
import math
import re
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from critical_phase.analysis.interventions.intervention_effect import Number
from critical_phase.analysis.interventions.training_time import Arm, Asked, TrainingTest
from critical_phase.analysis.interventions.training_time_place import Place
from critical_phase.checkpoints import list_series, load_adapter
from critical_phase.checkpoints.withheld_places import layer_of, places_named
from critical_phase.cli.run_folder import RunFolder, read_record
from critical_phase.cli.withhold import in_words
from critical_phase.errors import StoreError

Values = dict[str, Any]
NAMES = {"project_state": "project-state", "project_write": "project-write"}


def file_name(withheld: Mapping[str, Any]) -> str:
    """Name the file of a test by what it withholds, from which heads and when."""
    what = withheld["places"]
    if "direction" in withheld:
        what = f"{withheld['direction'][:8]}-after-{what}"
    kind = NAMES.get(withheld["kind"], withheld["kind"])
    low, high = withheld["window"]
    parts = ("training", kind, what, *withheld["heads"], low, "to", high)
    return re.sub(r"[^A-Za-z0-9.-]+", "_", "-".join(map(str, parts))) + ".json"


def file_of(folder: Path, values: Mapping[str, Any]) -> Path:
    """Return where a test is written: beside one of the same name that was made otherwise.

    With other controls, steps or another mode it is another test, and both are evidence: the
    first is not lost to the second.
    """
    first = folder / file_name(values["withheld"])
    names = (first if i == 1 else first.with_stem(f"{first.stem}-{i}") for i in count(1))
    return next(path for path in names if not path.is_file() or _asks(_read(path)) == _asks(values))


def _asks(values: Mapping[str, Any]) -> str:
    """Write what a test asks as one text that is equal where tests are."""
    controls = [one["withheld"] for one in values["training"]["controls"]]
    own = [values[key] for key in ("withheld", "mode", "weight", "from", "to", "heads")]
    return json.dumps([own, controls], sort_keys=True)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        _asks(found)
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"this file holds no training-time test: {error!r}",
            where=str(path),
            fix="delete it, and repeat probe retrain",
        ) from error


def result_values(
    run: RunFolder,
    folders: Mapping[str, RunFolder],
    withheld: Mapping[str, Values],
    found: TrainingTest,
    asked: Asked,
    why_ends: str,
    heads: tuple[str, ...],
) -> Values:
    """Return the file's content: the keys of every intervention, and `training` beside them."""
    record = read_record(run)
    batch = int(record["recipe"]["batch_size"])
    about = f"{in_words(withheld['test'])}, from the {' and '.join(heads)} head"
    beside = [_arm(one, batch, withheld[one.name])
              for one in found.controls]  # fmt: skip
    most = max(found.controls, key=lambda one: one.lost.value, default=None)
    notes = _notes(found)
    return {
        "schema_version": 1,
        "plan": "training_time",
        "intervention": "training_time",
        "for_verdicts": False,
        "about": about,
        "share": found.test.lost.value,
        "interval": list(found.test.lost.interval),
        "control": "none" if most is None else in_words(withheld[most.name]),
        "control_share": None if most is None else most.lost.value,
        "control_interval": None if most is None else list(most.lost.interval),
        "questions": found.questions,
        "chosen_on": "questions with even numbers may have chosen; those with odd numbers report",
        "heads": list(heads),
        **_layers(run, withheld["test"], heads[0]),
        "withheld": withheld["test"],
        "mode": asked.mode,
        "weight": asked.weight,
        "from": asked.early,
        "to": asked.late,
        "ends_chosen": why_ends,
        "batch_size": batch,
        "seed": asked.seed,
        "draws": asked.draws,
        "trainings": {name: folder.path.name for name, folder in folders.items()},
        "training": {
            "met": found.met,
            "why": found.why,
            "run_tau": _place(found.run, batch),
            "test": _arm(found.test, batch, withheld["test"]),
            "controls": beside,
            "later_than_controls": [_place(one, batch) for one in found.beyond],
            "same_within_steps": found.near,
            "last_step": found.last,
        },
        "sentence": _sentence(about, found, withheld, batch),
        "notes": notes,
    }


def _sentence(about: str, found: TrainingTest, withheld: Mapping[str, Values], batch: int) -> str:
    text = f"without {about}, the jump at step {_step(found.run)} {_came(found.test, found.last)}"
    others = [
        f"without {in_words(withheld[one.name.removeprefix('control ')])} it"
        f" {_came(one, found.last)}"
        for one in found.controls
    ]
    met = {
        True: "so the jump depends on what was withheld: point 6 of the word cause is met",
        False: f"so point 6 of the word cause is not met ({found.why})",
        None: f"so point 6 of the word cause stays open ({found.why})",
    }[found.met]
    return f"{'; '.join([text, *others])}; {met}"


def _came(one: Arm, last: int) -> str:
    low, high = one.later.interval
    if one.kind == "vanishes":
        return f"is not made within {last} steps"
    ends = f"[{low:.3g}, {'beyond the last' if math.isinf(high) else f'{high:.3g}'}]"
    size = f"accuracy at the end {one.gain_change.value:+.2f}"
    value = "more than trained for" if math.isinf(one.later.value) else f"{one.later.value:+.3g}"
    return f"moves by {value} steps {ends} ({one.kind}; {size})"


def _step(place: Place) -> str:
    low, high = place.interval
    return f"{place.value:.3g} [{low:.3g}, {high:.3g}]"


def _notes(found: TrainingTest) -> list[str]:
    notes = ["one training of each: intervals are over questions, not over seeds"]
    for one in (found.test, *found.controls):
        if one.apart_before > 0:
            notes.append(
                f"{one.name} differs from the run before anything was withheld, by"
                f" {one.apart_before:.2g} nats: another machine or number of threads"
            )
    return notes


def _arm(one: Arm, batch: int, withheld: Values) -> Values:
    return {
        "name": one.name,
        "withheld": withheld,
        "kind": one.kind,
        "tau": _place(one.place, batch),
        "later": _place(one.later, batch),
        "gain": _number(one.gain),
        "gain_change": _number(one.gain_change),
        "margin_lost": _number(one.lost),
        "margin_lost_at_last": _number(one.lost_last),
        "apart_before_window": one.apart_before,
    }


def _place(one: Place, batch: int) -> Values:
    """Write null for what lies beyond the last checkpoint."""
    low, high = one.interval
    ends = [None if math.isinf(v) else v for v in (one.value, low, high)]
    return {
        "steps": ends[0],
        "interval_steps": ends[1:],
        "examples": None if ends[0] is None else ends[0] * batch,
        "interval_examples": [None if v is None else v * batch for v in ends[1:]],
    }


def _number(one: Number) -> Values:
    return {"value": one.value, "interval": list(one.interval)}


def _layers(run: RunFolder, withheld: Mapping[str, Any], head: str) -> Values:
    """Return the layers in which a freeze holds something, and whether it holds all of them."""
    if "direction" in withheld:
        return {"layers": [], "whole_layers": False}
    names = set(load_adapter(list_series(run.head(head)).checkpoints[-1].path))
    named = places_named(withheld["places"], names)
    held = named if withheld["kind"] == "freeze" else names - named
    layers = {layer for name in held if (layer := layer_of(name)) is not None}
    whole = held >= {name for name in names if layer_of(name) in layers}
    return {"layers": sorted(layers), "whole_layers": whole}
