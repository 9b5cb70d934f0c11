"""A measure that fails costs itself and is named; one that findings need ends the analysis."""

from collections.abc import Mapping

import numpy as np
import pytest

from critical_phase.analysis import (
    MEASURES,
    AnalysisSettings,
    MeasureResult,
    analyze,
    planted_run,
    to_json,
)
from critical_phase.analysis.inputs import RunArrays
from critical_phase.analysis.pipeline import NEEDED
from critical_phase.errors import FitError

QUICK = AnalysisSettings(draws=40, permutations=20, smooth_draws=20)


def broken(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    raise FitError("nothing to fit")


@pytest.mark.parametrize("name", ["similarity", "tokens"])
def test_a_measure_that_fails_is_named_and_stops_no_other(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEASURES, name, broken)
    run = planted_run("switch", np.random.default_rng(0), questions=20, steps=12, width=0)
    done = analyze(run, QUICK, measures=(name,))
    assert done.findings["failed"] == [
        {"measure": name, "error": "FitError", "message": "nothing to fit"}
    ]
    assert any(name in text and "nothing to fit" in text for text in done.findings["warnings"])
    assert "raise FitError" in done.failed[0].traceback
    assert done.measures.keys() == {*NEEDED, name}
    assert not done.measures[name].curves
    assert set(to_json(done)["measures"]) == {*NEEDED, name}


@pytest.mark.parametrize("name", NEEDED)
def test_a_measure_that_findings_need_ends_the_analysis(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MEASURES, name, broken)
    run = planted_run("switch", np.random.default_rng(0), questions=20, steps=12, width=0)
    with pytest.raises(FitError, match="nothing to fit"):
        analyze(run, QUICK)


def test_nothing_fails_of_itself() -> None:
    run = planted_run("switch", np.random.default_rng(0), questions=20, steps=12, width=0)
    assert analyze(run, QUICK).findings["failed"] == []
