"""Checkpoints that other tools made: listed, collected, analysed and reported as a run."""

import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe
from tiny_trainer import full_model, lora_model, train

from critical_phase.checkpoints import DenseCheckpointCallback

FAST = ("--draws", 40, "--permutations", 20)


@pytest.fixture(scope="session")
def lora_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "lora"
    train(lora_model(tiny_model_folder), out, [DenseCheckpointCallback("every:2")], max_steps=12)
    return out


@pytest.fixture(scope="session")
def full_folder(tiny_model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made") / "full"
    train(full_model(tiny_model_folder), out, [DenseCheckpointCallback("every:3")], max_steps=12)
    return out


@pytest.fixture(scope="session")
def lora_run(
    lora_folder: Path,
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    from critical_phase.cli import main

    out = tmp_path_factory.mktemp("elsewhere") / "lora"
    arguments = ["--series", lora_folder, "--model", tiny_model_folder, "--out", out]
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in ["collect", *arguments, "--questions", question_files[1]]])
    assert not stopped.value.code
    return out


def test_a_trainer_run_with_the_callback_ends_in_a_report(probe: Probe, lora_run: Path) -> None:
    record = json.loads((lora_run / "run.json").read_text())
    assert record["recipe"]["batch_size"] == 4
    assert record["recipe"]["targets"] == ["down_proj", "q_proj"]
    assert record["warnings"] == []
    status = json.loads(probe("status", lora_run, "--json").out)
    heads = {head["head"]: head for head in status["heads"]}
    assert heads["positive"]["scored"] == [0, 2, 4, 6, 8, 10, 12] == heads["positive"]["saved"]
    assert heads["positive"]["missing"] == []
    shown = probe("analyze", lora_run, *FAST)
    assert shown.code == 0, shown.err
    weights = json.loads((lora_run / "analysis/weights.json").read_text())
    norm = next(c for c in weights["curves"] if c["id"] == "lora_norm.positive")
    assert norm["value"][0] == 0
    assert norm["value"][-1] > 0
    assert probe("report", lora_run).code == 0
    assert probe("validate", lora_run).code == 0


def test_collecting_a_series_twice_finds_everything_there(
    probe: Probe, lora_run: Path, lora_folder: Path, question_files: tuple[Path, Path]
) -> None:
    model = json.loads((lora_run / "run.json").read_text())["model"]
    again = ("--series", lora_folder, "--questions", question_files[1], "--out", lora_run)
    shown = probe("collect", *again, "--model", model)
    assert shown.out.startswith("collected 0, existing 8, failed 0")
    assert probe("collect", lora_run).out.startswith("collected 0, existing 8, failed 0")
    assert "is taken as the head 'positive'" in shown.err


def test_the_base_is_what_the_adapters_name(
    probe: Probe, lora_folder: Path, tmp_path: Path, question_files: tuple[Path, Path]
) -> None:
    run = ("--questions", question_files[1], "--out", tmp_path / "r", "--dry-run")
    shown = probe("collect", "--series", lora_folder, *run)
    assert shown.code == 0, shown.err
    assert "named by the series" in shown.err
    assert "positive: 7 checkpoints: 0, 2, 4, 6, 8, 10, 12" in shown.out
    assert not (tmp_path / "r").exists()


def test_two_heads_of_two_folders(
    probe: Probe,
    lora_folder: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    question_files: tuple[Path, Path],
) -> None:
    train(
        lora_model(tiny_model_folder), tmp_path / "n", [DenseCheckpointCallback([2, 4])],
        max_steps=12, learning_rate=0.01,
    )  # fmt: skip
    both = ("--series", f"positive={lora_folder}", "--series", f"negative={tmp_path / 'n'}")
    run = ("--questions", question_files[1], "--out", tmp_path / "r", "--scores-only")
    assert probe("collect", *both, *run).code == 0
    assert len(list((tmp_path / "r/scores/negative").glob("*.h5"))) == 4
    shown = probe("analyze", tmp_path / "r", *FAST)
    assert shown.code == 0, shown.err


def test_full_fine_tunes_go_the_whole_way_without_the_weights_measure(
    probe: Probe, full_folder: Path, tmp_path: Path, question_files: tuple[Path, Path]
) -> None:
    run = tmp_path / "full"
    given = ("--series", full_folder, "--questions", question_files[1], "--out", run)
    shown = probe("collect", *given, "--model", full_folder / "checkpoint-0")
    # The tokenizer is not with the weights here: Trainer was given none.
    assert shown.code == 4
    assert "cannot load the model" in shown.err


def test_an_option_of_series_alone_is_refused(probe: Probe, tmp_path: Path) -> None:
    shown = probe("collect", tmp_path, "--prompt", "plain")
    assert shown.code == 2
    assert "--prompt belongs to --series" in shown.err
    assert "no run to collect" in probe("collect").err
    assert "give its folder with --out" in probe("collect", "--series", tmp_path).err
