"""Do run folders hold the same design, by what their run.json and questions say?"""

import filecmp
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from critical_phase.cli.run_folder import RunFolder
from critical_phase.differences import apart
from critical_phase.errors import ConfigError

Values = Mapping[str, Any]

SAME = {
    "model": "the model",
    "question_set_sha256": "the evaluation questions",
    "heads": "the trained heads",
}
"""Entries of run.json that one design shares, beside the recipe."""

FREE = ("schedule",)
"""Entries of the recipe that say only which steps were saved; shared steps are compared."""


def short_names(paths: Sequence[Path]) -> list[str]:
    """Name runs by their folder, or by the path given where two folders have one name."""
    names = [path.resolve().name for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def check_designs(
    names: Sequence[str], runs: Sequence[RunFolder], records: Sequence[Values]
) -> None:
    """Refuse runs that differ in more than their seed, or not even in that.

    Raises:
        ConfigError: Names the first difference and both runs.
    """
    if len(set(names)) < len(names):
        raise ConfigError("a run is named twice", fix="name each seed once")
    seeds: dict[Any, str] = {}
    for at, name in enumerate(names):
        for what, there, here in _differences(records[0], records[at]):
            _refuse(what, names[0], there, name, here)
        if not _same_training_questions(runs[0], runs[at]):
            _refuse("the training questions", names[0], "one file", name, "another")
        seed = records[at].get("seed")
        if seed is not None and seed in seeds:
            raise ConfigError(
                f"{seeds[seed]} and {name} were both trained with seed {seed}",
                fix="train each run with its own --seed",
            )
        seeds[seed] = name


def _differences(one: Values, two: Values) -> list[tuple[str, str, str]]:
    """List what differs between two records: name, value there, value here."""
    pairs = [(what, one.get(key), two.get(key)) for key, what in SAME.items()]
    recipes = [dict(record.get("recipe") or {}) for record in (one, two)]
    keys = [key for key in dict.fromkeys([*recipes[0], *recipes[1]]) if key not in FREE]
    pairs += [(f"recipe: {key}", recipes[0].get(key), recipes[1].get(key)) for key in keys]
    return [(what, *apart(there, here)) for what, there, here in pairs if there != here]


def _same_training_questions(one: RunFolder, two: RunFolder) -> bool:
    """Compare the runs' own copies; runs of heads made elsewhere may have none."""
    mine, other = one.questions("train"), two.questions("train")
    if not (mine.is_file() and other.is_file()):
        return True
    return filecmp.cmp(mine, other, shallow=False)


def _refuse(what: str, name: str, there: str, other: str, here: str) -> None:
    raise ConfigError(
        f"the runs are of different designs: {what} is {there} in {name} and {here} in {other}",
        fix="compare runs that differ in nothing but their seed",
    )
