"""Points 4 to 6 of stored answers: found in other runs, in time, and needed by training?"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from critical_phase.analysis.interventions.intervention_effect import Number
from critical_phase.analysis.interventions.intervention_minimum import Point, may_say_cause, said
from critical_phase.analysis.interventions.intervention_repeats import (
    Repeat,
    Repetition,
    repetition,
)
from critical_phase.atomic import write_json
from critical_phase.cli.intervene_jump import held_still, in_time
from critical_phase.cli.intervene_others import in_words, no_jump, set_apart
from critical_phase.cli.intervene_rounding import rounded
from critical_phase.cli.intervene_steps import findings_of
from critical_phase.cli.run_folder import RunFolder, open_run, read_record
from critical_phase.cli.seeds_design import check_designs, short_names
from critical_phase.cli.stored_interventions import FOLDER
from critical_phase.errors import ConfigError, StoreError

Values = dict[str, Any]
_ALIKE = ("intervention", "plan", "head", "mode", "weight", "normalisation", "lost")
"""What two answers share that are counted as one."""


def hold_points(path: Path, also: Sequence[Path] = ()) -> list[Values]:
    """Hold every stored answer of a run against its analysis, its tests in training and other runs.

    Files whose points change are written anew, so that points 5 and 6 are those of what is there
    now; without other runs point 4 is left as it is.

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
    found, findings = read_answers(run), findings_of(run)
    stored = [(list(read_answers(one).values()), findings_of(one)) for one in others]
    bases = [_base_of(answers) for answers in (list(found.values()), *(of for of, _ in stored))]
    datasets = _datasets([run, *others], short_names([path, *also]), bases)
    made = []
    for file, values in found.items():
        new = dict(values)
        if others:
            new |= rounded(_repeated(values, datasets, stored))
        for point in (in_time(findings, new), held_still(run.path, new)):
            new["points"] = _replaced(new["points"], point)
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


def _base_of(answers: Sequence[Values]) -> str | None:
    """Return the hash of the base that a run's answers were computed on; None where unknown."""
    known = (one.get("key", {}).get("base_sha256") for one in answers)
    return next((str(one) for one in known if one), None)


def _datasets(
    runs: Sequence[RunFolder], names: Sequence[str], bases: Sequence[str | None]
) -> list[tuple[str, str]]:
    """Return name and dataset of every run; runs of one dataset must be seeds of one design.

    One base by two names, such as a copy at another place, is one model.
    """
    records = [read_record(run) for run in runs]
    if len({run.path.resolve() for run in runs}) < len(runs):
        raise ConfigError("a run is named twice", fix="name each run once")
    called: dict[str, str] = {}
    models = [str(one["model"]) for one in records]
    for model, base in zip(models, bases, strict=True):
        called.setdefault(base or model, model)
    models = [called[base or model] for model, base in zip(models, bases, strict=True)]
    kinds = [f"{model} on {str(one['question_set_sha256'])[:12]}"
             for model, one in zip(models, records, strict=True)]  # fmt: skip
    for kind in dict.fromkeys(kinds):
        at = [i for i, one in enumerate(kinds) if one == kind]
        if len(at) > 1:
            check_designs([names[i] for i in at], [runs[i] for i in at], [records[i] for i in at])
    return list(zip(names, kinds, strict=True))


def _repeated(
    values: Values,
    datasets: Sequence[tuple[str, str]],
    stored: Sequence[tuple[list[Values], Values | None]],
) -> Values:
    """Return points with point 4 held against other runs, and what each of them says."""
    model = datasets[0][1].rpartition(" on ")[0]
    repeats = [_repeat(*datasets[0], values)]
    for (name, kind), (answers, known) in zip(datasets[1:], stored, strict=True):
        alike = [one for one in answers if all(one.get(k) == values.get(k) for k in _ALIKE)]
        same_layers = kind.rpartition(" on ")[0] == model
        repeats.append(_one_of(name, kind, values, alike, known, same_layers=same_layers))
    found = repetition(repeats)
    return {"points": _replaced(values["points"], found.point)} | _noted(repeats, found)


def _one_of(
    name: str,
    kind: str,
    values: Values,
    alike: list[Values],
    known: Values | None,
    *,
    same_layers: bool,
) -> Repeat:
    """Choose the answer of another run that is of the same place."""
    nothing = (0.0, 0.0)
    if not alike:
        return Repeat(name, kind, None, nothing, "no such answer")
    if same_layers:
        layers = [one["layers"] for one in alike]
        alike = [one for one in alike if one["layers"] == values["layers"]]
        if not alike:
            return Repeat(name, kind, None, nothing, f"it answers for {in_words(layers[0])}")
        if values.get("modules"):  # a set of places is named by all of them, not by its layers
            alike = [one for one in alike if one["about"] == values["about"]]
            if not alike:
                return Repeat(name, kind, None, nothing, "it answers for other places there")
    if len(alike) > 1:
        same = [one for one in alike if (one["from"], one["to"]) == (values["from"], values["to"])]
        alike = same or [one for one in alike if one.get("ends_chosen") != "asked for"]
    if len(alike) != 1:
        return Repeat(name, kind, None, nothing, "answers between several pairs of steps")
    if why := no_jump(known, alike[0]):
        return Repeat(name, kind, None, nothing, why)
    aside = set_apart(alike[0], same_model=same_layers)
    return replace(_repeat(name, kind, alike[0]), aside=aside)


def _repeat(name: str, kind: str, values: Values) -> Repeat:
    size = Number(float(values["share"]), _pair(values["interval"]))
    control, another = _pair(values["control_interval"]), values.get("control_another")
    # What a single draw of the control does, where that is known, and not the mean of a few.
    most = control if another is None else (control[0], max(control[1], float(another[1])))
    return Repeat(name, kind, size, most)


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
            "aside": one.aside,
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


def _pair(values: Sequence[float]) -> tuple[float, float]:
    low, high = values
    return float(low), float(high)
