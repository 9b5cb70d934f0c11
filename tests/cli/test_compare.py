"""`probe compare`: two runs of one command line, their differences and their settings."""

import json
from pathlib import Path

import pytest
from tiny_run import Probe


@pytest.fixture(scope="module")
def other(
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run of other negatives."""
    from critical_phase.cli import main

    training, evaluation = question_files
    folder = tmp_path_factory.mktemp("other") / "irrelevant"
    own = ("--lr", "0.05", "--steps", "12", "--negatives", "irrelevant")
    for arguments in (
        ("train", "--out", folder, "--model", tiny_model_folder, "--questions", training,
         "--eval-questions", evaluation, *own),
        ("collect", folder, "--scores-only"),
    ):  # fmt: skip
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        assert not stopped.value.code
    return folder


def test_a_page_and_a_table_of_what_differs(
    probe: Probe, collected_run: Path, other: Path, tmp_path: Path
) -> None:
    out = tmp_path / "compared"
    shown = probe("compare", collected_run, other, "--out", out, "--draws", 100)
    assert shown.code == 0
    assert str(out / "compare.html") in shown.out
    value = json.loads((out / "compare.json").read_text())
    assert value["sentence"] in shown.out
    settings = next(table for table in value["tables"] if table["id"] == "settings")
    differ = {row[0]: row[2:] for row in settings["rows"] if row[1] == "yes"}
    assert differ["recipe: negatives"] == ["near_miss", "irrelevant"]
    assert "model" not in differ
    assert [row[1] for row in settings["rows"]] == sorted(
        (row[1] for row in settings["rows"]), reverse=True
    )
    assert (out / "compare.html").is_file()
    again = probe("compare", collected_run, other, "--out", tmp_path / "b", "--draws", 100)
    assert again.code == 0
    assert (tmp_path / "b/compare.html").read_bytes() == (out / "compare.html").read_bytes()


def test_one_run_is_no_comparison(probe: Probe, collected_run: Path, tmp_path: Path) -> None:
    shown = probe("compare", collected_run, "--out", tmp_path / "x")
    assert shown.code == 2
    assert "asked to compare 1 runs" in shown.err
    assert not (tmp_path / "x").exists()
    twice = probe("compare", collected_run, collected_run, "--out", tmp_path / "x")
    assert "named twice" in twice.err
