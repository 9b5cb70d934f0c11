"""`probe analyze --control`: what a run controls is read from recipes; anything else is refused."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Outcome, Probe, colour_questions, write_lines

from critical_phase.cli import main
from critical_phase.cli.run_controls import control_kind
from critical_phase.errors import ConfigError

FAST = ("--draws", 100, "--permutations", 40)
SLOW = ("--lr", 0.0125, "--steps", 48, "--schedule", "0:48:4")


def ok(*arguments: object) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(argument) for argument in arguments])
    assert not stopped.value.code


@pytest.fixture(scope="module")
def run(collected_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny run with its scores alone; controls are noted in it."""
    without = shutil.ignore_patterns("activations", "analysis", "report", "contexts", "failed")
    folder = tmp_path_factory.mktemp("run") / "tiny"
    return Path(shutil.copytree(collected_run, folder, ignore=without))


@pytest.fixture(scope="module")
def train(
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Path]:
    """Two controls: other negatives, and a quarter of the learning rate."""
    folder, (training, evaluation) = tmp_path_factory.mktemp("trained"), question_files
    same = ("--model", tiny_model_folder, "--questions", training, "--eval-questions", evaluation)
    options = {
        "first": ("--lr", 0.05, "--steps", 12, "--negatives", "irrelevant"),
        "second": SLOW,
    }
    for name, own in options.items():
        ok("train", "--out", folder / name, *same, *own)
        ok("collect", folder / name, "--scores-only")
    return {name: folder / name for name in options}


def changed(run: Path, folder: Path, **values: object) -> Path:
    """A copy of a run whose run.json says something else."""
    copy = Path(shutil.copytree(run, folder / "other"))
    record = json.loads((copy / "run.json").read_text())
    record["recipe"] |= values.pop("recipe", {})  # type: ignore[operator]
    (copy / "run.json").write_text(json.dumps(record | values))
    return copy


def refused(probe: Probe, run: Path, *controls: Path) -> Outcome:
    before = (run / "run.json").read_bytes()
    shown = probe("analyze", run, *(x for path in controls for x in ("--control", path)), *FAST)
    assert shown.code == 2
    assert "fix:" in shown.err
    assert (run / "run.json").read_bytes() == before
    return shown


def test_controls_are_recognised_compared_and_noted(
    probe: Probe, run: Path, train: dict[str, Path]
) -> None:
    both = ("--control", train["first"], "--control", train["second"])
    shown = probe("analyze", run, *both, *FAST, "--json")
    assert shown.code == 0, shown.err
    findings = json.loads(shown.out)
    kinds = [(one["name"], one["kind"]) for one in findings["control_runs"]]
    assert kinds == [("first", "irrelevant"), ("second", "slow")]
    noted = json.loads((run / "run.json").read_text())["control_runs"]
    assert [one["path"] for one in noted] == [str(train[n].resolve()) for n in ("first", "second")]
    assert len({one["scores_sha256"] for one in noted}) == 2
    measure = json.loads((run / "analysis/control_runs.json").read_text())
    assert measure["settings"]["controls"] == findings["control_runs"]
    (table,) = measure["tables"]
    keys = [column["key"] for column in table["columns"]]
    rows = [dict(zip(keys, row, strict=True)) for row in table["rows"]]
    last = {row["control"]: row for row in rows if row["when"] == "at the end"}
    assert (last["first"]["step"], last["first"]["control_step"]) == (12, 12)
    assert (last["second"]["step"], last["second"]["control_step"]) == (12, 48)
    assert last["second"]["time"] == pytest.approx(last["second"]["control_time"], abs=1e-6)
    assert {curve["label"] for curve in measure["curves"]} == {
        f"{name} (likra)" for name in ("run", "first", "second")
    }


def test_the_next_analysis_without_controls_forgets_them(probe: Probe, run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps(record | {"control_runs": [{"name": "old"}]}))
    assert probe("analyze", run, *FAST).code == 0
    findings = json.loads((run / "analysis/findings.json").read_text())
    assert "control_runs" not in findings
    assert json.loads((run / "run.json").read_text())["control_runs"] == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipe": {"rank": 2}}, "rank 2 in place of 8"),
        ({"recipe": {"negatives": "shuffled_question"}}, "negatives shuffled_question in place of"),
        (
            {"recipe": {"negatives": "irrelevant", "lr": 0.01}},
            "lr 0.01 in place of 0.05, negatives",
        ),
        ({"recipe": {"lr": 0.03}}, "lr 0.03 in place of 0.05"),
        ({"recipe": {"lr": 0.01, "steps": 6}}, "lr 0.01 in place of 0.05, steps 6 in place of 12"),
        ({}, "the same recipe (runs that differ in their seed are compared by probe seeds)"),
        ({"control": {"kind": "random_adapter"}}, "it has random adapters"),
        (
            {"recipe": {"negatives": "irrelevant", "contamination": 0.3}},
            "contamination 0.3 in place",
        ),
    ],
)
def test_runs_that_control_nothing_are_refused_with_what_differs(
    values: dict[str, object], said: str, probe: Probe, run: Path, tmp_path: Path
) -> None:
    assert said in refused(probe, run, changed(run, tmp_path, **values)).err


def test_a_run_of_another_kind_of_negatives_has_no_control_of_the_prior(
    probe: Probe, run: Path, tmp_path: Path
) -> None:
    mine = {"recipe": {"negatives": "question_blind", "lr": 1.0, "steps": 3}}
    theirs = {"recipe": {"negatives": "irrelevant", "lr": 1.0, "steps": 3}}
    with pytest.raises(ConfigError, match="the negatives of the run are question_blind"):
        control_kind(mine, theirs, "x")
    with pytest.raises(
        ConfigError, match="the control was not trained by probe train: it has no lr"
    ):
        control_kind(theirs, {"recipe": {"negatives": "irrelevant", "steps": 3}}, "x")


def test_other_evaluation_questions_are_refused(
    probe: Probe, run: Path, train: dict[str, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(train["first"], tmp_path / "fewer"))
    for name in ("scores", "plan.csv", "tokens.jsonl", "manifest.jsonl"):
        path = other / name
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    ok("collect", other, "--scores-only", "--limit", 20)
    assert "asked 20 questions, of which 20 are among the 30" in refused(probe, run, other).err


def test_other_training_questions_are_refused(
    probe: Probe, run: Path, train: dict[str, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(train["first"], tmp_path / "other"))
    write_lines(other / "questions/train.jsonl", colour_questions(0, 59))
    assert "was trained on other questions" in refused(probe, run, other).err
    (other / "questions/train.jsonl").unlink()
    assert "has no copy of its training questions" in refused(probe, run, other).err


def test_a_run_itself_and_one_control_twice_are_refused(
    probe: Probe, run: Path, train: dict[str, Path], tmp_path: Path
) -> None:
    assert "a run cannot be its own control" in refused(probe, run, run).err
    copy = Path(shutil.copytree(train["first"], tmp_path / "copy"))
    assert "one control given twice" in refused(probe, run, train["first"], copy).err


def test_a_slow_control_without_its_log_is_refused(
    probe: Probe, run: Path, train: dict[str, Path], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(train["second"], tmp_path / "other"))
    log = other / "heads/negative/log.csv"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:5] + lines[6:]))
    assert "learning rate of the negative head is not logged" in refused(probe, run, other).err


def test_a_control_that_is_no_collected_run_is_refused(
    probe: Probe, run: Path, trained_run: Path, tmp_path: Path
) -> None:
    shown = probe("analyze", run, "--control", tmp_path / "nothing", *FAST)
    assert (shown.code, "no run here" in shown.err) == (4, True)
    copy = changed(trained_run, tmp_path, recipe={"negatives": "irrelevant"})
    shown = probe("analyze", run, "--control", copy, *FAST)
    assert (shown.code, "no scores of the base model" in shown.err) == (4, True)
