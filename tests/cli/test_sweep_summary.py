"""Planted accuracies give the numbers of the tables, worked out by hand."""

import json
from pathlib import Path
from typing import Any

import pytest

from critical_phase.cli.sweep import cell_tasks
from critical_phase.cli.sweep_cell import CellTask
from critical_phase.cli.sweep_file import read_sweep
from critical_phase.cli.sweep_groups import Finished
from critical_phase.cli.sweep_reuse import read_note
from critical_phase.cli.sweep_summary import accuracies_csv, summary
from critical_phase.cli.sweep_table import NONE, markdown

GRID = """
name: planted
train: {steps: 16}
factors: {negatives: [near_miss, irrelevant], seed: [0, 1]}
sizes: {values: [8, 128], factors: {negatives: [near_miss], seed: [0]}}
"""
LIKRA = {
    ("near_miss", 0): (None, 0.5, 0.8),
    ("near_miss", 1): (None, 0.7, 0.9),
    ("irrelevant", 0): (None, 0.3, 0.4),
    ("irrelevant", 1): (None, 0.3, 0.6),
}
"""Accuracy of likra at 0, 8 and 128 examples."""


def row(mode: str, weight: float, step: int, accuracy: float | None, how: str) -> list[Any]:
    return [mode, weight, how, step, step * 8, accuracy, 0.01, 0, 0]


def numbers(task: CellTask) -> dict[str, Any]:
    train = task.cell.train
    rows = []
    for how, less in (("sum", 0.0), ("per_char", 0.1)):
        values = LIKRA[train.negatives, train.seed]
        rows.append(row("base", 0.0, 0, 0.4, how))
        for step, value in zip((0, 1, 16), values, strict=True):
            if task.cell.role == "size" and step * 8 > (train.train_size or 0):
                continue
            shown = value if value is None else value - less
            rows.append(row("likra", 1.0, step, shown, how))
            rows.append(row("likra", 0.0, step, 0.45, how))
            rows.append(row("sft", 0.0, step, 0.4 + 0.1 * train.seed, how))
    return {"questions": 100, "chance": 0.25, "accuracies": rows, "jumps": [], "notes": ["odd"]}


@pytest.fixture
def tasks(tmp_path: Path) -> list[CellTask]:
    path = tmp_path / "sweep.yaml"
    path.write_text(GRID)
    return cell_tasks(read_sweep(path), tmp_path, "")


@pytest.fixture
def value(tasks: list[CellTask]) -> dict[str, Any]:
    return summary("planted", tasks, [Finished(task.cell, numbers(task)) for task in tasks])


def line(text: str, *start: str) -> list[str]:
    """Return the cells of the first table row that starts like this."""
    opening = f"| {' | '.join(start)} |"
    found = next(row for row in text.splitlines() if row.startswith(opening))
    return [cell.strip() for cell in found.strip("|").split("|")]


def test_means_and_errors_over_seeds_are_those_worked_out_by_hand(value: dict[str, Any]) -> None:
    text = markdown(value)
    assert line(text, "likra", "near_miss", "2")[3:] == [NONE, "0.600 ± 0.100", "0.850 ± 0.050"]
    assert line(text, "likra", "irrelevant", "2")[3:] == [NONE, "0.300 ± 0.000", "0.500 ± 0.100"]
    assert line(text, "mode", "cell", "seeds")[3:] == ["0", "8", "128"]
    assert "base, default: 0.400; chance: 0.250" in text


def test_a_head_that_two_cells_share_counts_once_per_seed(value: dict[str, Any]) -> None:
    sft = [c for c in value["curves"] if c["mode"] == "sft" and c["normalisation"] == "sum"]
    assert [(c["group"], c["seeds"]) for c in sft] == [("default", 2)]
    assert sft[0]["mean"] == pytest.approx([0.45] * 3)


def test_per_character_has_a_table_of_its_own(value: dict[str, Any]) -> None:
    second = markdown(value).split("per character (acc_norm)")[1]
    assert line(second, "likra", "near_miss", "2")[4] == "0.500 ± 0.100"


def test_weights_are_shown_at_chosen_and_last_steps(value: dict[str, Any]) -> None:
    cells = line(markdown(value), "likra", "near_miss", "128")
    assert cells[3] == "0.450"  # weight 0
    assert cells[13] == "0.850"  # weight 1
    assert cells[4] == NONE  # weight 0.1 was not planted


def test_longitudinal_and_cross_sectional_are_two_series(value: dict[str, Any]) -> None:
    found = [s for s in value["sizes"] if s["mode"] == "likra" and s["normalisation"] == "sum"]
    by_kind = {s["kind"]: s for s in found}
    assert len(found) == 2
    assert by_kind["cross-sectional"]["examples"] == [8, 128]
    assert by_kind["cross-sectional"]["mean"] == [0.5, 0.8]
    assert by_kind["cross-sectional"]["seeds"] == 1
    assert by_kind["longitudinal"]["mean"] == [None, pytest.approx(0.6), pytest.approx(0.85)]


def test_a_missing_cell_is_named_and_its_group_has_fewer_seeds(tasks: list[CellTask]) -> None:
    done = [
        Finished(task.cell, numbers(task)) for task in tasks if task.cell.name != "near_miss-s1"
    ]
    text = markdown(summary("planted", tasks, done))
    assert "**missing:** near_miss-s1" in text
    assert line(text, "likra", "near_miss", "1")[4] == "0.500"


def test_the_csv_has_one_line_per_accuracy_and_blanks_for_undefined(tasks: list[CellTask]) -> None:
    text = accuracies_csv([Finished(tasks[0].cell, numbers(tasks[0]))])
    lines = text.splitlines()
    assert lines[0].startswith("cell,role,group,seed,mode,weight,normalisation,step,examples,acc")
    assert len(lines) == 1 + 2 * (1 + 3 * 3)
    assert "near_miss-s0,factorial,near_miss,0,likra,1.0,sum,0,0,,0.01,0,0" in lines


def test_a_summary_of_nothing_says_so(tasks: list[CellTask]) -> None:
    text = markdown(summary("planted", tasks, []))
    assert "0 of 6 cells are finished" in text


def test_without_an_analysis_there_is_no_column_of_tau(tasks: list[CellTask]) -> None:
    text = markdown(with_jumps(tasks, None))
    assert "tau, steps" not in text
    assert "not analysed (`analyze: true` in the sweep file)" in text
    found = {"jump": {"mode": "likra", "tau_step": 5.0}, "sentence": ""}
    assert line(markdown(with_jumps(tasks, found)), "near_miss-s0", "likra")[-1] == "5.000"


def test_a_curve_that_still_rises_is_marked(tasks: list[CellTask]) -> None:
    text = markdown(with_jumps(tasks, None))
    cells = line(text, "near_miss-s0", "likra")
    assert cells[2] == "9.50 [9.00, 10.20]"
    assert cells[5] == "still rising"
    assert line(text, "near_miss", "likra", "2 of 2")[3] == "2"


def with_jumps(tasks: list[CellTask], found: dict[str, Any] | None) -> dict[str, Any]:
    places = (("half_rise", 9.5), ("low", 9.0), ("high", 10.2))
    clocks = ("steps", "examples", "summed_lr")
    jump = {"mode": "likra", "normalisation": "sum", "rise": 0.3, "rise_interval": [0.2, 0.4]}
    jump |= {f"{key}_{clock}": value for key, value in places for clock in clocks}
    made = [Finished(task.cell, numbers(task)) for task in tasks]
    for one in made:
        one.numbers.update(jumps=[jump], found=found)
    return summary("planted", tasks, made)


def test_cells_with_other_questions_give_a_range_and_every_curve_its_own(
    tasks: list[CellTask],
) -> None:
    made = [Finished(task.cell, numbers(task)) for task in tasks]
    made[-1].numbers.update(questions=50, chance=0.5)
    value = summary("planted", tasks, made)
    assert (value["questions"], value["questions_range"]) == (None, [50, 100])
    assert (value["chance"], value["chance_range"]) == (None, [0.25, 0.5])
    assert {curve["chance"] for curve in value["curves"]} == {0.25}


def test_a_note_older_than_a_setting_has_its_default(tmp_path: Path) -> None:
    note = {"train": {"lr": 0.5}, "collect": {}, "analyze": None}
    (tmp_path / "cell.json").write_text(json.dumps(note))
    found = read_note(tmp_path)
    assert found["train"]["lr"] == 0.5
    assert found["train"]["equal_candidates"] == "refuse"
    assert found["analyze"] is None
