import shutil
from pathlib import Path

import pytest
from tiny_run import Outcome, Probe, colour_questions, write_lines

from critical_phase.cli import main


@pytest.fixture
def probe(capsys: pytest.CaptureFixture[str]) -> Probe:
    """Run the command line in this process."""

    def run(*args: object) -> Outcome:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in args])
        printed = capsys.readouterr()
        return Outcome(int(stopped.value.code or 0), printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def question_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("questions")
    train = write_lines(folder / "train.jsonl", colour_questions(0, 60))
    evaluation = write_lines(folder / "eval.jsonl", colour_questions(60, 30))
    return train, evaluation


@pytest.fixture(scope="session")
def trained_run(
    tiny_model_folder: Path,
    question_files: tuple[Path, Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A run of the tiny model with both heads trained for 12 steps."""
    out = tmp_path_factory.mktemp("runs") / "tiny"
    train, evaluation = question_files
    arguments = ["--model", tiny_model_folder, "--questions", train, "--eval-questions", evaluation]
    with pytest.raises(SystemExit) as stopped:
        main([str(a) for a in ["train", "--out", out, "--steps", 12, "--lr", 0.05, *arguments]])
    assert not stopped.value.code
    return out


@pytest.fixture(scope="session")
def collected_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the same run, collected at every step."""
    run = Path(
        shutil.copytree(trained_run, tmp_path_factory.mktemp("collected") / trained_run.name)
    )
    with pytest.raises(SystemExit) as stopped:
        main(["collect", str(run)])
    assert not stopped.value.code
    return run
