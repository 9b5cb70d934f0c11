"""Memory that runs out, values that are no numbers, checkpoints that change under our hands."""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import (
    COLLECTORS,
    CollectSettings,
    Plan,
    Unit,
    collect,
    make_units,
    non_finite_files,
    read_activations,
    read_attrs,
    unit_path,
    validate,
)
from critical_phase.probes.collector import Arrays, Dataset
from critical_phase.probes.finite import count_non_finite
from critical_phase.probes.residual import Residual
from critical_phase.probes.store import write_file

BASE = Unit("base", 0)
LEAN = CollectSettings(("residual",))
SHORT = {
    "cuda": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "runtime": lambda: RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
    "python": lambda: MemoryError(),
}


@pytest.fixture
def units(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Unit, ...]:
    return make_units({"negative": make_adapters(tmp_path / "heads", "llama", (0, 1, 2))})


def short_of_memory(model: Any, lines: int, error: Callable[[], Exception]) -> list[int]:
    """Let the second block fail for batches of more than so many lines; count the failures."""
    failures: list[int] = []

    def refuse(_: Any, args: tuple[Any, ...]) -> None:
        if len(args[0]) > lines:
            failures.append(len(args[0]))
            raise error()

    model.model.layers[1].mlp.register_forward_pre_hook(refuse)
    return failures


def before_each(act: Callable[[int], None]) -> Callable[[], bool]:
    """Act before every unit, given its number from 0; made to be given as `stop`."""
    numbers = itertools.count(-1)  # the first question comes before the model is prepared

    def stop() -> bool:
        act(next(numbers))
        return False

    return stop


def arrays(path: Path) -> dict[str, np.ndarray]:
    found: dict[str, np.ndarray] = {}

    def take(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu":
            found[name] = item[()]

    with h5py.File(path, "r") as file:
        file.visititems(take)
    return found


@pytest.mark.parametrize(
    ("kind", "layout"), [*((kind, "packed") for kind in SHORT), ("cuda", "naive")]
)
def test_a_batch_that_does_not_fit_is_halved_and_the_values_stay(
    kind: str, layout: Any, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    settings = CollectSettings(layout=layout, pattern_rows=(0,))
    calm = collect(tmp_path / "calm", make_model("llama"), plan, (BASE,), settings=settings)
    model = make_model("llama")
    failures = short_of_memory(model, 2 if layout == "packed" else 7, SHORT[kind])
    cut = collect(tmp_path / "cut", model, plan, (BASE,), settings=settings, fail_fast=True)
    assert (calm.cuts, cut.done) == (0, (BASE,))
    assert 0 < cut.cuts < len(failures)  # the calibration before it was cut as well
    for sort in ("activations", "scores"):
        whole, parts = (arrays(unit_path(tmp_path / n, sort, BASE)) for n in ("calm", "cut"))  # type: ignore[arg-type]
        assert whole.keys() == parts.keys()
        for name, values in whole.items():
            np.testing.assert_allclose(parts[name], values, rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_single_line_that_does_not_fit_fails_its_unit_and_no_other(
    plan: Plan, make_model: Callable[..., Any], units: tuple[Unit, ...], tmp_path: Path
) -> None:
    model, short = make_model("llama"), [False]

    def refuse(_: Any, __: Any) -> None:
        if short[0]:
            raise torch.OutOfMemoryError("CUDA out of memory")

    def before(number: int) -> None:
        short[0] = number == 2

    model.model.layers[1].mlp.register_forward_pre_hook(refuse)
    report = collect(tmp_path, model, plan, units, settings=LEAN, stop=before_each(before))
    assert [failure.unit for failure in report.failed] == [units[2]]
    assert "out of memory" in report.failed[0].message
    again = collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    assert again.done == (units[2],)
    assert not list((tmp_path / "failed").glob("*.json"))


@pytest.mark.parametrize("kind", ["cuda", "python"])
def test_a_gate_that_does_not_fit_is_no_reason_for_another_layout(
    kind: str, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    short_of_memory(model, 1, SHORT[kind])
    with pytest.raises(ConfigError, match="do not fit the memory"):
        collect(tmp_path, model, plan, (BASE,), settings=LEAN)
    assert not list(tmp_path.rglob("*.h5"))


def test_another_fault_than_memory_is_not_halved(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model = make_model("llama")
    failures = short_of_memory(model, 0, lambda: RuntimeError("shapes do not fit"))
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        collect(
            tmp_path,
            model,
            plan,
            (BASE,),
            settings=CollectSettings(("residual",), layout="naive"),
            fail_fast=True,
        )
    assert len(failures) == 1


PLACE = (2, 4, 1, 3)
"""Layer 1, row 4."""


@pytest.fixture
def plant(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Let the residual collector find a value that is no number, in one place."""

    def with_value(value: float) -> None:
        class Planted(Residual):
            def store(self, arrays: Arrays) -> None:
                super().store(arrays)
                arrays["residual"][PLACE] = value

        monkeypatch.setitem(COLLECTORS, "residual", Planted)

    return with_value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_values_that_are_no_numbers_are_kept_counted_and_placed(
    value: float,
    plan: Plan,
    make_model: Callable[..., Any],
    plant: Callable[[float], None],
    tmp_path: Path,
) -> None:
    plant(value)
    assert collect(tmp_path, make_model("llama"), plan, (BASE,), settings=LEAN).done == (BASE,)
    path = unit_path(tmp_path, "activations", BASE)
    found = read_activations(path, "residual")
    np.testing.assert_array_equal(np.argwhere(~np.isfinite(found)), [PLACE])
    np.testing.assert_array_equal(found[PLACE], np.float32(value))
    norm = read_activations(path, "summary/resid_norm")
    with h5py.File(path, "r") as file:
        assert file["residual"].attrs["non_finite"] == 1
        assert file["summary/resid_norm"].attrs["non_finite"] == (~np.isfinite(norm)).sum() == 1
        assert file.attrs["non_finite"] == 2
    (noted,) = non_finite_files([path, tmp_path / "missing.h5"])
    assert (noted.count, noted.first) == (2, "residual, layer 1, row 4")


def test_a_sound_file_states_that_nothing_is_wrong(
    plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    collect(tmp_path, make_model("llama"), plan, (BASE,))
    path = unit_path(tmp_path, "activations", BASE)
    assert read_attrs(path)["non_finite"] == 0
    assert non_finite_files([path]) == ()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_a_sum_that_overflows_is_no_wrong_value(dtype: torch.dtype) -> None:
    values = torch.full((4, 1000), torch.finfo(dtype).max, dtype=dtype)
    assert count_non_finite(values) == 0
    values[2, 5], values[3, 7] = float("nan"), float("-inf")
    assert count_non_finite(values) == 2
    assert count_non_finite(torch.arange(3)) == 0


@pytest.mark.parametrize(
    ("name", "compute", "kept"),
    [
        ("own/a", "float32", False),
        ("own/a", "bfloat16", False),
        ("own/a", "float16", True),
        ("residual", "float32", True),  # its collector refuses before it rounds
    ],
)
def test_float16_that_was_rounded_to_infinity_is_refused_with_its_place(
    name: str, compute: str, kept: bool, tmp_path: Path
) -> None:
    dataset = Dataset(name, ("layer", "row", "rank"), torch.float16, "test")
    values = torch.zeros(2, 3, 4).half()
    values[1, 2, 0] = float("inf")
    axes: dict[str, Any] = {
        "layer": np.array([-1, 7], dtype=np.int32),
        "row": np.arange(3),
        "rank": np.arange(4),
    }
    attributes, path = {"compute_dtype": compute}, tmp_path / "a.h5"
    if kept:
        write_file(path, "activations", [(dataset, values)], axes, attributes)
        assert read_attrs(path)["non_finite_first"] == f"{name}, layer 7, row 2"
        return
    text = rf"above 65504 in {name}, layer 7, row 2 \(1 such values\)(.|\n)*store-dtype"
    with pytest.raises(StoreError, match=text):
        write_file(path, "activations", [(dataset, values)], axes, attributes)
    assert list(tmp_path.iterdir()) == []


def test_a_head_that_vanishes_fails_its_units_alone_and_comes_back(
    plan: Plan, make_model: Callable[..., Any], units: tuple[Unit, ...], tmp_path: Path
) -> None:
    heads, gone, run = tmp_path / "heads", tmp_path / "gone", tmp_path / "run"

    def vanish(number: int) -> None:
        if number == 2:
            heads.rename(gone)

    stop = before_each(vanish)
    report = collect(run, make_model("llama"), plan, units, settings=LEAN, stop=stop)
    assert report.done == units[:2]
    assert [failure.unit for failure in report.failed] == list(units[2:])
    assert str(heads) in report.failed[0].message
    gone.rename(heads)
    again = collect(run, make_model("llama"), plan, units, settings=LEAN)
    assert (again.existing, again.done) == (units[:2], units[2:])


def test_a_checkpoint_rewritten_after_it_was_listed_is_never_stored_under_the_old_hash(
    plan: Plan, make_model: Callable[..., Any], units: tuple[Unit, ...], tmp_path: Path
) -> None:
    assert units[2].checkpoint is not None
    assert units[3].checkpoint is not None
    shutil.copy(
        units[3].checkpoint.path / "adapter_model.safetensors",
        units[2].checkpoint.path / "adapter_model.safetensors",
    )
    report = collect(tmp_path, make_model("llama"), plan, units, settings=LEAN)
    assert [failure.unit for failure in report.failed] == [units[2]]
    assert "changed since it was listed" in report.failed[0].message
    assert not unit_path(tmp_path, "scores", units[2]).exists()


@pytest.mark.parametrize("when", ["before it is measured", "while it is measured"])
def test_a_unit_that_another_process_finishes_keeps_its_files_and_is_noted(
    when: str,
    plan: Plan,
    make_model: Callable[..., Any],
    units: tuple[Unit, ...],
    tmp_path: Path,
) -> None:
    other, run, now = tmp_path / "other", tmp_path / "run", [False]
    collect(other, make_model("llama"), plan, units, settings=LEAN)

    def appear() -> None:
        now[0] = False
        for kind in ("scores", "activations"):
            source, target = (unit_path(r, kind, units[2]) for r in (other, run))  # type: ignore[arg-type]
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)

    def before(number: int) -> None:
        now[0] = number == 2
        if now[0] and when == "before it is measured":
            appear()

    model = make_model("llama")
    model.lm_head.register_forward_pre_hook(lambda *_: appear() if now[0] else None)
    report = collect(run, model, plan, units, settings=LEAN, stop=before_each(before))
    found = report.existing if when == "before it is measured" else report.twice
    assert found == (units[2],)
    for path in run.rglob("*.h5"):
        validate(path)
        assert path.read_bytes() == (other / path.relative_to(run)).read_bytes()
