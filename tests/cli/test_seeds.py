"""Runs of one design are analysed together; anything else is refused with the difference."""

import csv
import json
import shutil
from pathlib import Path

import pytest
from tiny_run import Outcome, Probe

from critical_phase.cli import main


@pytest.fixture(scope="module")
def second_seed(
    collected_run: Path,
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The same design, trained with seed 1; only scores are collected."""
    out = tmp_path_factory.mktemp("seeds") / "second"
    train, evaluation = question_files
    for arguments in (
        ["train", "--out", out, "--steps", 12, "--lr", 0.05, "--seed", 1, "--model",
         tiny_model_folder, "--questions", train, "--eval-questions", evaluation],
        ["collect", out, "--scores-only"],
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert not stopped.value.code
    return out


def changed(run: Path, folder: Path, **values: object) -> Path:
    """A copy of a run whose run.json says something else."""
    copy = Path(shutil.copytree(run, folder / "other"))
    record = json.loads((copy / "run.json").read_text())
    recipe = values.pop("recipe", {})
    record |= values
    record["recipe"] |= recipe
    (copy / "run.json").write_text(json.dumps(record))
    return copy


def test_two_seeds_give_a_table_json_and_csv(
    probe: Probe, collected_run: Path, second_seed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "together"
    shown = probe("seeds", collected_run, second_seed, "--out", out, "--draws", 100)
    assert shown.code == 0, shown.err
    assert shown.out.startswith("Accuracy changes abruptly in ")
    assert "of 2 seeds" in shown.out
    assert "cannot be decided" in shown.err
    found = json.loads((out / "seeds.json").read_text())
    assert found["trained_with_seed"] == {"tiny": 0, "second": 1}
    assert [table["id"] for table in found["tables"]] == ["seeds", "together", "two_groups"]
    with (out / "seeds.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(r["run"], r["quantity"]) for r in rows] == [
        (run, what) for run in ("tiny", "second") for what in ("accuracy", "margin")
    ]
    with (out / "curves.csv").open() as file:
        assert {row["id"] for row in csv.DictReader(file)} == {"seeds.accuracy", "seeds.margin"}


def test_the_same_call_gives_the_same_bytes(
    probe: Probe, collected_run: Path, second_seed: Path, tmp_path: Path
) -> None:
    def made(name: str) -> tuple[Outcome, bytes]:
        out = tmp_path / name
        shown = probe("seeds", collected_run, second_seed, "--out", out, "--draws", 100, "--json")
        return shown, (out / "seeds.json").read_bytes()

    (first, one), (_, two) = made("a"), made("b")
    assert one == two
    assert json.loads(first.out) == json.loads(one)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"recipe": {"lr": 0.5}}, "recipe: lr is 0.05 in tiny and 0.5 in other"),
        ({"recipe": {"batch_size": 4}}, "recipe: batch_size is 8 in tiny and 4 in other"),
        ({"recipe": {"negatives": "shuffled"}}, "recipe: negatives is near_miss in tiny and"),
        ({"recipe": {"rank": 2}}, "recipe: rank is 8 in tiny and 2 in other"),
        ({"question_set_sha256": "f" * 64}, "the evaluation questions is"),
        ({"model": "another"}, "the model is"),
        ({}, "tiny and other were both trained with seed 0"),
        ({"seed": 5}, "have the same scores at every step: one training twice"),
    ],
)
def test_runs_of_other_designs_are_refused_with_one_difference(
    values: dict[str, object], said: str, probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    other = changed(collected_run, tmp_path, **values)
    shown = probe("seeds", collected_run, other, "--out", tmp_path / "out")
    assert shown.code == 2
    assert said in shown.err
    assert not (tmp_path / "out").exists()


def test_other_training_questions_are_refused(
    probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    other = changed(collected_run, tmp_path, seed=1)
    path = other / "questions/train.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    shown = probe("seeds", collected_run, other, "--out", tmp_path / "out")
    assert shown.code == 2
    assert "the training questions is one file in tiny and another in other" in shown.err


def test_a_run_alone_or_named_twice_is_refused(
    probe: Probe, collected_run: Path, tmp_path: Path
) -> None:
    alone = probe("seeds", collected_run, "--out", tmp_path)
    assert alone.code == 2
    assert "asked to compare 1 run" in alone.err
    twice = probe("seeds", collected_run, collected_run, "--out", tmp_path)
    assert twice.code == 2
    assert "a run is named twice" in twice.err
