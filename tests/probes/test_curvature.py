"""The files of a series of curvature: written once, taken up again, refused, left out."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from full_unit import full_unit

from critical_phase.checkpoints import Checkpoint, Example
from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import draw_for_gradients, make_units
from critical_phase.probes.curvature_files import curvature_path
from critical_phase.probes.curvature_job import CurvatureSettings, curvature
from critical_phase.probes.sharpness import Search

EXAMPLES = tuple(
    Example(f"q{i}", "a", (0, 40 + i, 41), tuple(range(60 + i, 62 + i))) for i in range(8)
)
DRAWN = {"negative": draw_for_gradients(EXAMPLES, 8, np.random.default_rng(0))}
QUICK = CurvatureSettings(draws=2, samples=2, search=Search(3, 0.5, 8), batch=8)


@pytest.fixture
def series(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Checkpoint, ...]:
    made: tuple[Checkpoint, ...] = make_adapters(tmp_path / "heads", "llama", (0, 1, 2))
    return made


def measure(
    run: Path, series: tuple[Checkpoint, ...], make: Callable[..., Any], plan: Any, **more: Any
) -> Any:
    units = [unit for unit in make_units({"negative": series}) if unit.checkpoint is not None]
    settings, examples = more.pop("settings", QUICK), more.pop("examples", DRAWN)
    return curvature(
        run, make("llama"), units, plan, examples, settings, references=[units[-1]], **more
    )


def steps(jobs: Any) -> list[int]:
    return [unit.step for unit, control in jobs if not control]


def test_a_series_is_written_once_and_taken_up_again(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    run = tmp_path / "run"
    calls = iter([False, False, False, True])  # the control and two checkpoints, then stop
    stopped = measure(run, series, make_model, plan, stop=lambda: next(calls))
    assert (steps(stopped.done), steps(stopped.remaining)) == ([0, 1], [2])
    again = measure(run, series, make_model, plan)
    assert (steps(again.done), steps(again.existing)) == ([2], [0, 1])
    whole = measure(tmp_path / "other", series[1:], make_model, plan)
    assert steps(whole.done) == [1, 2]
    for step in (1, 2):
        paths = [curvature_path(r, "negative", step) for r in (run, tmp_path / "other")]
        assert paths[0].read_bytes() == paths[1].read_bytes()
    found = json.loads(curvature_path(run, "negative", 2).read_text())
    assert found["questions"] == ["q0", "q1", "q2", "q3"]
    assert found["preconditioned"] is None  # no state of an optimizer was kept
    assert [one["products"] for one in found["sharpness"]] == [4, 4]
    sums = np.sum(found["fisher_modules"], axis=0)
    np.testing.assert_allclose(found["fisher"], sums, rtol=1e-7)
    assert np.mean(found["fisher_draws"]) == pytest.approx(np.mean(found["fisher"]), rel=1e-7)
    twin = json.loads(curvature_path(run, "negative", 2, control=True).read_text())
    assert twin["control"] == "random_adapter"
    assert twin["fisher"] != found["fisher"]
    with pytest.raises(StoreError, match="its draws is 2, asked for 3"):
        measure(run, series, make_model, plan, settings=replace(QUICK, draws=3))


def test_sharpness_is_left_out_where_there_are_no_examples(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    settings = replace(QUICK, samples=0, draws=1)
    measure(tmp_path / "run", series[:1], make_model, plan, settings=settings, examples={})
    found = json.loads(curvature_path(tmp_path / "run", "negative", 0).read_text())
    assert (found["sharpness"], found["preconditioned"]) == (None, None)
    assert found["key"]["examples_sha256"] == ""


def test_a_step_that_cannot_be_measured_is_named_and_leaves_no_file(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    model = make_model("llama")
    unit = full_unit(tmp_path / "full", model)
    found = curvature(tmp_path / "run", model, [unit], plan, DRAWN, QUICK, references=[])
    ((job, message),) = found.failed
    assert job == (unit, False)
    assert "taken over an adapter, and this holds full weights" in message
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (replace(QUICK, draws=0), "0 draws give no Fisher trace"),
        (replace(QUICK, samples=1), "at least 2 samples with an example each: 1 samples of 8"),
        (replace(QUICK, samples=9), "9 samples of 8 examples of the negative head"),
    ],
)
def test_settings_without_a_number_are_refused(
    tmp_path: Path, series: Any, make_model: Any, plan: Any, settings: CurvatureSettings, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        measure(tmp_path / "run", series, make_model, plan, settings=settings)
