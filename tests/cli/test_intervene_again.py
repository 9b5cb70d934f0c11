"""Files of `probe intervene` beside each other, after a stop, and beside what is there now."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from moved_run import moved_copy
from tiny_run import Probe

from critical_phase.cli.intervene import files_of
from critical_phase.cli.intervene_points import hold_points
from critical_phase.cli.stored_training_tests import training_evidence
from critical_phase.errors import ConfigError

ENDS = ("--from", 1, "--draws", 50)
PREFIX = ("--plan", "graft", "--with", "draws=1", "--with", "doses=0,1")


def stored(run: Path) -> list[str]:
    return sorted(path.name for path in (run / "interventions").iterdir())


@pytest.fixture
def run(collected_run: Path, tmp_path: Path) -> Path:
    return moved_copy(collected_run, tmp_path)


def test_a_step_whose_number_begins_another_s_has_files_of_its_own(tmp_path: Path) -> None:
    names = ("scale-negative-1-to-2.json", "scale-negative-1-to-2-more.json",
             "scale-negative-1-to-26.json", "scale-negative-1-to-26-more.json")  # fmt: skip
    for name in names:
        (tmp_path / name).write_text("{}")
    found = [path.name for path in files_of(tmp_path, "scale-negative-1-to-2")]
    assert found == sorted(names[:2])


def test_an_answer_that_a_kill_left_out_is_made_and_a_stale_one_goes(
    probe: Probe, run: Path
) -> None:
    both = ("intervene", run, *ENDS, "--to", 12, *PREFIX, "--with", "sets=prefix,search")
    assert probe(*both).code == 0
    whole = {name: (run / "interventions" / name).read_bytes() for name in stored(run)}
    lost = run / "interventions" / "graft-negative-1-to-12-prefix_graft.json"
    lost.unlink()
    assert probe(*both).code == 0
    assert {n: (run / "interventions" / n).read_bytes() for n in whole} == whole
    alone = ("intervene", run, *ENDS, "--to", 12, *PREFIX, "--with", "sets=search")
    assert probe(*alone, "--overwrite").code == 0
    assert not lost.exists()  # made with other settings: no verdict may read it beside the new one


def answer(**changes: Any) -> dict[str, Any]:
    points = [{"number": n, "asks": "a", "met": True, "found": "it is"} for n in range(1, 8)]
    return {
        "intervention": "graft", "plan": "graft", "about": "this", "share": 0.9, "lost": False,
        "interval": [0.8, 1.0], "control_interval": [0.0, 0.1], "head": "negative",
        "mode": "likra", "weight": 1.0, "from": "negative@1", "to": "negative@12",
        "layers": [1], "adapters": True, "points": points, "causes": True, "sentence": "old",
        "normalisation": "sum",
    } | changes  # fmt: skip


CHANGES = (
    {"layer": 0, "quantity": "weights.negative.norm", "lead_interval": [-9.0, -8.0], "title": "no"},
    {"layer": 1, "quantity": "weights.positive.norm", "lead_interval": [-9.0, -8.0], "title": "no"},
    {"layer": 1, "quantity": "weights.negative.rank", "lead_interval": None, "title": "not placed"},
    {"layer": 1, "quantity": "weights.negative.norm", "lead_interval": [-2.0, -1.0],
     "title": "Norm"},
)  # fmt: skip
JUMP = {"mode": "likra", "tau_step": 5.0}


def held(run: Path, jump: dict[str, Any] | None, **changes: Any) -> dict[int, dict[str, Any]]:
    """Points of one answer beside findings, by number."""
    folder = run / "interventions"
    (run / "analysis").mkdir(exist_ok=True)
    folder.mkdir(exist_ok=True)
    found = {"jump": jump, "weight": 1.0, "changes": list(CHANGES)}
    (run / "analysis" / "findings.json").write_text(json.dumps(found))
    record = {"schema_version": 1, "model": "m", "question_set_sha256": "q", "recipe": {}}
    (run / "run.json").write_text(json.dumps(record))
    (folder / "graft.json").write_text(json.dumps(answer(**changes)))
    (values,) = (one for one in hold_points(run) if one["intervention"])
    assert json.loads((folder / "graft.json").read_text()) == values
    assert values["causes"] is all(point["met"] is True for point in values["points"])
    return {point["number"]: point for point in values["points"]}


def store_test(run: Path, name: str, **changes: Any) -> None:
    (run / "interventions").mkdir(exist_ok=True)
    training = {"met": True, "run_tau": {"steps": 5.0}} | changes.pop("training", {})
    test = {
        "schema_version": 1, "plan": "training_time", "heads": ["negative"], "layers": [1],
        "whole_layers": True, "withheld": {}, "sentence": "", "mode": "likra", "weight": 1.0,
        "training": training,
    }  # fmt: skip
    (run / "interventions" / f"training-{name}.json").write_text(json.dumps(test | changes))


def test_point_five_is_that_of_the_findings_there_are_now(tmp_path: Path) -> None:
    five = held(tmp_path, JUMP)[5]
    assert (five["met"], five["found"]) == (True, "Norm changes 1.0 to 2.0 steps before the jump")
    assert held(tmp_path, JUMP, layers=[2])[5]["met"] is None


@pytest.mark.parametrize(
    ("jump", "changes", "says"),
    [
        (None, {}, "the run has no jump"),
        (JUMP | {"mode": "sft"}, {}, "the jump that is known is of sft with w 1"),
        (JUMP, {"weight": 0.5}, "is of likra with w 1"),
        (JUMP | {"tau_step": 20.0}, {}, "the jump at step 20 does not lie between the two ends"),
        (JUMP | {"tau_step": 1.0}, {}, "does not lie between the two ends"),
        (JUMP, {"from": "positive@1"}, "not of the head that is changed"),
    ],
)
def test_a_change_of_another_jump_says_nothing_of_an_answer(
    jump: dict[str, Any] | None, changes: dict[str, Any], says: str, tmp_path: Path
) -> None:
    five = held(tmp_path, jump, **changes)[5]
    assert (five["met"], says in five["found"]) == (None, True), five


def test_a_test_in_training_speaks_for_one_head_one_jump_and_adapters(tmp_path: Path) -> None:
    store_test(tmp_path, "one")
    six = held(tmp_path, JUMP)[6]
    assert (six["met"], six["found"]) == (True, "it does")
    assert training_evidence(tmp_path, "negative", (1,)) is True
    for changes in (
        {"mode": "sft"},
        {"weight": 0.5},
        {"to": "negative@4"},
        {"from": "positive@1"},
        {"adapters": False},
        {"layers": [0, 1]},
    ):
        assert held(tmp_path, JUMP, **changes)[6]["met"] is None, changes
    assert "tests in training hold adapters" in held(tmp_path, JUMP, adapters=False)[6]["found"]
    store_test(tmp_path, "two", training={"met": False})
    assert held(tmp_path, JUMP)[6]["found"] == "it does in 1 of 2 tests"
    store_test(tmp_path, "one", heads=["positive", "negative"])  # which of the two did it?
    six = held(tmp_path, JUMP)[6]
    assert (six["met"], six["found"]) == (False, "it does not")
    store_test(tmp_path, "two", training={"met": None})
    assert held(tmp_path, JUMP)[6]["met"] is None


def test_one_base_at_two_places_is_no_second_model(probe: Probe, run: Path, tmp_path: Path) -> None:
    assert probe("intervene", run, *ENDS, "--to", 12, *PREFIX, "--with",
                 "sets=prefix").code == 0  # fmt: skip
    other = Path(shutil.copytree(run, tmp_path / "other"))
    record = json.loads((other / "run.json").read_text())
    moved = record | {"model": "a copy of it", "seed": 77}
    (other / "run.json").write_text(json.dumps(moved))
    with pytest.raises(ConfigError, match="different designs: the model"):
        hold_points(run, [other])
