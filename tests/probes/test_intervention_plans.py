"""Every plan on a tiny model: the contract, and what each must find where the truth is known."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from tiny_interventions import Tiny, gap, tiny_bench, tiny_lab

from critical_phase.analysis.judging.causal_evidence import Plan
from critical_phase.errors import ConfigError
from critical_phase.probes.interventions import (
    PLANS,
    Cell,
    CellsFile,
    InterventionPlan,
    Lab,
    Outcome,
)

SMALL = {
    "graft": {"sets": "single,prefix,suffix,leave_one_out,module,search", "draws": "2"},
    "patch": {"sites": "resid", "positions": "all,answer", "draws": "1"},
    "frozen_attention": {"sets": "layer"},
    "scale": {"early": "0.5,1,2", "late": "0,1", "draws": "1"},
    "interpolate": {"doses": "0,0.5,1", "draws": "1"},
    "constant_vector": {"scopes": "all", "doses": "0,1", "ranks": "1,2", "draws": "2"},
    "ablate": {"doses": "0,1", "draws": "2"},
    "leace": {"doses": "0,1", "draws": "2"},
    "steer": {"doses": "1,2", "draws": "2"},
    "lens": {"lenses": "logit,tuned", "steps": "20"},
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_bench(tmp_path_factory.mktemp("heads"))


@pytest.fixture(scope="module")
def done(tiny: Tiny) -> Callable[[str], tuple[Lab, Outcome]]:
    made: dict[str, tuple[Lab, Outcome]] = {}

    def run(name: str) -> tuple[Lab, Outcome]:
        if name not in made:
            lab = tiny_lab(tiny, {**PLANS[name].options, **SMALL.get(name, {})})
            made[name] = lab, PLANS[name]().run(lab)
        return made[name]

    return run


@pytest.mark.parametrize("name", PLANS)
def test_every_plan_keeps_its_contract(name: str, done: Any) -> None:
    kind = PLANS[name]
    assert isinstance(kind(), InterventionPlan)
    assert (kind.name, bool(kind.about)) == (name, True)
    lab, outcome = done(name)
    assert outcome.headlines or outcome.pairs
    for head in outcome.headlines:
        named = (head.cell, *head.controls, *head.elsewhere, *head.doses)
        assert set(named) <= set(lab.cells)
        assert not head.opposite or head.opposite in lab.cells
        assert head.controls
        assert head.control
        assert not head.for_verdicts or head.plan in get_args(Plan)
        assert all("dose" in lab.cells[one].axes for one in head.doses)
    for pair in outcome.pairs:
        assert {pair.late, pair.early} <= set(lab.cells)
        assert pair.about
    for cells in outcome.paths.values():
        assert all("dose" in lab.cells[one].axes for one in cells)
    assert all(np.isfinite(lab.scores(cell)).all() for cell in lab.cells)
    assert all(cell.axes["set"] for cell in lab.cells.values())


def share(lab: Lab, name: str) -> float:
    return lab.share(lab.cells[name])


def test_grafts_of_all_layers_are_the_other_model_and_of_none_its_own(done: Any) -> None:
    lab, _ = done("graft")
    assert share(lab, "denoise/prefix/2") == 1.0
    assert share(lab, "noise/prefix/2") == 0.0
    assert share(lab, "dose/graft/0") == pytest.approx(0.0, abs=1e-6)
    for layer in (0, 1):
        prefix, suffix = (
            lab.scores(f"{way}/{layer + i}")
            for i, way in enumerate(("denoise/prefix", "noise/suffix"))
        )
        assert np.array_equal(prefix, suffix)  # late up to here is the late one with early above


def test_the_same_model_is_not_run_twice(done: Any) -> None:
    lab, _ = done("graft")
    assert lab.passes < len(lab.cells)


def test_the_search_finds_the_one_place_that_a_judge_listens_to(tiny: Tiny) -> None:
    planted = tiny.places[4]
    options = {**PLANS["graft"].options, "sets": "search", "draws": "1", "doses": "0,1"}
    lab = tiny_lab(tiny, options)

    def share_of(cell: Cell) -> float:
        lab.measure(cell)
        there = cell.state[planted.module] == tiny.post[planted.module]
        return float(there)

    lab.share = share_of  # type: ignore[method-assign]
    outcome = PLANS["graft"]().run(lab)
    assert f"layer {planted.layer} ({planted.short})" in outcome.headlines[0].about.replace(
        "layers", "layer"
    )
    assert outcome.headlines[0].layers == (planted.layer,)


def test_a_whole_residual_patch_is_a_prefix_graft(done: Any) -> None:
    grafts, patches = done("graft")[0], done("patch")[0]
    for layer in (0, 1, 2):
        graft = grafts.scores(f"denoise/prefix/{layer}")
        assert gap(patches.scores(f"denoise/resid/{layer}/all"), graft) < 2e-5


def test_scaling_by_one_and_half_way_are_the_known_models(tiny: Tiny, done: Any) -> None:
    bench = tiny.bench
    lab, _ = done("scale")
    assert np.array_equal(lab.scores("late/1"), bench.score(tiny.post))
    assert np.array_equal(lab.scores("early/1"), bench.score(tiny.pre))
    assert np.array_equal(lab.scores("late/0"), bench.score({}))
    line, _ = done("interpolate")
    assert np.array_equal(line.scores("line/0"), bench.score(tiny.pre))
    assert np.array_equal(line.scores("line/1"), bench.score(tiny.post))


def test_what_was_measured_is_read_and_gives_the_same_answer(tiny: Tiny, tmp_path: Path) -> None:
    options = {**PLANS["scale"].options, "early": "2,3", "late": "0,1", "draws": "1"}
    path, stop = tmp_path / "cells.npz", [3]

    def measured(name: str) -> None:
        stop[0] -= 1
        if stop[0] == 0:
            raise KeyboardInterrupt

    cells = CellsFile(path, "key")
    with pytest.raises(KeyboardInterrupt):
        PLANS["scale"]().run(tiny_lab(tiny, options, cells=cells, measured=measured))
    cells.flush()
    second = tiny_lab(tiny, options, cells=CellsFile(path, "key"))
    whole = tiny_lab(tiny, options)
    resumed, fresh = (PLANS["scale"]().run(lab) for lab in (second, whole))
    assert resumed == fresh
    assert second.passes == whole.passes - 3
    assert all(np.array_equal(second.scores(n), whole.scores(n)) for n in whole.cells)


@pytest.mark.parametrize(
    ("plan", "options", "match"),
    [
        ("graft", {"sets": "single,whole"}, "names 'whole'"),
        ("graft", {"sets": "single", "doses": "a"}, "not a list of numbers"),
        ("patch", {"sites": "stream"}, "names 'stream'"),
        ("scale", {"early": ""}, "not a list of numbers"),
    ],
)
def test_options_that_cannot_be_used_are_refused(
    plan: str, options: dict[str, str], match: str, tiny: Tiny
) -> None:
    lab = tiny_lab(tiny, {**PLANS[plan].options, **options})
    if "doses" in options:
        with pytest.raises(ConfigError, match=match):
            lab.numbers("doses")
        return
    with pytest.raises(ConfigError, match=match):
        PLANS[plan]().run(lab)
