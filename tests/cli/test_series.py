"""Checkpoints that other tools made: listed, collected, analysed and reported as a run."""

import json
import re
import shutil
from pathlib import Path

import h5py
import pytest
from safetensors.torch import load_file, save_file
from tiny_run import Probe
from tiny_series import HUB_ID, fill_hub_cache, write_full_series
from tiny_trainer import full_model, lora_model, train
from transformers import LlamaConfig, LlamaForCausalLM

from critical_phase.checkpoints import DenseCheckpointCallback, list_series
from critical_phase.checkpoints.full_weights import FullWeights
from critical_phase.cli import main
from critical_phase.cli.checkpoints import update_norm
from critical_phase.cli.series_run import heads_of
from critical_phase.probes import read_scores

BASE0 = "base/step-00000000"
STEP0 = "positive/step-00000000"
FAST = ("--draws", 40, "--permutations", 20)


@pytest.fixture(scope="session")
def questions(question_files: tuple[Path, Path]) -> Path:
    return question_files[1]


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
    questions: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    out = tmp_path_factory.mktemp("elsewhere") / "lora"
    arguments = ["--series", lora_folder, "--model", tiny_model_folder, "--out", out]
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in ["collect", *arguments, "--questions", questions]])
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
    assert "lora accuracy goes" in shown.out
    assert "SFT" not in shown.out
    assert shown.code == 0, shown.err
    weights = json.loads((lora_run / "analysis/weights.json").read_text())
    norm = next(c for c in weights["curves"] if c["id"] == "lora_norm.positive")
    assert norm["value"][0] == 0
    assert norm["value"][-1] > 0
    assert probe("report", lora_run).code == 0
    assert probe("validate", lora_run).code == 0


def test_collecting_a_series_twice_finds_everything_there(
    probe: Probe, lora_run: Path, lora_folder: Path, questions: Path
) -> None:
    model = json.loads((lora_run / "run.json").read_text())["model"]
    again = ("--series", lora_folder, "--questions", questions, "--out", lora_run)
    shown = probe("collect", *again, "--model", model)
    assert shown.out.startswith("collected 0, existing 8, failed 0")
    assert probe("collect", lora_run).out.startswith("collected 0, existing 8, failed 0")
    assert "is taken as the head 'positive'" in shown.err


def test_contexts_that_need_no_training_questions_work_for_series(
    probe: Probe, lora_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(lora_run, tmp_path / "r"))
    given = ("--checkpoints", "0,12", "--scores-only", "--contexts")
    assert probe("collect", run, *given, "answer_only").code == 0
    assert len(list((run / "contexts/answer_only/scores/positive").glob("*.h5"))) == 2
    assert "of 0 training questions" in probe("collect", run, *given, "shots-5").err


def test_the_base_is_what_the_adapters_name(
    probe: Probe, lora_folder: Path, tmp_path: Path, questions: Path
) -> None:
    run = ("--questions", questions, "--out", tmp_path / "r", "--dry-run")
    shown = probe("collect", "--series", lora_folder, *run)
    assert shown.code == 0, shown.err
    assert "named by the series" in shown.err
    assert "positive: 7 checkpoints: 0, 2, 4, 6, 8, 10, 12" in shown.out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("name", ["negative", "positive"])
def test_a_folder_with_the_name_of_a_head_is_that_head(tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    folder.mkdir()
    for location in (str(folder), f"{folder}/"):
        assert heads_of((location,)) == {name: location}
    assert heads_of((str(tmp_path),)) == {"positive": str(tmp_path)}
    assert heads_of((f"positive={folder}",)) == {"positive": str(folder)}


def test_two_heads_of_two_folders(
    probe: Probe,
    lora_folder: Path,
    tiny_model_folder: Path,
    tmp_path: Path,
    questions: Path,
) -> None:
    train(
        lora_model(tiny_model_folder), tmp_path / "n", [DenseCheckpointCallback([2, 4])],
        max_steps=12, learning_rate=0.01,
    )  # fmt: skip
    both = ("--series", f"positive={lora_folder}", "--series", f"negative={tmp_path / 'n'}")
    run = ("--questions", questions, "--out", tmp_path / "r", "--scores-only")
    assert probe("collect", *both, *run).code == 0
    assert len(list((tmp_path / "r/scores/negative").glob("*.h5"))) == 4
    shown = probe("analyze", tmp_path / "r", *FAST)
    assert shown.code == 0, shown.err


def test_the_base_stands_for_a_step_0_that_was_not_saved(
    probe: Probe, lora_folder: Path, tmp_path: Path, questions: Path
) -> None:
    series = Path(shutil.copytree(lora_folder, tmp_path / "s"))
    shutil.rmtree(series / "checkpoint-0")
    run = tmp_path / "r"
    given = ("--questions", questions, "--out", run, "--scores-only", "--limit", 12)
    shown = probe("collect", "--series", series, *given)
    assert "the base model stands for it" in shown.err
    scores = [read_scores(run / f"scores/{name}.h5") for name in (BASE0, STEP0)]
    assert (scores[0].logprob_sum == scores[1].logprob_sum).all()
    listed = json.loads(probe("checkpoints", run, "--json").out)["checkpoints"]
    assert (listed[0]["step"], listed[0]["note"]) == (0, "not saved: the base model")
    shown = probe("analyze", run, *FAST)
    assert shown.code == 0, shown.err
    weights = json.loads((run / "analysis/weights.json").read_text())
    norm = next(c for c in weights["curves"] if c["id"] == "lora_norm.positive")
    assert norm["steps"][0] == 0
    assert norm["value"][0] == 0 < norm["value"][1]


def test_the_base_is_loaded_in_the_type_that_the_run_names(
    probe: Probe, lora_run: Path, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(lora_run, tmp_path / "r", ignore=shutil.ignore_patterns("*.h5")))
    record = json.loads((run / "run.json").read_text())
    record["recipe"]["dtype"] = "bfloat16"
    (run / "run.json").write_text(json.dumps(record))
    assert probe("collect", run, "--scores-only", "--checkpoints", "12").code == 0
    with h5py.File(run / "scores/positive/step-00000012.h5") as file:
        assert (file.attrs["compute_dtype"], file.attrs["merged"]) == ("bfloat16", 0)


def test_full_fine_tunes_go_the_whole_way_without_the_weights_measure(
    probe: Probe, full_folder: Path, tiny_model_folder: Path, tmp_path: Path, questions: Path
) -> None:
    run = tmp_path / "full"
    given = ("--series", full_folder, "--model", tiny_model_folder, "--questions", questions)
    few = ("--limit", 10, "--checkpoints", "0,6,12")
    assert probe("collect", *given, *few, "--out", run).code == 0
    with h5py.File(run / "scores/positive/step-00000012.h5") as last:
        assert last.attrs["merged"] == 0
        assert last.attrs["adapter_sha256"] == list_series(full_folder).at(12).sha256
    scores = [read_scores(run / f"scores/{n}.h5").logprob_sum for n in (BASE0, STEP0)]
    assert (scores[0] == scores[1]).all()
    shown = probe("analyze", run, *FAST)
    assert shown.code == 0, shown.err
    weights = json.loads((run / "analysis/weights.json").read_text())
    assert weights["curves"] == []
    assert "its weights are not described" in weights["warnings"][0]
    assert probe("report", run).code == 0


def test_revisions_go_the_whole_way_and_the_earliest_is_the_base(
    probe: Probe, tmp_path: Path, questions: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_hub_cache(tmp_path / "cache", write_full_series(tmp_path / "s", (0, 1, 2, 4)), monkeypatch)
    run = tmp_path / "hub"
    given = ("--series", f"{HUB_ID}@step*", "--questions", questions, "--out", run)
    planned = probe("collect", *given, "--dry-run").out
    assert "positive: 4 checkpoints: 0-2, 4" in planned
    assert "rows and bytes: known once the base is a folder on this disk" in planned
    shown = probe("collect", *given, "--checkpoints", "0,2:", "--scores-only")
    assert shown.code == 0, shown.err
    assert f"base model: {HUB_ID}@step0 (the earliest revision)" in shown.err
    assert "one example per step is counted" in shown.err
    shutil.rmtree(tmp_path / "cache")  # what was collected needs no hub any more
    status = json.loads(probe("status", run, "--json").out)
    positive = next(head for head in status["heads"] if head["head"] == "positive")
    assert positive["saved"] == positive["scored"] == [0, 2, 4]
    shown = probe("analyze", run, *FAST)
    assert shown.code == 0, shown.err
    assert probe("report", run).code == 0


def test_any_series_is_listed_with_norm_loss_and_faults(
    probe: Probe, lora_folder: Path, full_folder: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    listed = json.loads(probe("checkpoints", lora_folder, "--json").out)["checkpoints"]
    assert [row["step"] for row in listed] == [0, 2, 4, 6, 8, 10, 12]
    assert listed[0]["note"] == "update is zero"
    assert listed[-1]["norm"] > listed[1]["norm"] > 0
    assert listed[0]["loss"] is None
    assert listed[-1]["loss"] > 0
    full = json.loads(probe("checkpoints", full_folder, "--json").out)["checkpoints"]
    assert full[0]["note"] == "update is zero"  # step 0 is the base
    assert full[-1]["norm"] > full[1]["norm"] > 0
    shutil.copytree(full_folder / "checkpoint-9", tmp_path / "checkpoint-9")
    shutil.copytree(full_folder / "checkpoint-9", tmp_path / "checkpoint-10")
    (tmp_path / "checkpoint-11").mkdir()
    shown = probe("checkpoints", tmp_path)
    assert "no base to measure from: give --model" in shown.out
    assert "steps 9, 10 hold the same weights" in shown.out
    assert "skipped checkpoint-11: no complete adapter or model in it" in shown.out
    measured = json.loads(
        probe("checkpoints", tmp_path, "--model", tiny_model_folder, "--json").out
    )
    assert measured["checkpoints"][0]["norm"] == pytest.approx(full[3]["norm"])


def test_the_norm_of_a_full_update_is_that_of_the_difference(tmp_path: Path) -> None:
    write_full_series(tmp_path, (0, 3))
    series = list_series(tmp_path)
    old, new = (load_file(item.path / "model.safetensors") for item in series.checkpoints)
    expected = sum(float((new[n].double() - old[n].double()).square().sum()) for n in new) ** 0.5
    base = FullWeights(series.at(0).path)
    assert update_norm(series.at(3), base) == pytest.approx(expected, rel=1e-12)


def test_weights_that_are_no_numbers_are_flagged(probe: Probe, tmp_path: Path) -> None:
    write_full_series(tmp_path, (0, 3))
    path = tmp_path / "checkpoint-3/model.safetensors"
    tensors = load_file(path)
    tensors["model.norm.weight"][2] = float("nan")
    save_file(tensors, path)
    listed = json.loads(probe("checkpoints", tmp_path, "--json").out)["checkpoints"]
    assert listed[1]["note"] == "not a number"


def test_revisions_are_listed_without_a_download(
    probe: Probe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill_hub_cache(tmp_path / "cache", write_full_series(tmp_path / "s", (0, 1)), monkeypatch)
    listed = json.loads(probe("checkpoints", f"{HUB_ID}@step*", "--json").out)
    assert [row["norm"] > 0 for row in listed["checkpoints"]] == [False, True]
    assert "working offline" in listed["warnings"][0]


def test_a_foreign_base_is_refused_before_anything_is_written(
    probe: Probe, lora_folder: Path, tmp_path: Path, questions: Path
) -> None:
    other = tmp_path / "other"
    config = LlamaConfig(
        vocab_size=17, hidden_size=16, intermediate_size=48, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=2, max_position_embeddings=64,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(other)
    run = ("--questions", questions, "--out", tmp_path / "r")
    shown = probe("collect", "--series", lora_folder, "--model", other, *run)
    assert shown.code == 4
    assert "the checkpoints belong to another base model" in shown.err
    assert not (tmp_path / "r").exists()


def test_a_base_of_another_name_is_said(
    probe: Probe, lora_folder: Path, tiny_model_folder: Path, tmp_path: Path, questions: Path
) -> None:
    shutil.copytree(tiny_model_folder, tmp_path / "moved")
    run = ("--questions", questions, "--out", tmp_path / "r", "--model", tmp_path / "moved")
    shown = probe("collect", "--series", lora_folder, *run, "--dry-run")
    assert "shapes fit, which does not prove that it is the same model" in shown.out
    assert re.search(r"^rows: \d+ of \d+ questions", shown.out, re.MULTILINE)
    assert re.search(r"^to write: [\d.]+ MB; free on the disk: ", shown.out, re.MULTILINE)
    assert not (tmp_path / "r").exists()


def test_another_series_in_the_same_run_needs_overwrite(
    probe: Probe, lora_run: Path, full_folder: Path, tiny_model_folder: Path, tmp_path: Path,
    questions: Path,
) -> None:  # fmt: skip
    run = tmp_path / "run"
    shutil.copytree(lora_run, run)
    given = ("--series", full_folder, "--model", tiny_model_folder, "--questions", questions)
    shown = probe("collect", *given, "--out", run)
    assert shown.code == 4
    assert "this run was made from another" in shown.err
    assert probe("collect", *given, "--out", run, "--overwrite", "--scores-only").code == 0
    assert len(list((run / "scores/positive").glob("*.h5"))) == 5


def test_a_setting_that_changes_fails_those_units_alone(
    probe: Probe, lora_folder: Path, tmp_path: Path, questions: Path
) -> None:
    series = Path(shutil.copytree(lora_folder, tmp_path / "s"))
    path = series / "checkpoint-12/adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "lora_alpha": 64}))
    run = ("--questions", questions, "--out", tmp_path / "r", "--scores-only")
    shown = probe("collect", "--series", series, *run, "--checkpoints", "0,2,4,12")
    assert shown.code == 3
    assert "setting lora_alpha" in shown.out
    assert "step 12: lora_alpha is 64, but step 0 has 8" in shown.err


def test_training_into_a_run_of_series_is_refused(probe: Probe, lora_run: Path) -> None:
    shown = probe("train", "--out", lora_run, "--heads", "negative", "--steps", 1)
    assert shown.code == 4
    assert "this run holds series that were made elsewhere" in shown.err


def test_an_option_of_series_alone_is_refused(probe: Probe, tmp_path: Path) -> None:
    shown = probe("collect", tmp_path, "--prompt", "plain")
    assert shown.code == 2
    assert "--prompt belongs to --series" in shown.err
    assert "no run to collect" in probe("collect").err
    assert "give its folder with --out" in probe("collect", "--series", tmp_path).err
