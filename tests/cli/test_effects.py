"""`probe effects` from the command line: what it writes, refuses and leaves alone."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_run import Probe, colour_questions, write_lines

from critical_phase.checkpoints import list_series
from critical_phase.probes import read_attrs, read_effects, read_plan, read_scores

TEXTS = "the sky is a red snow\n\nwarm grass\nis the cold blue snow of the sky green\n"
STEPS = ("--checkpoints", "0,6,12")
TASK = colour_questions(90, 8)


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    """A trained run of its own, with nothing collected."""
    for name in ("heads", "questions"):
        shutil.copytree(trained_run / name, tmp_path / "run" / name)
    shutil.copy(trained_run / "run.json", tmp_path / "run")
    return tmp_path / "run"


@pytest.fixture
def text(tmp_path: Path) -> Path:
    path = tmp_path / "neutral.txt"
    path.write_text(TEXTS, encoding="utf-8")
    return path


@pytest.fixture
def other_task(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "other.jsonl", TASK)


def test_everything_at_once_is_written_and_sound(
    probe: Probe, run: Path, text: Path, other_task: Path
) -> None:
    arguments = ["--text", text, "--second", other_task, "--gradients", 4, *STEPS]
    shown = probe("effects", run, *arguments)
    assert (shown.code, shown.out.count("measured 7, existing 0, failed 0")) == (0, 2)
    path = run / "effects/negative/step-00000012.h5"
    found = read_effects(path)
    assert {name: values.shape for name, values in found.items()} == {
        **dict.fromkeys(("kl_question", "kl_question_end"), (30,)),
        **dict.fromkeys(("kl_text", "kl_text_reverse", "nll_text"), (3,)),
        **dict.fromkeys(("tokens_text", "windows_text"), (3,)),
        **dict.fromkeys(("gradient_sq", "loss_example"), (4,)),
        "gradient_mean_sq": (1,),
    }
    assert (found["kl_text"] > 0).all()
    assert found["tokens_text"].tolist() == [6, 2, 9]
    shown = probe("validate", run)
    assert (shown.code, shown.out) == (
        0,
        "14 of 14 files are sound, 14 hashes compared, 6 adapters compared\n",
    )


def test_the_run_notes_what_was_measured(
    probe: Probe, run: Path, text: Path, other_task: Path
) -> None:
    probe("effects", run, "--text", text, "--second", other_task, *STEPS)
    record = json.loads((run / "run.json").read_text())
    assert record["effects"] == {
        "base_logprobs": "kept",
        "gradients": 0,
        "questions": 30,
        "seed": 0,
        "text": "neutral.txt",
        "texts": 3,
        "tokens": 17,
        "window": 64,
        "windows": 3,
    }
    assert record["contexts"]["second"]["rows"] == 32
    assert record["contexts"]["second"]["questions"] == "other.jsonl"
    lines = (run / "effects/texts.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {"text": "warm grass", "tokens": 2, "windows": 1}
    listed = json.loads(probe("status", run, "--json").out)
    assert {head["head"]: head["effects"] for head in listed["heads"]}["negative"] == [0, 6, 12]
    assert listed["contexts"] == {"second": 7}
    assert "3 with effects" in probe("status", run).out


def test_the_second_task_is_a_context_of_its_own(probe: Probe, run: Path, other_task: Path) -> None:
    shown = probe("effects", run, "--second", other_task, "--limit", 5, *STEPS)
    assert shown.code == 0
    assert not (run / "effects").exists()
    plan = read_plan(run / "contexts/second/plan.csv")
    assert len(plan.question_ids) == 5
    assert set(plan.question_ids) <= {f"q{i}" for i in range(90, 98)}
    scores = read_scores(run / "contexts/second/scores/positive/step-00000012.h5")
    assert scores.logprob_sum.shape == (20,)
    assert "existing 7" in probe("effects", run, "--second", other_task, "--limit", 5, *STEPS).out


def test_gradients_are_of_the_answers_the_head_was_trained_on(probe: Probe, run: Path) -> None:
    assert probe("effects", run, "--gradients", 96, "--checkpoints", "0").code == 0
    with h5py.File(run / "effects/negative/step-00000000.h5") as file:
        loss, places = file["loss_example"][:], file["example"][:]
        assert file["gradient_mean_sq"][0] <= file["gradient_sq"][:].mean()
    assert places.tolist() == list(range(96))
    log = (run / "heads/negative/log.csv").read_text().splitlines()
    first = float(log[1].split(",")[log[0].split(",").index("loss")])
    # The first batch of 8 was seen by the untrained head: its logged loss is our mean.
    assert np.mean(loss[:8]) == pytest.approx(first, rel=1e-4)


def test_repeating_measures_nothing_and_other_texts_are_refused(
    probe: Probe, run: Path, text: Path
) -> None:
    probe("effects", run, "--text", text, *STEPS)
    assert "measured 0, existing 7" in probe("effects", run, "--text", text, *STEPS).out
    text.write_text("warm snow\n")
    shown = probe("effects", run, "--text", text, *STEPS)
    assert shown.code == 4
    assert "texts_sha256: stored" in shown.err
    assert "warm grass" in (run / "effects/texts.jsonl").read_text()
    assert "measured 7" in probe("effects", run, "--text", text, *STEPS, "--overwrite").out


def test_a_diverged_checkpoint_is_a_failed_unit_and_exit_code_3(
    probe: Probe, run: Path, text: Path
) -> None:
    path = list_series(run / "heads/negative").at(6).path / "adapter_model.safetensors"
    tensors = load_file(path)
    save_file({k: torch.full_like(v, float("nan")) for k, v in tensors.items()}, path)
    shown = probe("effects", run, "--text", text, *STEPS)
    assert shown.code == 3
    assert "failed negative-step-00000006: the model gives nan" in shown.out
    assert (run / "failed/effects-negative-step-00000006.json").is_file()
    assert (run / "effects/negative/step-00000012.h5").is_file()


def test_a_dry_run_says_what_would_be_read_and_touches_nothing(
    probe: Probe, run: Path, text: Path, other_task: Path
) -> None:
    before = sorted(run.rglob("*"))
    arguments = ["--text", text, "--second", other_task, "--gradients", 4, *STEPS, "--dry-run"]
    shown = probe("effects", run, *arguments)
    assert shown.code == 0
    for line in (
        "negative: 3 checkpoints: 0, 6, 12",
        "texts: 3, 17 tokens in 3 windows",
        "gradients: of 4 training examples per checkpoint",
        "effects files: 7, of which 0 exist",
        "second task: 8 questions, 32 rows",
    ):
        assert line in shown.out
    assert sorted(run.rglob("*")) == before


def test_with_nothing_to_measure_it_says_what_to_give(probe: Probe, run: Path) -> None:
    shown = probe("effects", run)
    assert shown.code == 2
    assert "nothing to measure" in shown.err
    assert "--text FILE (one text per line), --second FILE or --gradients 64" in shown.err


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file holds no text"),
        (b"\n \n\t\n", "the file holds no text"),
        (b"\x89PNG\r\n\x1a\n\xff", "not UTF-8 text: byte 0 is 0x89"),
        (b"a\0b\n", "holds NUL bytes"),
        (None, "cannot read the neutral texts: No such file"),
    ],
)
def test_a_hostile_text_file_is_one_error(
    content: bytes | None, problem: str, probe: Probe, run: Path, tmp_path: Path
) -> None:
    path = tmp_path / "bad.txt"
    if content is not None:
        path.write_bytes(content)
    shown = probe("effects", run, "--text", path)
    assert shown.code == 4
    assert problem in shown.err
    assert shown.err.count("error:") == 1
    assert "one text per line" in shown.err
    assert not (run / "effects").exists()


def test_questions_of_the_training_are_no_second_task(
    probe: Probe, run: Path, question_files: tuple[Path, Path]
) -> None:
    shown = probe("effects", run, "--second", question_files[0])
    assert shown.code == 4
    assert "60 of 60 questions of the second task are trained on, first 'q0'" in shown.err
    assert not (run / "contexts").exists()


def test_ids_of_the_run_are_no_second_task(probe: Probe, run: Path, tmp_path: Path) -> None:
    own = json.loads((run / "questions/eval.jsonl").read_text().splitlines()[0])["id"]
    others = [{**item, "id": own} if at == 3 else item for at, item in enumerate(TASK)]
    shown = probe("effects", run, "--second", write_lines(tmp_path / "ids.jsonl", others))
    assert shown.code == 4
    assert "1 of 8 questions of the second task have the id of a question of the" in shown.err
    assert f"first {own!r}" in shown.err
    assert not (run / "contexts").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (("--gradients", "97"), 2, "97 gradients are asked for, but the negative head saw 96"),
        (("--gradients", "1"), 2, "1 gradient says nothing of their scatter"),
        (("--gradients", "-1"), 2, "greater than or equal to 0"),
        (("--gradients", "4", "--checkpoints", "99"), 2, "99"),
        (("--second", "no-such-set"), 4, "neither a question file nor a named set"),
        (("--gradients", "4", "--limit", "0"), 2, "limit is 0"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_is_written(
    arguments: tuple[str, ...], code: int, problem: str, probe: Probe, run: Path
) -> None:
    shown = probe("effects", run, "--heads", "negative", *arguments)
    assert shown.code == code
    assert problem in shown.err
    assert not (run / "effects").exists()


def test_a_head_that_notes_no_examples_has_no_gradients(probe: Probe, run: Path) -> None:
    (run / "heads/negative/examples.csv").unlink()
    shown = probe("effects", run, "--gradients", 4)
    assert shown.code == 2
    assert "the negative head does not say what it was trained on" in shown.err


def test_windows_follow_the_option_and_the_model(probe: Probe, run: Path, tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text(" ".join(["the sky is"] * 50))
    assert probe("effects", run, "--text", path, "--checkpoints", "0").code == 0
    first = run / "effects/negative/step-00000000.h5"
    assert (read_attrs(first)["window"], read_effects(first)["windows_text"].tolist()) == (64, [3])
    probe("effects", run, "--text", path, "--checkpoints", "0", "--window", 16, "--overwrite")
    assert read_effects(first)["windows_text"].tolist() == [10]
    assert read_effects(first)["tokens_text"].tolist() == [150]


def test_the_organism_has_neutral_texts_of_its_own(probe: Probe, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert probe("train", "--out", out, "--steps", 2, "--heads", "negative").code == 0
    shown = probe("effects", out, "--limit", 10, "--checkpoints", "0,2")
    assert shown.code == 0
    found = read_effects(out / "effects/negative/step-00000002.h5")
    assert (found["kl_text"].shape, found["kl_question"].shape) == ((64,), (10,))
    assert 0 < found["kl_text"].mean() < found["kl_question"].mean()


def test_a_text_that_the_tokenizer_hardly_knows_is_refused(
    probe: Probe, run: Path, text: Path
) -> None:
    text.write_text("Parliament met on Tuesday for the first time\n")
    shown = probe("effects", run, "--text", text, *STEPS)
    assert shown.code == 2
    assert "87.5% of the tokens of the neutral texts are unknown to the tokenizer" in shown.err
    assert not (run / "effects").exists()


def test_a_text_with_a_few_unknown_words_is_measured_with_a_warning(
    probe: Probe, run: Path, text: Path
) -> None:
    text.write_text("the sky is a red Tuesday snow cold\n")
    shown = probe("effects", run, "--text", text, "--checkpoints", "0")
    assert shown.code == 0
    assert "warning: 12.5% of the tokens of the neutral texts are unknown" in shown.err


def test_the_help_says_where_the_organisms_texts_come_from(probe: Probe) -> None:
    assert "other genre of its world" in " ".join(probe("effects", "--help").out.split())
