"""A run trained again with something withheld: the whole way, from options to the verdict."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_run import Probe, colour_questions, write_lines

from critical_phase.checkpoints import Recipe, adapter_identity, list_series, load_adapter
from critical_phase.cli.retrain_result import file_of
from critical_phase.cli.run_controls import control_kind
from critical_phase.cli.run_folder import RunFolder, read_record
from critical_phase.cli.settings import TrainSettings
from critical_phase.cli.stored_interventions import read_interventions
from critical_phase.cli.stored_training_tests import read_training_tests, training_evidence
from critical_phase.cli.withhold import read_window, withheld_of
from critical_phase.errors import ConfigError, StoreError

NAME = "training-freeze-all-positive-1-to-7.json"


def blue(start: int, count: int) -> list[dict[str, object]]:
    """The right answer is always the first: something that a few steps can learn."""
    return [{**question, "answer": 0} for question in colour_questions(start, count)]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("blue")
    return write_lines(folder / "train.jsonl", blue(0, 60)), write_lines(
        folder / "eval.jsonl", blue(60, 24)
    )


@pytest.fixture(scope="module")
def base(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("retrain") / "run"


@pytest.fixture
def run(probe: Probe, base: Path, files: tuple[Path, Path], tiny_model_folder: Path) -> Path:
    """A run with a positive head, collected; made once."""
    if not base.exists():
        asked = ["--model", tiny_model_folder, "--questions", files[0], "--eval-questions"]
        shown = probe("train", base, *asked, files[1], "--heads", "positive", "--steps", 12,
                      "--lr", 0.01)  # fmt: skip
        assert shown.code == 0, shown.err
        shown = probe("collect", base, "--scores-only")
        assert shown.code == 0, shown.err
    return base


@pytest.fixture
def found(probe: Probe, run: Path) -> dict[str, Any]:
    """Everything frozen for six steps before the jump; made once."""
    path = run / "interventions" / NAME
    if not path.is_file():
        shown = probe(*retrain(run))
        assert shown.code == 0, shown.err
    made: dict[str, Any] = json.loads(path.read_text())
    return made


def retrain(run: Path, *more: object) -> list[object]:
    return [
        "retrain", run, "--out", run.parent / "all", "--freeze", "all", "--window", "1:7",
        "--control", "0.up_proj", "--from", 0, "--to", 11, *more,
    ]  # fmt: skip


def test_a_pause_of_six_steps_moves_the_jump_by_six(found: dict[str, Any], run: Path) -> None:
    training = found["training"]
    low, high = training["test"]["later"]["interval_steps"]
    assert low <= 6 <= high
    assert training["test"]["kind"] == "later"
    assert training["test"]["apart_before_window"] == 0.0
    assert training["met"] is True, found["sentence"]
    assert training["controls"][0]["withheld"]["places"] == "0.up_proj"
    assert training["run_tau"]["examples"] == pytest.approx(
        8 * training["run_tau"]["steps"], rel=1e-5
    )
    assert "point 6 of the word cause is met" in found["sentence"]
    assert found["questions"] == 12
    assert any("not over seeds" in note for note in found["notes"])


def test_it_is_evidence_for_the_layers_it_froze_and_for_no_verdict(
    found: dict[str, Any], run: Path, tmp_path: Path
) -> None:
    assert (found["layers"], found["whole_layers"]) == ([0, 1], True)
    assert read_interventions(run) == ()
    assert [one["plan"] for one in read_training_tests(run)] == ["training_time"]
    assert training_evidence(run, "positive", (1, 0)) is True
    assert training_evidence(run, "positive", (0,)) is None
    assert training_evidence(run, "negative", (0, 1)) is None
    folder = tmp_path / "interventions"
    folder.mkdir()
    for name, met in (("a", None), ("b", False)):
        changed = found | {"training": found["training"] | {"met": met}}
        (folder / f"training-{name}.json").write_text(json.dumps(changed))
        assert training_evidence(tmp_path, "positive", (0, 1)) is met
    part = changed | {"whole_layers": False}
    (folder / "training-b.json").write_text(json.dumps(part))
    assert training_evidence(tmp_path, "positive", (0, 1)) is None
    (folder / "training-c.json").write_text("{}")
    with pytest.raises(StoreError, match="holds no training-time test"):
        training_evidence(tmp_path, "positive", (0, 1))


def test_a_test_with_other_controls_stands_beside_the_first(
    found: dict[str, Any], tmp_path: Path
) -> None:
    """Otherwise a control that does the same could be replaced by one that does not."""
    first = file_of(tmp_path, found)
    first.write_text(json.dumps(found))
    assert file_of(tmp_path, found) == first
    (control,) = found["training"]["controls"]
    other = control | {"withheld": control["withheld"] | {"places": "1.up_proj"}}
    changed = found | {"training": found["training"] | {"controls": [other]}}
    assert file_of(tmp_path, changed).name == f"{first.stem}-2.json"
    assert file_of(tmp_path, found | {"mode": "likra"}).name == f"{first.stem}-2.json"
    file_of(tmp_path, changed).write_text(json.dumps(changed))
    assert file_of(tmp_path, changed).name == f"{first.stem}-2.json"
    assert file_of(tmp_path, found | {"mode": "likra"}).name == f"{first.stem}-3.json"
    first.write_text("{}")
    with pytest.raises(StoreError, match="holds no training-time test"):
        file_of(tmp_path, found)


def test_the_test_is_the_run_but_for_the_window(found: dict[str, Any], run: Path) -> None:
    test = run.parent / "all" / "test"
    notes = [adapter_identity(f / "heads/positive/checkpoint-1") or {} for f in (run, test)]
    assert notes[1]["recipe"].pop("withheld") == {
        "kind": "freeze",
        "places": "all",
        "window": [1, 7],
    }
    assert notes[0] == notes[1]
    record = read_record(RunFolder(test))
    assert record["recipe"]["withheld"]["heads"] == ["positive"]
    with pytest.raises(
        ConfigError, match="is a training-time test, trained without updates of all"
    ):
        control_kind(read_record(RunFolder(run)), record, str(test))
    series = [list_series(f / "heads" / "positive") for f in (run, test)]
    hashes = [{c.step: c.sha256 for c in one.checkpoints} for one in series]
    assert all(hashes[0][s] == hashes[1][s] for s in range(2))
    assert len({hashes[1][s] for s in range(1, 8)}) == 1
    assert set(hashes[1].values()) - set(hashes[0].values())


def test_a_repeated_command_trains_nothing_and_says_the_same(
    probe: Probe, found: dict[str, Any], run: Path
) -> None:
    before = {p: p.stat().st_mtime_ns for p in run.parent.glob("all/*/heads/*/*/*.safetensors")}
    shown = probe(*retrain(run, "--json"))
    assert shown.code == 0, shown.err
    assert "finished before" in shown.err
    assert json.loads(shown.out) == found
    assert before == {p: p.stat().st_mtime_ns for p in before}
    again = retrain(run)
    again[again.index("1:7")] = "1:5"
    shown = probe(*again)
    assert shown.code == 4
    assert "was trained with another recipe" in shown.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "nothing is withheld"),
        (["--freeze", "down_proj"], "no control of equal size can be drawn for down_proj"),
        (["--freeze", "0-1"], "no control of equal size can be drawn for 0-1"),
        (["--freeze", "1", "--control", "1"], "something else than the test"),
        (["--freeze", "1", "--withhold-heads", "negative"], "does not read the negative head"),
        (["--freeze", "1", "--from", 3], "not analysed"),
        (["--freeze", "1", "--from", 9, "--to", 12], "no jump that could move"),
        (["--freeze", "1", "--mode", "likra"], "needs heads that the run lacks"),
        (["--freeze", "1", "--from", "negative@0", "--to", 11], "is tested, not of the negative"),
    ],
)  # fmt: skip
def test_what_cannot_be_tested_is_refused(
    probe: Probe, run: Path, tmp_path: Path, words: list[object], said: str
) -> None:
    ends = [] if "--from" in words else ["--from", 0, "--to", 11]
    shown = probe("retrain", run, "--out", tmp_path / "out", *words, *ends)
    assert shown.code in (1, 2), shown.err
    assert said in " ".join(shown.err.split())
    assert not (tmp_path / "out").exists()


def test_a_test_is_no_run_to_make_tests_of(probe: Probe, found: object, run: Path) -> None:
    shown = probe("retrain", run.parent / "all/test", "--out", run.parent / "no", "--freeze", "1")
    assert shown.code == 2
    assert "is a training-time test itself" in shown.err


def test_a_direction_goes_with_the_run_so_that_steps_can_be_added_without_its_file(
    probe: Probe, files: tuple[Path, Path], tiny_model_folder: Path, tmp_path: Path
) -> None:
    np.savez(tmp_path / "v.npz", direction=np.arange(1.0, 17.0), layer=1)
    asked = ["--model", tiny_model_folder, "--questions", files[0], "--eval-questions", files[1]]
    asked += ["--steps", 4, "--schedule", "0,4", "--lr", 0.05]
    out, way = tmp_path / "run", ["--project-out", tmp_path / "v.npz", "--project-mode", "write"]
    shown = probe("train", out, *asked, *way, "--withhold-heads", "negative")
    assert shown.code == 0, shown.err
    noted = read_record(RunFolder(out))["recipe"]["withheld"]
    assert noted["places"] == "1"
    assert noted["source"] == "v.npz"
    assert noted["window"] == [0, 4]
    v = np.arange(1.0, 17.0) / np.linalg.norm(np.arange(1.0, 17.0))
    for head, free in (("positive", True), ("negative", False)):
        rows = [
            float(np.abs(v @ tensor.numpy()).max())
            for name, tensor in load_adapter(out / f"heads/{head}/checkpoint-4").items()
            if "layers.1.mlp.down_proj.lora_B" in name
        ]
        assert [row > 1e-6 for row in rows] == [free]
    (tmp_path / "v.npz").unlink()
    shown = probe("train", out, "--densify", "2")
    assert shown.code == 0, shown.err
    np.savez(tmp_path / "v.npz", direction=np.ones(16), layer=1)
    shown = probe("train", out, *asked, *way, "--withhold-heads", "negative")
    assert shown.code == 4
    assert "another recipe" in shown.err
    for words, said in (
        (["--heads", "positive"], "the negative head of this run was trained with another recipe"),
        (["--heads", "positive", "--freeze", "1"], "negative head of this run was trained with"),
    ):
        shown = probe("train", out, *asked, *words)
        assert shown.code == 4
        assert said in " ".join(shown.err.split())
    shutil.rmtree(out / "heads/positive")
    np.savez(tmp_path / "v.npz", direction=np.arange(1.0, 17.0), layer=1)
    shown = probe("train", out, *asked, *way, "--withhold-heads", "negative", "--heads", "positive")
    assert shown.code == 0, shown.err


def test_windows_are_checkpoints_in_steps_or_in_examples() -> None:
    recipe = Recipe(steps=40, batch_size=8)
    for text, window in (
        (None, (0, 40)), ("8:32", (8, 32)), ("8:", (8, 40)), (":8", (0, 8)),
        ("examples:64:256", (8, 32)), ("examples:64:", (8, 40)), ("examples:0:313", (0, 40)),
    ):  # fmt: skip
        assert read_window(text, recipe, 313) == window
    with pytest.raises(ConfigError, match=r"no checkpoint lies at 70 examples[\s\S]*64 or 72"):
        read_window("examples:70:256", recipe, 320)
    for text in ("8", "8-32", "a:b", "steps:8:32"):
        with pytest.raises(ConfigError, match="cannot read the window"):
            read_window(text, recipe, 320)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"freeze": "1", "only": "2"}, "asked for --freeze and --only"),
        ({"window": "1:2"}, "--window belongs to a training-time test"),
        ({"layer": "1", "freeze": "1"}, "--layer belongs to --project-out"),
        ({"project_out": "random:1"}, "after which layer"),
        ({"freeze": "1", "window": "3:3"}, "holds no update"),
    ],
)
def test_settings_that_say_no_whole_test_are_refused(
    values: dict[str, str], said: str, tmp_path: Path
) -> None:
    settings = TrainSettings.model_validate(values)
    with pytest.raises(ConfigError, match=said):
        withheld_of(settings, Recipe(), 512, RunFolder(tmp_path))
