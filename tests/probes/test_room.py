"""Arrays that do not fit the memory lie in a nameless file, and hold the same values."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from critical_phase.errors import StoreError
from critical_phase.probes import CollectSettings, Plan, collect, make_units, unit_path
from critical_phase.probes import room as room_module
from critical_phase.probes.room import new_room

LIKE = {
    "big": torch.ones(40, 3, dtype=torch.bfloat16),
    "small": torch.ones(4, dtype=torch.int32),
    "middle": torch.ones(5, 5),
}


def test_the_largest_arrays_go_to_disk_and_leave_no_file(tmp_path: Path) -> None:
    made = new_room(LIKE, tmp_path / "run", memory=200)
    assert {name: array.is_shared() for name, array in made.items()} == {
        "big": True,
        "small": False,
        "middle": False,
    }
    assert list((tmp_path / "run").iterdir()) == []


@pytest.mark.parametrize("memory", [0, 200, 1 << 20])
def test_room_is_zeros_that_keep_what_is_put_there(tmp_path: Path, memory: int) -> None:
    made = new_room(LIKE, tmp_path, memory=memory)
    for name, array in made.items():
        assert (array.shape, array.dtype) == (LIKE[name].shape, LIKE[name].dtype)
        assert not array.any()
        array.copy_(LIKE[name])
    assert all(torch.equal(made[name], LIKE[name]) for name in LIKE)


def test_files_are_the_same_wherever_the_room_was(
    plan: Plan,
    make_model: Callable[..., Any],
    make_adapters: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    units = make_units({"negative": make_adapters(tmp_path / "heads", "llama", (1, 2))})
    settings = CollectSettings()
    collect(tmp_path / "memory", make_model("llama"), plan, units, settings=settings)
    monkeypatch.setattr(room_module.new_room, "__defaults__", (0,))
    collect(tmp_path / "disk", make_model("llama"), plan, units, settings=settings)
    for unit in units:
        a, b = (unit_path(tmp_path / run, "activations", unit) for run in ("memory", "disk"))
        assert a.read_bytes() == b.read_bytes()


def test_a_full_disk_is_one_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, size_bytes: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(room_module, "hold_room", refuse)
    with pytest.raises(StoreError, match="the disk is full"):
        new_room(LIKE, tmp_path, memory=0)
    assert list(tmp_path.iterdir()) == []
