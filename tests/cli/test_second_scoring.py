"""`probe collect --contexts again`: the same rows in other batches."""

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_run import Probe

from critical_phase.analysis import AnalysisSettings
from critical_phase.analysis.scores.second_scorings import second_scoring
from critical_phase.checkpoints import quiet_peft
from critical_phase.cli.collect import prepare
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.settings import CollectSettings
from critical_phase.probes import read_attrs, read_scores

CHOSEN = ("--contexts", "again", "--checkpoints", "0,4,12")


@pytest.fixture(scope="module")
def run(collected_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the collected run, scored again at three steps."""
    from critical_phase.cli import main

    out = tmp_path_factory.mktemp("again") / "run"
    shutil.copytree(collected_run, out)
    with pytest.raises(SystemExit) as stopped:
        main(["collect", str(out), *CHOSEN])
    assert not stopped.value.code
    return out


def test_the_rows_are_the_same_and_the_batches_are_not(run: Path) -> None:
    again = run / "contexts" / "again"
    assert (again / "plan.csv").read_bytes() == (run / "plan.csv").read_bytes()
    unit = Path("scores/negative/step-00000012.h5")
    one, two = read_attrs(run / unit), read_attrs(again / unit)
    assert one["plan_sha256"] == two["plan_sha256"]
    assert (one["row_layout"], two["row_layout"]) == ("packed", "naive")
    first, second = (read_scores(folder / unit).logprob_sum for folder in (run, again))
    gap = np.abs(first - second).max()
    assert 0 < gap < 1e-4  # float32 rounding of sums of a few nats, and no more


def test_it_is_noted_and_not_made_twice(probe: Probe, run: Path) -> None:
    assert json.loads((run / "run.json").read_text())["contexts"]["again"]["layout"] == "naive"
    shown = probe("collect", run, *CHOSEN)
    assert "context again: existing rows, collected 0" in shown.out


def test_a_part_that_is_missing_is_made_alone(probe: Probe, run: Path) -> None:
    (run / "contexts/again/scores/negative/step-00000004.h5").unlink()
    assert "collected 1" in probe("collect", run, *CHOSEN).out.splitlines()[-1]


def test_the_analysis_reads_it_as_a_second_scoring(run: Path) -> None:
    arrays = StoredRun(RunFolder(run))
    assert arrays.contexts == ("again",)
    result = second_scoring(arrays, AnalysisSettings(draws=50))
    assert result.warnings == ()
    found = result.facts["second_scoring"]["again"]["heads"]["negative"]
    assert found.steps.tolist() == [4, 12]
    assert (found.noise > 0).all()
    assert (found.snr > 10).all()


def test_a_scoring_in_float64_is_the_value_that_rounding_hides(probe: Probe, run: Path) -> None:
    chosen = ("--contexts", "again-float64", "--checkpoints", "0,4,12")
    assert probe("collect", run, *chosen).code == 0
    unit = Path("scores/negative/step-00000012.h5")
    attrs = read_attrs(run / "contexts/again-float64" / unit)
    assert (attrs["compute_dtype"], attrs["merged"]) == ("float64", 1)
    single, again, double = (
        read_scores(run / folder / unit).logprob_sum
        for folder in (".", "contexts/again", "contexts/again-float64")
    )
    assert (single.dtype, double.dtype) == (np.float32, np.float64)
    assert 0 < np.abs(double - single).max() < 1e-4
    assert 0 < np.abs(double - again).max() < 1e-4
    np.testing.assert_allclose(double[:12], in_float64(run, 12), atol=2e-6)
    arrays = StoredRun(RunFolder(run))
    assert "again-float64" in arrays.contexts
    shutil.rmtree(run / "contexts/again-float64")


def in_float64(run: Path, rows: int) -> list[float]:
    """Score rows one by one with PEFT's own loading, all weights in float64."""
    ready = prepare(run, CollectSettings())
    with quiet_peft():
        wrapper = PeftModel.from_pretrained(ready.model, str(run / "heads/negative/checkpoint-12"))
    merged = wrapper.double().merge_and_unload().eval()
    found = []
    for row in range(rows):
        prompt, answer = ready.plan.prompts[ready.plan.question[row]], ready.plan.answers[row]
        with torch.no_grad():
            logits = merged(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
        taken = logits.log_softmax(-1)[torch.arange(len(answer)), torch.tensor(answer)]
        found.append(float(taken.sum()))
    return found


def test_a_type_that_is_not_finer_is_refused(probe: Probe, run: Path) -> None:
    shown = probe("collect", run, "--contexts", "again-float32", "--checkpoints", "0")
    assert shown.code == 2
    assert "the run computes in float32 already" in shown.err
    assert not (run / "contexts/again-float32").exists()


def test_another_plan_is_no_second_scoring(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    for path in (copy / "contexts/again/scores").rglob("*.h5"):
        with h5py.File(path, "a") as file:
            file.attrs["plan_sha256"] = "0" * 64
    arrays = StoredRun(RunFolder(copy))
    assert arrays.contexts == ()
    assert any("context again is left out: its rows are not" in note for note in arrays.notes)


def test_a_scaled_context_multiplies_the_update_and_not_the_texts(probe: Probe, run: Path) -> None:
    chosen = ("--contexts", "scaled-1,scaled-2", "--checkpoints", "0,4,12")
    assert probe("collect", run, *chosen).code == 0
    unit = Path("scores/negative/step-00000012.h5")
    own, one, two = (
        read_scores(run / folder / unit).logprob_sum
        for folder in (".", "contexts/scaled-1", "contexts/scaled-2")
    )
    np.testing.assert_allclose(one, own, atol=1e-4)  # float32, another pass
    # That the update is multiplied exactly is shown with single adapters.
    assert np.abs(two - own).max() > max(1e-3, 10 * np.abs(one - own).max())
    arrays = StoredRun(RunFolder(run))
    assert arrays.contexts == ("again", "scaled-1", "scaled-2")
