"""`probe score`: every usual measure of a model or of two heads, with ties as ties."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from tiny_run import Probe, write_lines

from critical_phase.analysis import Rows
from critical_phase.checkpoints import list_series
from critical_phase.cli.score_table import OneStep, score_lines

MEASURES = {
    "acc",
    "acc_norm",
    "acc_token",
    "acc_bytes",
    "pmi_dc",
    "answer_only",
    "brier",
    "ece",
}


def rows_of(questions: int, sizes: tuple[int, ...]) -> Rows:
    """Questions of three candidates of these lengths, the first one right."""
    count = 3 * questions
    lengths = np.tile(sizes, questions)
    return Rows(
        question=np.repeat(np.arange(questions), 3),
        correct=np.arange(count) % 3 == 0,
        characters=lengths,
        tokens=lengths,
        question_ids=tuple(f"q{i}" for i in range(questions)),
        groups=("",) * questions,
        texts=("x",) * count,
        bytes=lengths,
    )


def measured(probe: Probe, *arguments: object) -> dict[str, dict[str, float]]:
    shown = probe("score", *arguments, "--json")
    assert shown.code == 0, shown.err
    found: dict[str, dict[str, float]] = json.loads(shown.out)["measures"]
    return found


def test_a_model_is_scored_by_every_measure(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], tmp_path: Path
) -> None:
    out = tmp_path / "rows.csv"
    found = measured(probe, tiny_model_folder, "--questions", question_files[1], "--out", out)
    assert set(found) == MEASURES
    lines = list(csv.DictReader(io.StringIO(out.read_text())))
    by_question: dict[str, list[dict[str, str]]] = {}
    for line in lines:
        by_question.setdefault(line["question"], []).append(line)
    right = [max(c, key=lambda x: float(x["score"]))["correct"] for c in by_question.values()]
    assert found["acc"]["value"] == pytest.approx(np.mean([int(x) for x in right]))


def test_heads_are_combined_and_a_stronger_contrast_is_another_number(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], trained_run: Path
) -> None:
    heads = [
        *("--positive", trained_run / "heads/positive/checkpoint-12"),
        *("--negative", trained_run / "heads/negative/checkpoint-12"),
    ]
    asked = (tiny_model_folder, "--questions", question_files[1])
    plain, likra = measured(probe, *asked), measured(probe, *asked, *heads)
    half = measured(probe, *asked, *heads, "--weight", 0.5)
    assert len({one["brier"]["value"] for one in (plain, likra, half)}) == 3


def test_an_untrained_contrast_is_undefined_and_not_the_first_candidate(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], trained_run: Path
) -> None:
    start = trained_run / "heads/negative/checkpoint-0"
    shown = probe(
        *("score", tiny_model_folder, "--questions", question_files[1], "--negative", start)
    )
    assert shown.code == 0, shown.err
    assert "acc          undefined: all scores of every question are equal" in shown.out


def test_a_tie_counts_its_expected_value() -> None:
    score = np.tile([1.0, 1.0, 0.0], 40)
    lines = {x.measure: x for x in score_lines(rows_of(40, (1, 2, 2)), score, {}, 0)}
    assert (lines["acc"].value, lines["acc"].tied) == (0.5, 40)
    assert (lines["acc_norm"].value, lines["acc_norm"].tied) == (1.0, 0)
    assert "pmi_dc" not in lines


def test_the_premise_is_subtracted_and_intervals_hold_the_value() -> None:
    rows, rng = rows_of(200, (1, 1, 1)), np.random.default_rng(0)
    likely = 5 * rng.standard_normal(600)
    score = likely + np.tile([1.0, 0.0, 0.0], 200)
    lines = {x.measure: x for x in score_lines(rows, score, {"domain": likely}, 0)}
    assert lines["pmi_dc"].value == 1.0
    acc = lines["acc"]
    assert acc.low is not None
    assert acc.high is not None
    assert acc.value is not None
    assert acc.low < acc.value < acc.high


def test_modes_are_made_of_their_heads() -> None:
    values = {name: np.array([1.0, 2.0, 4.0]) * k for k, name in ((1, "base"), (3, "negative"))}
    combined = OneStep(rows_of(1, (1, 1, 1)), values).combined("base_likra", 0.5)
    np.testing.assert_allclose(combined, -0.5 * values["base"])


def test_a_mode_without_its_head_is_refused(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    shown = probe("score", tiny_model_folder, "--questions", question_files[1], "--mode", "likra")
    assert shown.code == 2
    assert "needs the positive and the negative head" in shown.err


def test_a_series_in_place_of_a_checkpoint_is_named(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], trained_run: Path
) -> None:
    shown = probe(
        *("score", tiny_model_folder, "--questions", question_files[1]),
        *("--adapter", trained_run / "heads" / "negative"),
    )
    assert shown.code == 2
    assert "name the folder of one checkpoint" in shown.err


def test_shots_are_shown_before_the_question(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    asked = (tiny_model_folder, "--questions", question_files[1])
    shown = (*asked, "--context", "shots-2", "--train-questions", question_files[0])
    assert measured(probe, *shown)["brier"] != measured(probe, *asked)["brier"]


def test_what_was_scored_is_said_with_the_hash_of_its_tensors(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], trained_run: Path
) -> None:
    asked = (tiny_model_folder, "--questions", question_files[1])
    heads = {head: trained_run / f"heads/{head}/checkpoint-12" for head in ("positive", "negative")}
    named = [part for head, folder in heads.items() for part in (f"--{head}", folder)]
    found = json.loads(probe("score", *asked, *named, "--json").out)["adapters"]
    for head, folder in heads.items():
        sha8 = list_series(folder.parent).at(12).sha256[:8]
        assert found[head] == {"path": str(folder), "sha8": sha8}
        assert f"{head}: {folder} (tensors {sha8})" in probe("score", *asked, *named).out


@pytest.mark.parametrize(
    ("head", "options", "mode"),
    [
        ("positive", (), "sft"),
        ("negative", (), "adapter"),
        ("negative", ("--mode", "sft"), "sft"),
        ("positive", ("--mode", "adapter"), "adapter"),
    ],
)
def test_a_lone_adapter_is_a_positive_head_only_where_that_is_known(
    head: str,
    options: tuple[str, ...],
    mode: str,
    probe: Probe,
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    trained_run: Path,
) -> None:
    folder = trained_run / f"heads/{head}/checkpoint-12"
    asked = (tiny_model_folder, "--questions", question_files[1], "--adapter", folder)
    found = json.loads(probe("score", *asked, *options, "--json").out)
    assert found["mode"] == mode
    assert set(found["adapters"]) == {"positive" if mode == "sft" else "adapter"}


def test_an_adapter_in_place_of_the_model_is_scored_on_its_base(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path], trained_run: Path
) -> None:
    adapter = trained_run / "heads/negative/checkpoint-12"
    questions = ("--questions", question_files[1])
    assert measured(probe, adapter, *questions) == measured(
        probe, tiny_model_folder, *questions, "--adapter", adapter
    )
    shown = probe("score", adapter, *questions)
    assert f"{adapter} is an adapter; it is scored on its base, {tiny_model_folder}" in shown.err


def test_an_adapter_that_names_no_base_is_one_error(
    probe: Probe, question_files: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": null}')
    shown = probe("score", tmp_path, "--questions", question_files[1])
    assert shown.code == 2
    assert "this is an adapter, and it does not name its base" in shown.err
    assert f"fix:   probe score BASE --adapter {tmp_path}" in shown.err


def test_a_missing_model_is_not_answered_with_an_option_that_is_not_there(
    probe: Probe, question_files: tuple[Path, Path]
) -> None:
    shown = probe("score", "/no/such/model", "--questions", question_files[1])
    assert shown.code == 4
    assert "--model" not in shown.err


@pytest.fixture
def one_too_long(question_files: tuple[Path, Path], tmp_path: Path) -> Path:
    lines = [json.loads(line) for line in question_files[1].read_text().splitlines()]
    lines[3] = {**lines[3], "question": "the sky " * 40}
    return write_lines(tmp_path / "long.jsonl", lines)


def test_a_question_that_is_too_long_is_refused_or_left_out(
    probe: Probe, tiny_model_folder: Path, one_too_long: Path
) -> None:
    asked = ("score", tiny_model_folder, "--questions", one_too_long)
    refused = probe(*asked)
    assert refused.code == 2
    assert "1 of 30 questions are too long, first 'q63': up to 85 tokens" in refused.err
    assert "--too-long drop" in refused.err
    assert "left out, too long: 1: q63" in probe(*asked, "--too-long", "drop").out
    found = json.loads(probe(*asked, "--too-long", "drop", "--json").out)
    assert (found["too_long"], found["question_count"]) == (["q63"], 29)


def test_shots_that_leave_no_question_are_refused(
    probe: Probe, tiny_model_folder: Path, question_files: tuple[Path, Path]
) -> None:
    shown = probe(
        *("score", tiny_model_folder, "--questions", question_files[1], "--too-long", "drop"),
        *("--context", "shots-30", "--train-questions", question_files[0]),
    )
    assert shown.code == 2
    assert "30 of 30 questions are too long" in shown.err
