"""Other runs beside an answer: those without a jump repeat no cause, other models are named."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from critical_phase.analysis.interventions.intervention_effect import Number
from critical_phase.analysis.interventions.intervention_minimum import Point
from critical_phase.analysis.interventions.intervention_repeats import Repeat, repetition
from critical_phase.cli.intervene_others import no_jump, set_apart
from critical_phase.cli.intervene_points import hold_points

ANSWER: dict[str, Any] = {
    "layers": [0, 2], "head": "negative", "mode": "likra", "weight": 1.0,
    "from": "negative@12", "to": "negative@31",
}  # fmt: skip


def findings(tau: float | None, mode: str = "likra") -> dict[str, Any]:
    return {"jump": None if tau is None else {"mode": mode, "tau_step": tau}, "weight": 1.0}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (findings(21.5), ""),
        (None, ""),
        (findings(None), "it has no jump"),
        (findings(40.0), "the jump at step 40 does not lie between the two ends"),
        (findings(21.5, "sft"), "the jump that is known is of sft with w 1"),
    ],
)
def test_a_run_without_a_jump_between_its_ends_repeats_no_cause(
    found: dict[str, Any] | None, said: str
) -> None:
    assert no_jump(found, ANSWER) == said


def test_an_answer_of_another_model_is_said_to_be_of_its_own_layers() -> None:
    assert set_apart(ANSWER, same_model=True) == ""
    assert set_apart(ANSWER, same_model=False) == "another model, and layers 0, 2 of its own"
    said = set_apart(ANSWER | {"layers": []}, same_model=False)
    assert said == "another model, and all layers of its own"


def test_another_model_counts_and_is_named_in_the_point() -> None:
    """What a reader must know is no reason not to count a run."""
    size = Number(0.8, (0.7, 0.9))
    runs = [Repeat(f"seed{i}", "one", size, (-0.1, 0.1)) for i in range(5)]
    runs.append(Repeat("other", "two", size, (-0.1, 0.1), aside="another model"))
    found = repetition(runs)
    assert found.point.met is True
    assert found.point.found.endswith("in 1 of 1 other datasets (other: another model)")
    runs[0] = Repeat("seed0", "one", None, (0.0, 0.0), "no such answer")
    said = repetition(runs).point.found
    assert said.endswith("(seed0: no such answer; other: another model)")


def a_run(folder: Path, seed: int, *, tau: float | None = 21.5, **changes: str) -> Path:
    """A run folder with one stored answer and findings, and nothing that needs a model."""
    record = {
        "schema_version": 1, "kind": "run", "name": folder.name, "seed": seed, "model": "m",
        "question_set_sha256": "q" * 12, "heads": ["negative"], "recipe": {"steps": 64},
    }  # fmt: skip
    points = [Point(i, "", True, "") for i in range(1, 8)]
    answer = ANSWER | {
        "intervention": "graft", "plan": "graft", "normalisation": "sum", "lost": False,
        "about": "this", "share": 0.8, "interval": [0.7, 0.9], "control_interval": [-0.1, 0.1],
        "points": [asdict(one) for one in points], "sentence": "", "causes": False,
    }  # fmt: skip
    for name, content in (
        ("run.json", record | changes),
        ("analysis/findings.json", findings(tau)),
        ("interventions/graft-negative-12-to-31.json", answer),
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(json.dumps(content))
    return folder


def test_a_seed_or_dataset_without_a_jump_does_not_fill_point_four(tmp_path: Path) -> None:
    first, *seeds = [a_run(tmp_path / f"seed{i}", i) for i in range(5)]
    other = a_run(tmp_path / "other", 0, question_set_sha256="w" * 12)
    (found,) = hold_points(first, (*seeds, other))
    assert found["points"][3]["met"] is True
    a_run(tmp_path / "seed4", 4, tau=None)
    (found,) = hold_points(first, (*seeds, other))
    point = found["points"][3]
    assert (point["met"], found["repeats"]["seeds"]) == (False, 4)
    assert point["found"].endswith("in 1 of 1 other datasets (seed4: it has no jump)")
    a_run(tmp_path / "seed4", 4)
    a_run(tmp_path / "other", 0, tau=40.0, question_set_sha256="w" * 12)
    (found,) = hold_points(first, (*seeds, other))
    assert found["points"][3]["met"] is False
    assert "in 0 of 1 other datasets (other: the jump at step 40" in found["points"][3]["found"]
    a_run(tmp_path / "other", 0, model="another")
    (found,) = hold_points(first, (*seeds, other))
    assert found["points"][3]["met"] is True
    said = found["repeats"]["runs"][-1]["aside"]
    assert said == "another model, and layers 0, 2 of its own"
    assert said in found["points"][3]["found"]
