"""What a sweep found: `sweep.json`, `sweep.csv` and `table.md` from the notes of its cells."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from critical_phase.analysis.many_runs.sweep import MILESTONES, WEIGHTS, over_seeds, still_rising
from critical_phase.atomic import write_json, write_text
from critical_phase.cli.sweep_cell import CellTask, is_finished
from critical_phase.cli.sweep_groups import (
    Finished,
    Group,
    curve_values,
    groups,
    mean_curve,
    shown_settings,
)
from critical_phase.cli.sweep_numbers import COLUMNS, NORMALISATIONS, number
from critical_phase.cli.sweep_reuse import read_note
from critical_phase.cli.sweep_sizes import size_series
from critical_phase.cli.sweep_table import markdown
from critical_phase.reports import write_sweep_page

Values = dict[str, Any]
MODES = ("base", "sft", "likra", "base_likra", "pos_base")
CLOCKS = ("steps", "examples", "summed_lr")
WEIGHTED = ("likra", "base_likra", "pos_base")


def summarise(folder: Path, name: str, tasks: Sequence[CellTask]) -> Values:
    """Write the summary of a sweep from what is finished, and return it.

    Args:
        folder: Folder of the sweep.
        name: Its name.
        tasks: Every cell that the file asks for.
    """
    finished = [
        Finished(task.cell, read_note(task.path)["numbers"]) for task in tasks if is_finished(task)
    ]
    value = summary(name, tasks, finished)
    write_json(folder / "sweep.json", value)
    write_text(folder / "sweep.csv", accuracies_csv(finished))
    write_text(folder / "table.md", markdown(value))
    write_sweep_page(folder)
    return value


def summary(name: str, tasks: Sequence[CellTask], finished: Sequence[Finished]) -> Values:
    """Compute what the tables and figures of a sweep show."""
    main = [one for one in finished if one.cell.role != "size"]
    done = {one.cell.name: one for one in finished}
    return {
        "schema_version": 1,
        "name": name,
        **_shared(finished, "questions"),
        **_shared(finished, "chance"),
        "milestones": list(MILESTONES),
        "cells": [_cell(task, done.get(task.cell.name)) for task in tasks],
        "curves": _curves(main),
        "weights": _weights(main),
        "sizes": size_series(finished),
        "jumps": _jumps(main),
        "notes": _notes(finished),
        "standard_errors": {
            "curves, weights, sizes, jumps": "over seeds: trainings alike but for it",
            "sweep.csv": "over questions, of one training",
        },
    }


def _shared(finished: Sequence[Finished], key: str) -> Values:
    """Give a number that all cells share, or none; and its range over the cells."""
    found = {one.numbers[key] for one in finished if one.numbers.get(key) is not None}
    ends = [min(found), max(found)] if found else None
    return {key: min(found) if len(found) == 1 else None, f"{key}_range": ends}


def accuracies_csv(finished: Sequence[Finished]) -> str:
    """Write every accuracy of every cell; undefined is blank."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", "role", "group", "seed", *COLUMNS])
    labels = {
        one.cell.name: group.label for group in groups(finished, "likra") for one in group.cells
    }
    for one in finished:
        head = [one.cell.name, one.cell.role, labels[one.cell.name], one.cell.train.seed]
        writer.writerows([*head, *row] for row in one.numbers["accuracies"])
    return text.getvalue()


def _cell(task: CellTask, found: Finished | None) -> Values:
    """Describe one cell: settings, state, jump."""
    note = read_note(task.path)
    state = "finished" if found else "failed" if task.failure.is_file() else "missing"
    numbers: Values = found.numbers if found else {}
    train = task.cell.train
    return {
        "name": task.cell.name,
        "role": task.cell.role,
        "state": state,
        "seed": train.seed,
        "settings": shown_settings(task.cell),
        "batch_size": train.batch_size,
        "reused": note.get("reused", {}),
        "page": (task.path / "report" / "report.html").is_file(),
        "jumps": [_ended(found, jump) for jump in numbers.get("jumps", [])] if found else [],
        "found": numbers.get("found"),
    }


def _ended(found: Finished, jump: Values) -> Values:
    """Add to a jump whether its curve still rises where the training ends."""
    points = found.points(jump["mode"], jump["normalisation"], 1.0)
    known = [(step, value) for step, _, value in points if value is not None]
    steps, curve = np.array([p[0] for p in known]), np.array([p[1] for p in known], dtype=float)
    return {**jump, "still_rising": bool(known) and still_rising(steps, curve)}


def _curves(cells: Sequence[Finished]) -> list[Values]:
    made = (
        curve_values(group, mode, how)
        for mode in MODES
        for how in NORMALISATIONS
        for group in groups(cells, mode)
    )
    return [value for value in made if value is not None]


def _weights(cells: Sequence[Finished]) -> list[Values]:
    """Follow accuracy over the weight of the subtracted head, at milestones and the last step."""
    return [
        value
        for mode in WEIGHTED
        for how in NORMALISATIONS
        for group in groups(cells, mode)
        for value in _by_weight(group, mode, how)
    ]


def _by_weight(group: Group, mode: str, how: str) -> list[Values]:
    curves = {weight: mean_curve(group, mode, how, weight) for weight in WEIGHTS}
    zero = curves[0.0]
    if zero is None:
        return []
    made = []
    for step, examples in zip(zero[0], zero[1], strict=True):
        means, errors = [], []
        for weight in WEIGHTS:
            found = curves[weight]
            at = found[0].index(step) if found is not None and step in found[0] else None
            means.append(None if found is None or at is None else number(found[2].mean[at]))
            errors.append(
                None if found is None or at is None else number(found[2].standard_error[at])
            )
        made.append({
            "group": group.label, "role": group.cells[0].cell.role, "mode": mode,
            "normalisation": how, "step": step, "examples": examples, "last": step == zero[0][-1],
            "weights": list(WEIGHTS), "mean": means, "standard_error": errors,
            "seeds": zero[2].seeds,
        })  # fmt: skip
    return made


def _jumps(cells: Sequence[Finished]) -> list[Values]:
    """Average the places of the half-rise over the seeds that have one, on every clock."""
    made: list[Values] = []
    for mode in ("likra", "base_likra", "sft"):
        for how in NORMALISATIONS:
            for group in groups(cells, mode):
                jumps = [
                    _ended(one, jump)
                    for one in group.cells
                    for jump in one.numbers["jumps"]
                    if jump["mode"] == mode and jump["normalisation"] == how
                ]
                found = [jump for jump in jumps if jump["half_rise_steps"] is not None]
                made += [_mean_jump(group, mode, how, jumps, found)] if jumps else []
    return made


def _mean_jump(
    group: Group, mode: str, how: str, jumps: Sequence[Values], found: Sequence[Values]
) -> Values:
    places = {
        clock: over_seeds(np.array([[_float(jump[f"half_rise_{clock}"])] for jump in found]))
        for clock in (CLOCKS if found else ())
    }
    return {
        "group": group.label, "mode": mode, "normalisation": how, "seeds": len(jumps),
        "found": len(found), "still_rising": sum(jump["still_rising"] for jump in found),
        "settings": shown_settings(group.cells[0].cell, ("seed",)),
        **{clock: number(place.mean[0]) for clock, place in places.items()},
        **{
            f"{clock}_standard_error": number(place.standard_error[0])
            for clock, place in places.items()
        },
    }  # fmt: skip


def _float(value: float | None) -> float:
    return float("nan") if value is None else value


def _notes(finished: Sequence[Finished]) -> list[str]:
    """List what a reader should know, once."""
    said: dict[str, list[str]] = {}
    for one in finished:
        for note in one.numbers.get("notes", []):
            said.setdefault(str(note), []).append(one.cell.name)
    return [
        f"{note} (in {len(names)} of {len(finished)} cells, first {names[0]})"
        for note, names in said.items()
    ]
