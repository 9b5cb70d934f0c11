"""Are several runs of one design, so that they may differ in nothing but their seed?"""

from collections.abc import Mapping

import numpy as np

from critical_phase.analysis.inputs import Rows, RunArrays, check_rows, question_count
from critical_phase.analysis.scores.curves import primary_mode
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.errors import ConfigError


def check_same(runs: Mapping[str, RunArrays], settings: AnalysisSettings) -> str:
    """Refuse runs that were not asked the same, and return the mode they are compared in.

    Raises:
        ConfigError: Fewer than two runs, runs of different designs, or one training twice.
    """
    if len(runs) < 2:
        raise ConfigError(f"asked to compare {len(runs)} run", fix="name at least two runs")
    (name, first), *others = runs.items()
    check_rows(first.rows)
    for other_name, other in others:
        for what, there, here in _design(first, other):
            if there != here:
                raise ConfigError(
                    f"the runs are of different designs: {what} is {there} in {name} and {here} in"
                    f" {other_name}",
                    fix="compare runs that differ in nothing but their seed",
                )
        _same_rows(name, first.rows, other_name, other.rows)
    _all_different(runs)
    mode = primary_mode(first.heads, settings.modes)
    if mode is None:
        raise ConfigError(f"{name} has no trained head that was collected")
    return mode


def _design(one: RunArrays, two: RunArrays) -> list[tuple[str, object, object]]:
    """List what two runs of one design share, beside their questions."""
    return [
        ("the batch size", one.batch_size, two.batch_size),
        ("the trained heads", ", ".join(one.heads), ", ".join(two.heads)),
        ("the number of questions", question_count(one.rows), question_count(two.rows)),
    ]


def _all_different(runs: Mapping[str, RunArrays]) -> None:
    """Refuse the same training given twice: it would count as two seeds."""
    seen: dict[bytes, str] = {}
    for name, arrays in runs.items():
        key = b"".join(np.asarray(arrays.scores(head)).tobytes() for head in arrays.heads)
        if key in seen:
            raise ConfigError(
                f"{seen[key]} and {name} have the same scores at every step: one training twice",
                fix="name each seed once",
            )
        seen[key] = name


def _same_rows(name: str, one: Rows, other: str, two: Rows) -> None:
    """Refuse other questions, candidates or right answers."""
    pairs = zip(one.question_ids, two.question_ids, strict=True)
    apart = next((pair for pair in pairs if pair[0] != pair[1]), None)
    if apart is not None:
        raise ConfigError(
            f"the runs are of different designs: {name} asks question {apart[0]} where {other}"
            f" asks {apart[1]}",
            fix="collect both runs with the same --eval-questions",
        )
    if one.texts != two.texts or not np.array_equal(one.correct, two.correct):
        raise ConfigError(
            f"the runs are of different designs: {name} and {other} have the same question ids but"
            " other candidates or right answers",
            fix="collect both runs with the same --eval-questions",
        )
