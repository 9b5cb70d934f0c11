"""One set of tests over every entry of COLLECTORS: a new one is tested once it is listed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collector_reference import REFERENCES
from naive_reference import fresh_model
from tiny_families import build_model
from tiny_plan import build_plan, save_adapters

from critical_phase.probes import (
    COLLECTORS,
    POSITION_NAMES,
    CollectSettings,
    Plan,
    collect,
    make_units,
    read_activations,
    read_attrs,
    unit_path,
    validate,
)
from critical_phase.probes.collector import Collector
from critical_phase.probes.collector_check import check_built, check_class
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.reading import dataset_names, opened

FAMILIES = ("llama", "gpt2")
ALL = CollectSettings(tuple(COLLECTORS), positions=POSITION_NAMES, residual_sites=("pre", "mid"))
TOLERANCE = 3e-5  # of the largest value: float32 sums in another order
# Through softmax and norms of weights made large.
STEEP = {"margin_gradient": 3e-4, "head_importance": 3e-4}


@pytest.fixture(scope="module")
def adapters(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return {name: save_adapters(tmp_path_factory.mktemp(name), name, (1,)) for name in FAMILIES}


@pytest.fixture(scope="module")
def files(
    adapters: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, Path]]:
    """Activations files of the base and of the adapter, everything on, adapters merged."""
    found = {}
    for family in FAMILIES:
        run, units = tmp_path_factory.mktemp("run"), make_units({"negative": adapters[family]})
        collect(run, build_model(family), build_plan(), units, settings=ALL, fail_fast=True)
        base, own = (unit_path(run, "activations", unit) for unit in units)
        found[family] = (base, own)
    return found


@pytest.fixture(scope="module")
def ways(adapters: dict[str, Any]) -> dict[str, Instrument]:
    """One live adapter, read in three ways: packed, single rows together, single rows alone."""
    path = adapters["llama"][0].path
    calls = {
        "packed": {"layout": "packed"},
        "naive": {"layout": "naive"},
        "alone": {"layout": "naive", "batch_tokens": 1},
    }
    made: dict[str, Instrument] = {}
    first: Instrument | None = None
    for name, call in calls.items():
        settings = CollectSettings(ALL.collectors, positions=ALL.positions, **call)  # type: ignore[arg-type]
        model = fresh_model("llama", path)
        scene = None if first is None else first.scene
        fixed = (None, None) if scene is None else (scene.calibration, scene.residual_calibration)
        made[name] = prepare(model, build_plan(), settings, *fixed)
        made[name].measure()
        first = first or made[name]
    return made


def close(ours: Any, theirs: Any, share: float) -> None:
    ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=share * max(1.0, np.abs(theirs).max()))


@pytest.mark.parametrize("name", COLLECTORS)
def test_the_class_keeps_the_contract(name: str, ways: dict[str, Instrument]) -> None:
    built = {one.name: one for one in ways["packed"].collectors}[name]
    assert check_class(COLLECTORS[name], name) is type(built)
    assert isinstance(built, Collector)
    check_built([built])
    arrays, axes = ways["packed"].arrays, ways["packed"].coordinates
    for dataset in built.datasets:
        assert arrays[dataset.name].shape == tuple(len(axes[dim]) for dim in dataset.dims)
        assert arrays[dataset.name].dtype == dataset.dtype
        assert bool(torch.isfinite(arrays[dataset.name].float()).all())


def test_all_collectors_together_agree_on_their_axes(ways: dict[str, Instrument]) -> None:
    check_built(ways["packed"].collectors)
    assert ways["packed"].coordinates["position"] == POSITION_NAMES


@pytest.mark.parametrize("way", ["naive", "alone"])
@pytest.mark.parametrize("name", COLLECTORS)
def test_values_do_not_depend_on_layout_or_batch(
    name: str, way: str, ways: dict[str, Instrument]
) -> None:
    assert (ways["packed"].choice.layout, ways[way].choice.layout) == ("packed", "naive")
    built = {one.name: one for one in ways["packed"].collectors}[name]
    for dataset in built.datasets:
        values = ways[way].arrays[dataset.name]
        close(values, ways["packed"].arrays[dataset.name], STEEP.get(name, TOLERANCE))
        assert bool(values.any())  # rows of zeros would agree too


def test_every_collector_has_a_reference() -> None:
    assert list(REFERENCES) == list(COLLECTORS)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", COLLECTORS)
def test_files_equal_single_unhooked_rows(
    name: str, family: str, files: dict[str, tuple[Path, Path]], adapters: dict[str, Any]
) -> None:
    base, own = files[family]
    expected = REFERENCES[name](family, adapters[family][0].path, build_plan(), base)
    for dataset, values in expected.items():
        close(read_activations(own, dataset), values, STEEP.get(name, TOLERANCE))
    built = COLLECTORS[name]
    assert built.name == name


def test_nothing_is_stored_beyond_what_a_reference_covers(
    files: dict[str, tuple[Path, Path]], adapters: dict[str, Any]
) -> None:
    base, own = files["llama"]
    path, plan = adapters["llama"][0].path, build_plan()
    covered = {n for one in REFERENCES.values() for n in one("llama", path, plan, base)}
    with opened(own) as file:
        rest = {name for name in dataset_names(file) if not name.startswith(("rows/", "summary/"))}
    assert rest == covered


def test_files_with_everything_on_are_valid(files: dict[str, tuple[Path, Path]]) -> None:
    for base, own in files.values():
        missing = set(validate(own).datasets) - set(validate(base).datasets)
        assert missing
        assert all(name.startswith("lora_") for name in missing)
        assert "holds no adapter" in read_attrs(base)["lora_hidden_absent"]
        assert "lora_hidden_absent" not in read_attrs(own)


def test_the_other_collectors_do_not_change_a_value(
    files: dict[str, tuple[Path, Path]], adapters: dict[str, Any], tmp_path: Path, plan: Plan
) -> None:
    lean = CollectSettings(("residual",), positions=POSITION_NAMES)
    units = make_units({"negative": adapters["llama"]})
    collect(tmp_path, build_model("llama"), plan, units, settings=lean, fail_fast=True)
    alone = read_activations(unit_path(tmp_path, "activations", units[1]), "residual")
    np.testing.assert_array_equal(alone, read_activations(files["llama"][1], "residual"))
