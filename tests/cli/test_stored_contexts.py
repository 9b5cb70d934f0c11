"""What an analysis reads of contexts and side effects, and what it says of missing ones."""

import csv
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from critical_phase.analysis import AnalysisSettings, RunArrays, analyze
from critical_phase.cli.loading import StoredRun
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.stored_contexts import StoredEffects, check_adapters
from critical_phase.errors import StoreError
from critical_phase.probes.collector import Dataset
from critical_phase.probes.store import write_file

QUICK = AnalysisSettings(draws=50, permutations=20, smooth_draws=20)
SCORES = ("normalisations", "side_effects")


@pytest.fixture(scope="module")
def with_contexts(collected_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run, scored in two contexts at three steps."""
    from critical_phase.cli import main

    copy = tmp_path_factory.mktemp("contexts") / "run"
    shutil.copytree(collected_run, copy)
    chosen = ["--contexts", "answer_only,domain", "--checkpoints", "0,4,12"]
    with pytest.raises(SystemExit) as stopped:
        main(["collect", str(copy), *chosen])
    assert not stopped.value.code
    return copy


@pytest.fixture
def run(with_contexts: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "run"
    shutil.copytree(with_contexts, copy)
    return copy


def write_effects(run: Path, head: str, step: int, **tables: np.ndarray) -> Path:
    path = run / "effects" / head / f"step-{step:08d}.h5"
    arrays = [
        (Dataset(name, (f"{name}_item",), torch.float64, name), torch.from_numpy(values))
        for name, values in tables.items()
    ]
    axes = {f"{name}_item": np.arange(values.size) for name, values in tables.items()}
    write_file(path, "effects", arrays, axes, {"adapter_sha256": ""})
    return path


def test_a_run_without_contexts_and_effects_has_none(collected_run: Path) -> None:
    arrays = StoredRun(RunFolder(collected_run))
    assert isinstance(arrays, RunArrays)
    assert arrays.contexts == ()
    assert arrays.effects("positive") == {}
    assert arrays.effect_steps("positive").size == 0


def test_contexts_have_the_rows_of_the_run_and_their_own_steps(run: Path) -> None:
    arrays = StoredRun(RunFolder(run))
    assert arrays.contexts == ("answer_only", "domain")
    assert arrays.context_rows("domain").question_ids == arrays.rows.question_ids
    assert arrays.context_steps("domain", "negative").tolist() == [0, 4, 12]
    scores = arrays.context_scores("domain", "negative")
    assert scores.shape == (3, arrays.rows.question.size)
    # An untrained adapter changes nothing.
    np.testing.assert_allclose(scores[0], arrays.context_base_scores("domain"), atol=1e-5)


def test_an_analysis_uses_what_is_there_and_says_what_is_missing(run: Path) -> None:
    result = analyze(StoredRun(RunFolder(run)), QUICK, measures=SCORES).measures
    tables = {table.id: table for table in result["normalisations"].tables}
    assert {row[1] for row in tables["contexts"].rows} == {"answer alone", "premise alone"}
    notes = result["normalisations"].warnings
    assert any(
        note.startswith("answer_only, domain: no scores of the positive and negative head at 10")
        for note in notes
    )
    assert any("probe effects RUN" in note for note in result["side_effects"].warnings)


def test_a_context_without_its_base_is_left_out_with_a_note(run: Path) -> None:
    (run / "contexts/domain/scores/base/step-00000000.h5").unlink()
    arrays = StoredRun(RunFolder(run))
    assert arrays.contexts == ("answer_only",)
    assert any("probe collect RUN --contexts domain completes it" in n for n in arrays.notes)


def test_a_context_of_some_of_the_questions_is_left_out_with_a_note(run: Path) -> None:
    plan = run / "contexts/domain/plan.csv"
    plan.write_text("".join(plan.read_text().splitlines(keepends=True)[:-4]))
    arrays = StoredRun(RunFolder(run))
    assert "domain" not in arrays.contexts
    assert any("it holds 29 questions, 29 of the 30" in note for note in arrays.notes)


def test_a_context_scored_with_another_adapter_is_refused(run: Path) -> None:
    path = run / "contexts/domain/scores/negative/step-00000004.h5"
    with pytest.raises(StoreError, match="collected from another adapter"):
        check_adapters({4: path}, {4: "another"}, str)
    check_adapters({4: path}, {}, str)


def test_a_context_scored_with_two_plans_is_refused(run: Path) -> None:
    with h5py.File(run / "contexts/domain/scores/negative/step-00000004.h5", "a") as file:
        file.attrs["plan_sha256"] = "0" * 64
    with pytest.raises(StoreError, match="made from another plan") as caught:
        StoredRun(RunFolder(run))
    assert "--contexts domain --overwrite" in str(caught.value.fix)


def test_a_context_with_other_candidates_of_the_same_ids_is_refused(run: Path) -> None:
    plan = run / "contexts/domain/plan.csv"
    lines = plan.read_text().splitlines(keepends=True)
    text = next(csv.DictReader(lines))["text"]
    plan.write_text("".join([lines[0], lines[1].replace(text, text + " more"), *lines[2:]]))
    with pytest.raises(StoreError, match="context domain has other candidates than the run"):
        StoredRun(RunFolder(run))


@pytest.mark.parametrize("attribute", ["texts_sha256", "plan_sha256", "examples_sha256"])
def test_effects_of_one_size_but_different_origin_are_not_put_together(
    run: Path, attribute: str
) -> None:
    for step, value in ((0, "a"), (4, "b"), (8, "")):
        path = write_effects(run, "positive", step, kl_text=np.zeros(2))
        with h5py.File(path, "a") as file:
            file.attrs[attribute] = value
    with pytest.raises(StoreError, match="this file was made from another"):
        StoredEffects(RunFolder(run)).read("positive")


def test_effects_are_stacked_and_missing_ones_are_nan(run: Path) -> None:
    write_effects(run, "positive", 0, kl_text=np.array([0.0, 0.0]))
    write_effects(
        run, "positive", 4, kl_text=np.array([0.1, 0.2]), gradient_sq=np.array([1.0, 2.0, 3.0])
    )
    found = StoredEffects(RunFolder(run)).read("positive")
    np.testing.assert_array_equal(found["kl_text"], [[0, 0], [0.1, 0.2]])
    assert np.isnan(found["gradient_sq"][0]).all()
    np.testing.assert_array_equal(found["gradient_sq"][1], [1, 2, 3])


def test_effects_on_different_texts_are_not_put_together(run: Path) -> None:
    write_effects(run, "positive", 0, kl_text=np.zeros(2))
    write_effects(run, "positive", 4, kl_text=np.zeros(3))
    with pytest.raises(StoreError, match=r"kl_text has different sizes .* \(2,\), \(3,\)"):
        StoredEffects(RunFolder(run)).read("positive")
