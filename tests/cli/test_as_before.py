"""A repeated collection takes what the user leaves out from the run, and says so."""

import shutil
from pathlib import Path

import pytest
from tiny_run import Probe

from critical_phase.probes import read_attrs, read_plan

COLLECTED = shutil.ignore_patterns(
    "plan.csv", "tokens.jsonl", "scores", "activations", "contexts", "manifest.jsonl"
)
SAID = "taken from the run, as it was collected before: limit 12, seed 3, scores only"


@pytest.fixture(scope="module")
def drawn(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of which 12 questions, drawn with seed 3, are scored at three steps."""
    from critical_phase.cli import main

    out = tmp_path_factory.mktemp("drawn") / "run"
    shutil.copytree(trained_run, out, ignore=COLLECTED)
    chosen = ["--limit", "12", "--seed", "3", "--scores-only", "--checkpoints", "0,4,12"]
    with pytest.raises(SystemExit) as stopped:
        main(["collect", str(out), *chosen])
    assert not stopped.value.code
    return out


@pytest.fixture
def run(drawn: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(drawn, tmp_path / "run"))


def test_a_recommended_command_works_as_it_is_printed(probe: Probe, run: Path) -> None:
    shown = probe("collect", run, "--contexts", "again", "--checkpoints", "log:3")
    assert shown.code == 0, shown.err
    assert shown.err.splitlines().count(SAID) == 1
    assert not list(run.glob("activations/*/*.h5"))
    plans = [read_plan(folder / "plan.csv") for folder in (run, run / "contexts/again")]
    assert plans[0].question_ids == plans[1].question_ids
    assert len(plans[0].question_ids) == 12
    assert read_attrs(run / "contexts/again/scores/base/step-00000000.h5")["seed"] == 3


def test_without_contexts_activations_are_added_on_the_same_questions(
    probe: Probe, run: Path
) -> None:
    shown = probe("collect", run, "--checkpoints", "0,4")
    assert shown.code == 0, shown.err
    assert "as it was collected before: limit 12, seed 3\n" in shown.err
    assert (run / "activations/negative/step-00000004.h5").is_file()


def test_what_the_user_says_is_not_changed(probe: Probe, run: Path) -> None:
    shown = probe("collect", run, "--limit", 12, "--seed", 3, "--scores-only")
    assert shown.code == 0
    assert "taken from the run" not in shown.err
    for other in (("--limit", 20), ("--seed", 4)):
        assert "already has another plan" in probe("collect", run, *other).err
    asked = ("--contexts", "again", "--collect", "residual", "--checkpoints", "0")
    assert probe("collect", run, *asked).code == 0
    assert list(run.glob("activations/base/*.h5"))


def test_collecting_all_again_is_free_of_the_old_draw(probe: Probe, run: Path) -> None:
    assert probe("collect", run, "--checkpoints", "0", "--scores-only", "--overwrite").code == 0
    assert len(read_plan(run / "plan.csv").question_ids) == 30


def test_a_file_of_settings_counts_as_said(probe: Probe, run: Path, tmp_path: Path) -> None:
    config = tmp_path / "probe.yaml"
    config.write_text("collect:\n  seed: 4\n")
    shown = probe("collect", run, "--config", config)
    assert "already has another plan" in shown.err


def test_the_error_of_one_context_gives_the_command_for_the_others(probe: Probe, run: Path) -> None:
    asked = ("--contexts", "answer_only,filler,shuffled", "--checkpoints", "0,4")
    shown = probe("collect", run, *asked)
    assert shown.code == 2
    assert not (run / "contexts").exists()
    ready = shown.err.rpartition("for the others: ")[2].strip()
    assert ready.startswith(
        f"probe collect {run} --contexts answer_only,shuffled --checkpoints 0,4"
    )
    assert probe(*ready.split()[1:]).code == 0
    assert "for the others" not in probe("collect", run, "--contexts", "filler").err
