"""Points 4 and 6 of stored answers: was it found in other runs, and does training need it?"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from critical_phase.analysis.intervention_effect import Number
from critical_phase.analysis.intervention_minimum import Point, may_say_cause, said, trained
from critical_phase.analysis.intervention_repeats import Repeat, Repetition, repetition
from critical_phase.atomic import write_json
from critical_phase.cli.intervene_rounding import rounded
from critical_phase.cli.run_folder import RunFolder, open_run, read_record
from critical_phase.cli.seeds_design import check_designs, short_names
from critical_phase.cli.stored_interventions import FOLDER
from critical_phase.cli.stored_training_tests import training_evidence
from critical_phase.errors import ConfigError, StoreError

Values = dict[str, Any]
_ALIKE = ("intervention", "plan", "head", "mode", "weight", "normalisation", "lost")
"""What two answers share that are counted as one."""


def hold_points(path: Path, also: Sequence[Path] = ()) -> list[Values]:
    """Hold every stored answer of a run against its training-time tests and against other runs.

    Files whose points change are written anew; without other runs point 4 is left as it is.

    Args:
        path: Run folder.
        also: Further runs: other seeds of the same design, or other models or questions.

    Returns:
        Every answer, in the order of file names.

    Raises:
        ConfigError: Other runs are of other designs, or are named twice.
        StoreError: A file cannot be read.
    """
    run, others = open_run(path), [open_run(one) for one in also]
    datasets = _datasets([run, *others], short_names([path, *also]))
    found = read_answers(run)
    stored = [list(read_answers(one).values()) for one in others]
    made = []
    for file, values in found.items():
        new = dict(values)
        if others:
            new |= rounded(_repeated(values, datasets, stored))
        new = _with_training(run, new)
        if new != values:
            new |= _called(new)
            write_json(file, new)
        made.append(new)
    return made


def read_answers(run: RunFolder) -> dict[Path, Values]:
    """Read every answer of a run that is held against the seven points.

    Raises:
        StoreError: A file is damaged.
    """
    made = {}
    for file in sorted((run.path / FOLDER).glob("*.json")):
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            if isinstance(values, dict) and values.get("points") and "layers" in values:
                made[file] = values
        except (OSError, ValueError) as error:
            raise StoreError(
                f"cannot read an intervention: {error}",
                where=str(file),
                fix="delete it, and repeat the intervention",
            ) from error
    return made


def _datasets(runs: Sequence[RunFolder], names: Sequence[str]) -> list[tuple[str, str]]:
    """Return name and dataset of every run; runs of one dataset must be seeds of one design."""
    records = [read_record(run) for run in runs]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is named twice", fix="name each run once")
    kinds = [f"{one['model']} on {str(one['question_set_sha256'])[:12]}" for one in records]
    for kind in dict.fromkeys(kinds):
        at = [i for i, one in enumerate(kinds) if one == kind]
        if len(at) > 1:
            check_designs([names[i] for i in at], [runs[i] for i in at], [records[i] for i in at])
    return list(zip(names, kinds, strict=True))


def _repeated(
    values: Values, datasets: Sequence[tuple[str, str]], stored: Sequence[list[Values]]
) -> Values:
    """Return points with point 4 held against other runs, and what each of them says."""
    model = datasets[0][1].split(" on ")[0]
    repeats = [_repeat(*datasets[0], values)]
    for (name, kind), answers in zip(datasets[1:], stored, strict=True):
        alike = [one for one in answers if all(one.get(k) == values.get(k) for k in _ALIKE)]
        same_layers = kind.split(" on ")[0] == model
        repeats.append(_one_of(name, kind, values, alike, same_layers=same_layers))
    found = repetition(repeats)
    return {"points": _replaced(values["points"], found.point)} | _noted(repeats, found)


def _one_of(
    name: str, kind: str, values: Values, alike: list[Values], *, same_layers: bool
) -> Repeat:
    """Choose the answer of another run that is of the same place."""
    nothing = (0.0, 0.0)
    if not alike:
        return Repeat(name, kind, None, nothing, "no such answer")
    if same_layers:
        layers = [one["layers"] for one in alike]
        alike = [one for one in alike if one["layers"] == values["layers"]]
        if not alike:
            return Repeat(name, kind, None, nothing, f"it answers for {_in_words(layers[0])}")
    if len(alike) > 1:
        same = [one for one in alike if (one["from"], one["to"]) == (values["from"], values["to"])]
        alike = same or [one for one in alike if one.get("ends_chosen") != "asked for"]
    if len(alike) != 1:
        return Repeat(name, kind, None, nothing, "answers between several pairs of steps")
    return _repeat(name, kind, alike[0])


def _repeat(name: str, kind: str, values: Values) -> Repeat:
    size = Number(float(values["share"]), _pair(values["interval"]))
    return Repeat(name, kind, size, _pair(values["control_interval"]))


def _with_training(run: RunFolder, values: Values) -> Values:
    said_ = training_evidence(run.path, values["head"], values["layers"])
    return values | {"points": _replaced(values["points"], trained(said_))}


def _replaced(points: Sequence[Mapping[str, Any]], new: Point) -> list[Values]:
    own = {"number": new.number, "asks": new.asks, "met": new.met, "found": new.found}
    return [own if one["number"] == new.number else dict(one) for one in points]


def _called(values: Values) -> Values:
    """Work out anew what the answer may be called."""
    points = [Point(p["number"], p["asks"], p["met"], p["found"]) for p in values["points"]]
    size = Number(float(values["share"]), _pair(values["interval"]))
    text = said(values["about"], points, size, lost=bool(values["lost"]))
    return {"causes": may_say_cause(points), "sentence": text}


def _noted(repeats: Sequence[Repeat], found: Repetition) -> Values:
    runs = [
        {
            "run": one.name,
            "dataset": one.dataset,
            "share": None if one.size is None else one.size.value,
            "interval": None if one.size is None else list(one.size.interval),
            "found": one.found,
            "why": one.why,
        }
        for one in repeats
    ]
    mean = found.mean
    return {
        "repeats": {
            "runs": runs,
            "seeds": found.seeds,
            "seeds_tried": found.tried,
            "datasets": found.datasets,
            "datasets_tried": found.datasets_tried,
            "mean": None if mean is None else mean.value,
            "mean_interval": None if mean is None else list(mean.interval),
        }
    }


def _in_words(layers: Sequence[int]) -> str:
    return f"layers {', '.join(map(str, layers))}" if layers else "all layers"


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
