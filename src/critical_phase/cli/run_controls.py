"""What another run controls, by its recipe and not by its name, and its scores.

Controls that differ in their negatives test H2, those that differ in their learning rate H8.
Anything else is refused with what differs.
"""

import filecmp
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np

from critical_phase.analysis import ControlRun
from critical_phase.analysis.jumps.clock import summed_rate
from critical_phase.analysis.scores.control_run import PRIOR, ControlKind
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import BASE, RunFolder, open_run, read_record
from critical_phase.cli.seeds_design import short_names
from critical_phase.cli.withhold import in_words
from critical_phase.differences import apart
from critical_phase.errors import ConfigError
from critical_phase.probes import read_attrs

FREE = ("schedule",)
"""Entries of the recipe that say only which steps were saved; shared ones are compared."""

SLOWER = 3.0
"""Factor by which the learning rate of a control of H8 is lower, at least."""

NEAR = "near_miss"
"""Negatives of the runs that H2 is asked of begin so: wrong options of the same question."""

WHAT = {
    "irrelevant": "right answers of other questions as negatives",
    "unrelated": "texts from elsewhere as negatives",
    "right_answers": "right answers as negatives",
}
"""Kinds of negatives that a control of H2 may have, in words."""

FIX = (
    "train the control as the run, but with --negatives irrelevant (or right_answers, unrelated)"
    " for H2, or with --lr at most a third as high, and as many times more --steps, for H8"
)

Values = Mapping[str, Any]


def read_controls(
    run: RunFolder, arrays: StoredRun, paths: Sequence[Path]
) -> tuple[ControlRun, ...]:
    """Open the controls of a run and work out what each of them is.

    Args:
        run: The run that is analysed.
        arrays: Its arrays.
        paths: Folders of trained and collected runs.

    Returns:
        One control per path, in the order given.

    Raises:
        InputError: There is no run, or its files are missing or damaged.
        ConfigError: A run is no control of this one; says what was found.
    """
    found: dict[str, ControlRun] = {}
    record = read_record(run)
    for name, path in zip(short_names(paths), paths, strict=True):
        other = open_run(path)
        if other.path.resolve() == run.path.resolve():
            raise ConfigError("a run cannot be its own control", where=str(path), fix=FIX)
        one = _control(name, run, record, arrays, other)
        if one.scores_sha256 in found:
            first = found[one.scores_sha256].name
            raise ConfigError(
                f"{first} and {name} have the same scores: one control given twice",
                where=str(path),
                fix="give each control once",
            )
        found[one.scores_sha256] = one
    return tuple(found.values())


def _control(
    name: str, run: RunFolder, record: Values, arrays: StoredRun, other: RunFolder
) -> ControlRun:
    """Check one control and read its scores."""
    theirs = read_record(other)
    kind, about = control_kind(record, theirs, str(other.path))
    _same_training(run, other)
    there = StoredRun(other)
    _same_base(run, other)
    _same_questions(arrays, there, run, other)
    _needs(arrays, there, kind, run, other)
    return ControlRun(
        name=name,
        kind=kind,
        about=about,
        seed=theirs.get("seed"),
        step_lists={head: there.steps(head) for head in there.heads},
        base=there.base_scores(),
        tables={head: there.scores(head) for head in there.heads},
        rates={
            head: rate for head in there.heads if (rate := summed_rate(there, head)) is not None
        },
        scores_sha256=_hash(other, there),
        notes=tuple(f"control {name}: {note}" for note in there.notes),
    )


def control_kind(mine: Values, theirs: Values, where: str) -> tuple[ControlKind, str]:
    """Say what a run controls, from what both run.json say, and in words how it differs.

    Raises:
        ConfigError: It controls nothing that is known; names what differs.
    """
    for record, which in ((mine, "the run"), (theirs, "the control")):
        _trained_here(record, which, where)
    one, two = (dict(record["recipe"]) for record in (mine, theirs))
    keys = [key for key in dict.fromkeys([*one, *two]) if key not in FREE]
    differ = {key for key in keys if one.get(key) != two.get(key)}
    seed = _seeds(mine, theirs)
    if differ == {"negatives"} and two["negatives"] in PRIOR:
        if str(one["negatives"]).startswith(NEAR):
            return cast(ControlKind, two["negatives"]), WHAT[two["negatives"]] + seed
        raise ConfigError(
            f"asked for a control of H2, but the negatives of the run are {one['negatives']}",
            where=where,
            fix="analyse the run with near misses, and give the other as its --control",
        )
    slower = float(two["lr"]) <= float(one["lr"]) / SLOWER * (1 + 1e-9)
    if slower and differ <= {"lr", "steps"} and two["steps"] >= one["steps"]:
        rates = f"learning rate {two['lr']:g} in place of {one['lr']:g}, {two['steps']} steps"
        return "slow", rates + seed
    if "withheld" in differ:
        whose = "run" if one.get("withheld") else "other run"
        noted = one.get("withheld") or two["withheld"]
        raise ConfigError(
            f"the {whose} is a training-time test, trained without {in_words(noted)}: no verdict"
            " of an analysis asks for it",
            where=where,
            fix="probe retrain holds such tests against their run",
        )
    raise ConfigError(
        f"this run is no control: it was trained with {_found(one, two, differ)}",
        where=where,
        fix=FIX,
    )


def _trained_here(record: Values, which: str, where: str) -> None:
    """Refuse runs whose recipe does not say what they were trained on, and random adapters."""
    recipe = record.get("recipe") or {}
    lost = [key for key in ("negatives", "lr", "steps") if key not in recipe]
    if record.get("control") or lost:
        why = "has random adapters" if record.get("control") else f"has no {', '.join(lost)} noted"
        raise ConfigError(
            f"{which} was not trained by probe train: it {why}, so nobody knows what differs",
            where=where,
            fix=FIX,
        )


def _found(one: Values, two: Values, differ: set[str]) -> str:
    """Write what differs between two recipes."""
    if not differ:
        return "the same recipe (runs that differ in their seed are compared by probe seeds)"
    words = {key: apart(one.get(key), two.get(key)) for key in sorted(differ)}
    return ", ".join(f"{key} {there} in place of {here}" for key, (here, there) in words.items())


def _seeds(mine: Values, theirs: Values) -> str:
    """Say that a control was trained with another seed."""
    one, two = mine.get("seed"), theirs.get("seed")
    return "" if one == two else f", seed {two} in place of {one}"


def _same_training(run: RunFolder, other: RunFolder) -> None:
    """Refuse controls that were trained on other questions."""
    mine, theirs = run.questions("train"), other.questions("train")
    for path in (mine, theirs):
        if not path.is_file():
            raise ConfigError(
                "the run has no copy of its training questions, so they cannot be compared",
                where=str(path),
                fix="train it again with probe train",
            )
    if not filecmp.cmp(mine, theirs, shallow=False):
        raise ConfigError(
            "the control was trained on other questions than the run",
            where=str(theirs),
            fix="train both runs with the same --questions",
        )


def _same_base(run: RunFolder, other: RunFolder) -> None:
    """Refuse controls of another base model, or one that was read in another numeric type."""
    one, two = (read_attrs(r.scores(BASE, 0)) for r in (run, other))
    for key, what in (("base_sha256", "base model"), ("compute_dtype", "numeric type of scoring")):
        if one.get(key) != two.get(key):
            here, there = apart(one.get(key), two.get(key))
            raise ConfigError(
                f"the control has another {what}: {there}, the run {here}",
                where=str(other.path),
                fix="train and collect both runs on one model and device",
            )


def _same_questions(arrays: StoredRun, there: StoredRun, run: RunFolder, other: RunFolder) -> None:
    """Refuse controls that were asked other questions, or the same in another order."""
    mine, theirs = arrays.rows, there.rows
    fix = f"probe collect {other.path} with the --limit and --seed of {run.path}, --overwrite"
    if mine.question_ids != theirs.question_ids:
        shared = len(set(mine.question_ids) & set(theirs.question_ids))
        raise ConfigError(
            f"the control was asked {len(theirs.question_ids)} questions, of which {shared} are"
            f" among the {len(mine.question_ids)} of the run; all must be, in the same order",
            where=str(other.plan),
            fix=fix,
        )
    plans = [read_attrs(r.scores(BASE, 0))["plan_sha256"] for r in (run, other)]
    if mine.texts != theirs.texts or not np.array_equal(mine.correct, theirs.correct):
        what = "candidates"
    elif plans[0] != plans[1]:
        what = "texts before the candidates"
    else:
        return
    raise ConfigError(
        f"the control has the questions of the run with other {what}",
        where=str(other.plan),
        fix="train and collect both runs with the same --eval-questions and --prompt",
    )


def _needs(
    arrays: StoredRun, there: StoredRun, kind: ControlKind, run: RunFolder, other: RunFolder
) -> None:
    """Refuse controls that lack what they are compared by: a head, or the learning rates."""
    if kind in PRIOR:
        for one, folder in ((arrays, run), (there, other)):
            if "negative" not in one.heads:
                raise ConfigError(
                    "other negatives are controlled, but no negative head was collected",
                    where=str(folder.path),
                    fix=f"probe collect {folder.path} --heads positive,negative",
                )
        return
    if not set(arrays.heads) & set(there.heads):
        raise ConfigError("run and control share no collected head", where=str(other.path), fix=FIX)
    for one, folder in ((arrays, run), (there, other)):
        for head in one.heads:
            if summed_rate(one, head) is None:
                raise ConfigError(
                    f"the learning rate of the {head} head is not logged at every step, so nothing"
                    " can be compared at an equal summed rate",
                    where=str(folder.log(head)),
                    fix="train that run again with probe train",
                )


def _hash(run: RunFolder, arrays: StoredRun) -> str:
    """Hash the hashes of all score files of a run, in order of head and step."""
    places = [(BASE, 0), *((h, int(s)) for h in arrays.heads for s in arrays.steps(h))]
    parts = [
        f"{head}/{step} {read_attrs(run.scores(head, step))['scores_sha256']}"
        for head, step in places
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
