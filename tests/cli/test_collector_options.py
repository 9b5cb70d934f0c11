"""Which activations `probe collect` records, where, and what it says beforehand."""

import re
import shutil
from pathlib import Path

import pytest
from tiny_run import Probe

from critical_phase.probes import COLLECTORS, read_activations, read_attrs
from critical_phase.probes.reading import dataset_names, opened

DOCS = Path(__file__).parents[2] / "docs" / "adding.md"


@pytest.fixture
def run(trained_run: Path, tmp_path: Path) -> Path:
    target = tmp_path / trained_run.name
    shutil.copytree(trained_run, target, ignore=shutil.ignore_patterns("activations", "scores"))
    return target


def test_help_lists_every_collector(probe: Probe) -> None:
    shown = re.sub(r"\s+", " ", probe("collect", "--help").out)
    assert all(name in shown for name in COLLECTORS)


def test_everything_can_be_asked_for_and_is_counted_before(probe: Probe, run: Path) -> None:
    example = run / "mlp_norm.py"
    example.write_text(re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)[0])
    asked = [
        *("--collect", ",".join(reversed(COLLECTORS)), "--residual-sites", "mid,post"),
        *("--positions", "answer_mean,question_end", "--collector", f"{example}:MlpNorm"),
        *("--heads", "negative", "--checkpoints", "0,12"),
    ]
    found = re.search(r"to write: ([\d.]+) MB", probe("collect", run, *asked, "--dry-run").out)
    assert found is not None
    assert not (run / "activations").exists()
    shown = probe("collect", run, *asked)
    assert shown.code == 0, shown.err
    taken = sum(path.stat().st_size for path in run.rglob("*.h5")) / 1e6
    assert 0.7 < taken / float(found[1]) < 1.4
    path = run / "activations" / "negative" / "step-00000012.h5"
    with opened(path) as file:
        names = dataset_names(file)
    assert {"residual", "residual_mid", "margin_gradient", "mlp_norm"} <= set(names)
    assert list(read_activations(path, "position")) == ["question_end", "answer_mean"]
    assert read_attrs(path)["complete"] == 1
    again = probe("collect", run, *asked)
    assert "collected 0" in again.out


MISTAKES = {
    "collector": (("--collect", "residual,sparcity"), "no collector 'sparcity'", "'sparsity'"),
    "position": (("--positions", "answer"), "no position 'answer'", "'answer_"),
    "site": (("--residual-sites", "middle"), "no residual site 'middle'", "mid"),
    "twice": (("--positions", "answer_end,answer_end"), "given twice", "name it once"),
    "none": (("--collect", ","), "no collector is named", "--scores-only"),
    "scores": (("--scores-only", "--collect", "residual"), "--scores-only stores none", "leave"),
    "spec": (("--collector", "mine.py"), "cannot read the collector 'mine.py'", "ClassName"),
}


@pytest.mark.parametrize("case", MISTAKES)
def test_a_mistake_is_one_clear_error(case: str, probe: Probe, run: Path) -> None:
    options, message, fix = MISTAKES[case]
    shown = probe("collect", run, *options)
    assert shown.code != 0
    assert message in shown.err
    assert fix in shown.err.split("fix:")[1]
    assert not (run / "scores").exists()


def test_other_positions_are_another_collection(probe: Probe, run: Path) -> None:
    first = ("--collect", "residual", "--heads", "negative", "--checkpoints", "12")
    assert probe("collect", run, *first).code == 0
    shown = probe("collect", run, *first, "--positions", "answer_mean")
    assert "positions: stored the default, asked for" in shown.err
