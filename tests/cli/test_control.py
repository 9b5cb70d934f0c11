"""A control of a run is a run: collect, analyze and report take it as it is."""

import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe

from critical_phase.checkpoints import list_series, low_rank_factors
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder, read_record


@pytest.fixture(scope="module")
def controls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("controls")


@pytest.fixture
def control(probe: Probe, trained_run: Path, controls: Path) -> Path:
    """The control of the tiny run, made once."""
    out = controls / "random"
    if not out.exists():
        shown = probe("control", trained_run, "--out", out)
        assert shown.code == 0, shown.err
    return out


def norms(run: Path, head: str, step: int) -> np.ndarray:
    factors = low_rank_factors(list_series(run / "heads" / head).at(step)).values()
    return np.array([np.linalg.norm(scale * b.astype(float) @ a) for a, b, scale in factors])


def test_the_chosen_head_has_the_norms_of_the_trained_one_at_every_step(
    trained_run: Path, control: Path
) -> None:
    for step in range(13):
        trained, random = norms(trained_run, "negative", step), norms(control, "negative", step)
        np.testing.assert_allclose(random, trained, rtol=1e-6)
    assert trained.min() > 0


def test_the_other_head_is_shared_and_takes_no_room(trained_run: Path, control: Path) -> None:
    files = [p for p in (trained_run / "heads/positive").rglob("*") if p.is_file()]
    assert len(files) > 13
    for file in files:
        assert (control / file.relative_to(trained_run)).samefile(file)


def test_the_record_says_what_is_controlled(trained_run: Path, control: Path) -> None:
    record, source = read_record(RunFolder(control)), read_record(RunFolder(trained_run))
    assert record["control"] == {
        "kind": "random_adapter",
        "seed": 0,
        "heads": ["negative"],
        "run": "tiny",
    }
    assert record["name"] == "random"
    assert any("negative head is a control" in text for text in record["warnings"])
    assert {k: record[k] for k in ("recipe", "model")} == {
        k: source[k] for k in ("recipe", "model")
    }


def test_collect_analyze_and_report_take_the_control(probe: Probe, control: Path) -> None:
    commands = (
        ("collect", "--scores-only", "--checkpoints", "0,4,8,12"),
        ("analyze", "--draws", 40, "--permutations", 20),
        ("report",),
    )
    for name, *options in commands:
        shown = probe(name, control, *options)
        assert shown.code == 0, shown.err
    scores = StoredRun(RunFolder(control)).scores("negative")
    assert scores.shape[0] == 4
    assert np.array_equal(scores[0], StoredRun(RunFolder(control)).base_scores())
    assert not np.array_equal(scores[3], scores[0])
    assert "negative head is a control" in (control / "report/report.html").read_text()


def test_a_repeated_command_finishes_what_was_stopped(
    probe: Probe, trained_run: Path, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    assert probe("control", trained_run, "--out", out).code == 0
    (out / "heads/negative/checkpoint-5/critical_phase.json").unlink()
    stopped = out / "heads/negative/checkpoint-5"
    for file in stopped.iterdir():
        file.unlink()
    stopped.rmdir()
    (out / "run.json").unlink()
    assert probe("control", trained_run, "--out", out).code == 0
    assert list_series(out / "heads/negative").steps == tuple(range(13))
    assert (out / "run.json").is_file()


def test_another_control_or_another_run_in_the_folder_is_refused(
    probe: Probe, trained_run: Path, control: Path, tmp_path: Path
) -> None:
    shown = probe("control", trained_run, "--out", control, "--seed", 1)
    assert (shown.code, "its seed is 0, asked for 1" in shown.err) == (2, True)
    (tmp_path / "notes.txt").write_text("mine")
    shown = probe("control", trained_run, "--out", tmp_path)
    assert (shown.code, "the folder holds something else" in shown.err) == (2, True)
    shown = probe("control", trained_run, "--out", trained_run)
    assert (shown.code, "cannot be its own control" in shown.err) == (2, True)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--kind", "shuffled"), "choose from random_adapter"),
        (("--heads", "base"), "it has positive, negative"),
        (("--heads", ","), "no head is chosen"),
        (("--seed", -1), "the seed is -1"),
    ],
)
def test_what_cannot_be_controlled_is_refused_before_anything_is_written(
    probe: Probe, trained_run: Path, tmp_path: Path, options: tuple[object, ...], message: str
) -> None:
    shown = probe("control", trained_run, "--out", tmp_path / "c", *options)
    assert (shown.code, message in shown.err) == (2, True)
    assert not (tmp_path / "c").exists()


def test_a_series_made_elsewhere_is_controlled_too(
    probe: Probe, trained_run: Path, question_files: tuple[Path, Path], tmp_path: Path
) -> None:
    series = [f"{head}={trained_run / 'heads' / head}" for head in ("positive", "negative")]
    asked = [part for one in series for part in ("--series", one)]
    questions = ("--questions", question_files[1], "--checkpoints", "0,12")
    shown = probe("collect", "--out", tmp_path / "run", *asked, *questions, "--scores-only")
    assert shown.code == 0, shown.err
    assert probe("control", tmp_path / "run", "--out", tmp_path / "c").code == 0
    shown = probe("collect", tmp_path / "c", "--scores-only")
    assert shown.code == 0, shown.err
    run = RunFolder(tmp_path / "c")
    assert (run.trained_heads(), run.known_heads()) == (("negative",), ("positive", "negative"))
    assert len(list((tmp_path / "c/scores/positive").glob("*.h5"))) == 13


def test_a_control_is_not_trained_on(
    probe: Probe, control: Path, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    """A repeated `probe train` into the folder must not mix trained and random adapters."""
    shown = probe(
        *("train", "--out", control, "--steps", 12, "--lr", 0.05, "--model", tiny_model_folder),
        *("--questions", question_files[0], "--eval-questions", question_files[1]),
    )
    assert shown.code == 4
    assert "was trained with another control" in shown.err


def test_controls_are_named_as_such_in_json(control: Path) -> None:
    claim = json.loads((control / "control.json").read_text())
    assert (claim["kind"], claim["run"], claim["heads"]) == ("random_adapter", "tiny", ["negative"])
