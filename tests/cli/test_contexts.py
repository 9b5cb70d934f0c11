"""`probe collect --contexts`: the same rows and steps behind other texts."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe

from critical_phase.probes import read_plan, read_scores

NAMES = "answer_only,shuffled,shots-2"
COLLECTED = shutil.ignore_patterns(
    "plan.csv", "tokens.jsonl", "scores", "activations", "contexts", "manifest.jsonl"
)


@pytest.fixture(scope="module")
def run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained run, to be collected here."""
    out = tmp_path_factory.mktemp("contexts") / "run"
    return Path(shutil.copytree(trained_run, out, ignore=COLLECTED))


def test_contexts_are_scored_at_the_steps_of_the_collection(probe: Probe, run: Path) -> None:
    shown = probe(
        *("collect", run, "--scores-only", "--limit", 12, "--checkpoints", "0,4,12"),
        *("--contexts", NAMES),
    )
    assert shown.code == 0, shown.err
    assert "context shuffled: packed rows, collected 7" in shown.out
    main = read_plan(run / "plan.csv")
    for name in NAMES.split(","):
        plan = read_plan(run / "contexts" / name / "plan.csv")
        assert (plan.question_ids, plan.texts) == (main.question_ids, main.texts)
        for head, steps in (("base", [0]), ("positive", [0, 4, 12]), ("negative", [0, 4, 12])):
            files = sorted((run / "contexts" / name / "scores" / head).iterdir())
            assert [int(file.stem.split("-")[1]) for file in files] == steps


def test_another_text_gives_other_scores(run: Path) -> None:
    files = [run / "scores", *(run / "contexts" / name / "scores" for name in NAMES.split(","))]
    scores = [read_scores(f / "negative" / "step-00000012.h5").logprob_sum for f in files]
    for other in scores[1:]:
        assert np.abs(scores[0] - other).max() > 1e-3


def test_the_run_says_how_its_contexts_were_made(run: Path) -> None:
    notes = json.loads((run / "run.json").read_text())["contexts"]
    assert set(notes) == set(NAMES.split(","))
    assert notes["shots-2"]["demonstrations"] == ["q0", "q1"]
    assert notes["answer_only"]["tokens_before_answer"] == [1, 1]


def test_the_second_time_nothing_is_scored(probe: Probe, run: Path) -> None:
    shown = probe(
        *("collect", run, "--scores-only", "--limit", 12, "--checkpoints", "0,4,12"),
        *("--contexts", "shuffled"),
    )
    assert shown.code == 0
    assert "context shuffled: existing rows, collected 0" in shown.out


@pytest.mark.parametrize(
    ("names", "text"),
    [("blind", "no context 'blind'"), ("domain,domain", "different contexts"), (",", "different")],
)
def test_names_are_checked_before_a_model_is_loaded(
    names: str, text: str, probe: Probe, run: Path
) -> None:
    shown = probe("collect", run, "--contexts", names)
    assert shown.code == 2
    assert text in shown.err


def test_a_context_that_does_not_fit_the_model_is_refused(probe: Probe, run: Path) -> None:
    shown = probe(
        *("collect", run, "--scores-only", "--limit", 12, "--checkpoints", "0,4,12"),
        *("--contexts", "shots-50"),
    )
    assert shown.code == 2
    assert "context 'shots-50'" in shown.err
    assert "ask for fewer shots" in shown.err


def test_an_impossible_context_is_refused_before_anything_is_collected(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    fresh = tmp_path / "run"
    shutil.copytree(trained_run, fresh, ignore=COLLECTED)
    for dry in ((), ("--dry-run",)):
        shown = probe("collect", fresh, "--contexts", "answer_only,filler", *dry)
        assert shown.code == 2
        assert "does not know the words of the filler" in shown.err
    assert not list(fresh.rglob("*.h5"))


def test_a_dry_run_lists_contexts_with_their_units(probe: Probe, run: Path) -> None:
    shown = probe(
        *("collect", run, "--scores-only", "--limit", 12, "--checkpoints", "0,4,12"),
        *("--contexts", "shuffled,domain", "--dry-run"),
    )
    assert shown.code == 0
    assert "context shuffled: 48 rows, " in shown.out
    assert "7 units, of which 7 exist" in shown.out
    assert "7 units, of which 0 exist" in shown.out
    assert not (run / "contexts" / "domain").exists()
