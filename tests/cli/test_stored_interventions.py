"""Results of interventions come from files, whole or with an error that names the file."""

import json
from pathlib import Path
from typing import Any

import pytest

from critical_phase.analysis.judging.causal_evidence import of_jump
from critical_phase.cli.stored_interventions import read_interventions
from critical_phase.errors import StoreError

GOOD: dict[str, Any] = {
    "schema_version": 1,
    "plan": "prefix_graft",
    "about": "late adapters of blocks 0 to 2",
    "share": 0.8,
    "interval": [0.7, 0.9],
    "control": "a random update of the same norm",
    "control_share": 0.0,
    "control_interval": [-0.1, 0.1],
    "questions": 150,
}


def store(run: Path, name: str, found: object) -> None:
    (run / "interventions").mkdir(exist_ok=True)
    (run / "interventions" / name).write_text(json.dumps(found))


def test_a_run_without_interventions_has_none(tmp_path: Path) -> None:
    assert read_interventions(tmp_path) == ()


def test_files_are_read_in_the_order_of_their_names(tmp_path: Path) -> None:
    store(tmp_path, "b.json", GOOD)
    store(tmp_path, "a.json", GOOD | {"plan": "frozen_attention"})
    first, second = read_interventions(tmp_path)
    assert (first.plan, second.plan) == ("frozen_attention", "prefix_graft")
    assert second.beats_control
    assert second.text == (
        "late adapters of blocks 0 to 2 brings 0.80 [0.70, 0.90] of the margin's change;"
        " a random update of the same norm 0.00 [-0.10, 0.10] (150 questions)"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 1 is expected"),
        ({"plan": "magic"}, "'magic' is unknown, known are constant_vector"),
        ({"share": 1.5}, "outside its interval"),
        ({"control_interval": [0.1]}, "not enough values"),
        ({"share": "much"}, "could not convert"),
    ],
)
def test_a_file_that_holds_something_else_is_named(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    store(tmp_path, "one.json", GOOD | change)
    with pytest.raises(StoreError, match=message) as caught:
        read_interventions(tmp_path)
    assert caught.value.where.endswith("interventions/one.json")


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    store(tmp_path, "one.json", {k: v for k, v in GOOD.items() if k not in ("plan", "questions")})
    with pytest.raises(StoreError, match="plan, questions missing"):
        read_interventions(tmp_path)


def test_damage_is_named(tmp_path: Path) -> None:
    store(tmp_path, "one.json", GOOD)
    path = tmp_path / "interventions" / "one.json"
    path.write_text(path.read_text()[:-10])
    with pytest.raises(StoreError, match="holds no intervention"):
        read_interventions(tmp_path)


def test_a_verdict_is_not_fed_by_another_jump(tmp_path: Path) -> None:
    """Ends that do not enclose the jump, another mode or another head answer something else."""
    ends = {"head": "negative", "mode": "likra", "from": "negative@8", "to": "negative@32"}
    files = {
        "own": ends,
        "unknown": {},
        "later": ends | {"from": "negative@32", "to": "negative@64"},
        "mode": ends | {"mode": "sft"},
        "across": ends | {"from": "positive@8"},
    }
    for name, more in files.items():
        store(tmp_path, f"{name}.json", GOOD | {"about": name} | more)
    found = read_interventions(tmp_path)
    assert {one.about for one in of_jump(found, "negative", "likra", 20.0)} == {"own", "unknown"}
    assert {one.about for one in of_jump(found, "positive", "likra", 20.0)} == {"unknown"}
    assert {one.about for one in of_jump(found, "negative", "likra", None)} == {
        "own", "unknown", "later",
    }  # fmt: skip


def test_a_control_is_beaten_by_what_lies_above_one_more_draw_of_it(tmp_path: Path) -> None:
    """The mean of draws may be narrow where single ones are not."""
    store(tmp_path, "a.json", GOOD | {"control_another": [-0.9, 0.9]})
    store(tmp_path, "b.json", GOOD | {"control_another": [-0.3, 0.3]})
    store(tmp_path, "c.json", GOOD | {"control_another": None})
    assert [one.beats_control for one in read_interventions(tmp_path)] == [False, True, True]
