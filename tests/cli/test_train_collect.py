"""`probe train --collect`: what the command writes, says and refuses."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_collecting import contents
from tiny_run import Probe

from critical_phase.cli.run_folder import RunFolder, read_record
from critical_phase.probes import Unit
from critical_phase.probes.in_training import LiveJob

Files = tuple[Path, Path]


@pytest.fixture
def arguments(tiny_model_folder: Path, question_files: Files) -> list[object]:
    train, evaluation = question_files
    given = ["--model", tiny_model_folder, "--questions", train, "--eval-questions", evaluation]
    dropout = ["--lora", "lora_dropout=0.2", "--accumulate", 2]
    return ["--steps", 4, "--lr", 0.05, "--schedule", "every:2", *dropout, *given]


def test_a_collected_training_is_one_that_probe_collect_finds_done(
    probe: Probe, arguments: list[object], tmp_path: Path
) -> None:
    limit = ["--collect", "--collect-limit", 12]
    done = probe("train", tmp_path / "with", *arguments, *limit)
    assert done.code == 0, done.err
    assert "collected 7, existing 0, failed 0" in done.out
    assert "next: probe analyze" in done.out
    note = read_record(RunFolder(tmp_path / "with"))["collect"]
    before = contents(tmp_path / "with")
    assert len(before) == 14
    later = probe("collect", tmp_path / "with", "--limit", 12)
    assert "collected 0, existing 7, failed 0" in later.out
    assert contents(tmp_path / "with") == before
    assert read_record(RunFolder(tmp_path / "with"))["collect"] == note
    assert probe("validate", tmp_path / "with").code == 0
    probe("train", tmp_path / "without", *arguments)
    heads = [contents(tmp_path / name / "heads", "*") for name in ("with", "without")]
    assert heads[0] == heads[1]


def test_heads_that_were_trained_before_are_left_to_probe_collect(
    probe: Probe, arguments: list[object], tmp_path: Path
) -> None:
    probe("train", tmp_path, *arguments, "--heads", "positive")
    done = probe("train", tmp_path, *arguments, "--collect", "--collect-limit", 12)
    assert "collected 4, existing 0, failed 0" in done.out
    assert "not collected, saved before: positive 0, 2, 4" in done.out
    assert "next: probe collect" in done.out
    later = probe("collect", tmp_path, "--limit", 12)
    assert "collected 3, existing 4, failed 0" in later.out
    again = probe("train", tmp_path, *arguments, "--collect", "--collect-limit", 12)
    assert "collected 0, existing 7, failed 0" in again.out


def test_the_section_collect_of_the_configuration_is_heard(
    probe: Probe, arguments: list[object], tmp_path: Path
) -> None:
    config = tmp_path / "config.yaml"
    section = {"limit": 6, "activations": False, "heads": ["negative"], "checkpoints": "0,4"}
    config.write_text(json.dumps({"collect": section}))
    run = tmp_path / "run"
    plan = probe("train", run, *arguments, "--collect", "--config", config, "--dry-run")
    assert "collect on the way: 6 questions at 2 steps of negative" in plan.out
    assert not run.exists()
    done = probe("train", run, *arguments, "--collect", "--config", config)
    assert "collected 3, existing 0, failed 0" in done.out
    assert "next: probe collect" in done.out
    assert sorted(contents(run)) == [
        "scores/base/step-00000000.h5",
        "scores/negative/step-00000000.h5",
        "scores/negative/step-00000004.h5",
    ]


def test_training_anew_collects_anew(probe: Probe, arguments: list[object], tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(json.dumps({"collect": {"activations": False}}))
    both = ["--collect", "--config", config, "--collect-limit"]
    run = tmp_path / "run"
    probe("train", run, *arguments, *both, 6)
    refused = probe("train", run, *arguments, "--seed", 1, *both, 4)
    assert "trained with another" in refused.err
    done = probe("train", run, *arguments, "--seed", 1, "--overwrite", *both, 4)
    assert "collected 7, existing 0, failed 0" in done.out
    later = probe("collect", run, "--scores-only", "--limit", 4)
    assert "collected 0, existing 7, failed 0" in later.out


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--collect-limit", 3], "--collect-limit needs --collect"),
        (["--collect", "--densify", "3"], "cannot be used with --collect"),
        (["--collect", "--config", {"device": "cuda:1"}], "both are one model"),
        (["--collect", "--config", {"checkpoints": "3"}], "no checkpoint at step 3"),
        (
            ["--collect", "--heads", "positive", "--config", {"heads": ["negative"]}],
            "names negative, and none of them is trained",
        ),
    ],
)
def test_what_cannot_be_done_is_refused_before_training(
    given: list[object], said: str, probe: Probe, arguments: list[object], tmp_path: Path
) -> None:
    if isinstance(given[-1], dict):
        config = tmp_path / "config.yaml"
        config.write_text(json.dumps({"collect": given[-1]}))
        given = [*given[:-1], config]
    if "--densify" in given:
        arguments = []
    refused = probe("train", tmp_path / "run", *arguments, *given)
    assert refused.code == 2
    assert said in refused.err
    assert not (tmp_path / "run/heads").exists()


def test_a_step_that_cannot_be_read_is_named_and_changes_the_exit_code(
    probe: Probe, arguments: list[object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LiveJob.measure

    def broken(self: LiveJob, unit: Unit) -> object:
        if unit.name == "negative-step-00000002":
            raise RuntimeError("no such kernel")
        return real(self, unit)

    monkeypatch.setattr(LiveJob, "measure", broken)
    done = probe("train", tmp_path, *arguments, "--collect", "--collect-limit", 4)
    assert done.code == 3
    assert "collected 6, existing 0, failed 1" in done.out
    assert "failed negative-step-00000002: no such kernel" in done.out
    assert "next: probe collect" in done.out
    monkeypatch.undo()
    later = probe("collect", tmp_path, "--limit", 4)
    assert (later.code, "collected 1, existing 6" in later.out) == (0, True)


@pytest.mark.slow
def test_of_two_processes_the_main_one_collects(
    probe: Probe, arguments: list[object], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [
        "--no-python",
        str(Path(sys.executable).with_name("probe")),
        "train",
        run,
        *arguments,
    ]
    command += ["--collect", "--collect-limit", 6, "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    ran = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        timeout=200,
        env=environment,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert ran.stdout.count("collected 7, existing 0, failed 0") == 1
    later = probe("collect", run, "--limit", 6)
    assert "collected 0, existing 7, failed 0" in later.out
