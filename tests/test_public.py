"""Every room shows exactly the names it lists."""

import importlib

import pytest

ROOMS = ("analysis", "checkpoints", "probes", "reports")


@pytest.mark.parametrize("room", ROOMS)
def test_every_listed_name_exists_once_and_is_defined_in_its_room(room: str) -> None:
    module = importlib.import_module(f"critical_phase.{room}")
    names = module.__all__
    assert len(names) == len(set(names))
    for name in names:
        home = getattr(getattr(module, name), "__module__", None)
        assert home is None or home.startswith(f"critical_phase.{room}"), name


@pytest.mark.parametrize("room", ROOMS)
def test_every_listed_name_is_documented(room: str) -> None:
    module = importlib.import_module(f"critical_phase.{room}")
    undocumented = [
        name
        for name in module.__all__
        if callable(getattr(module, name))
        and hasattr(getattr(module, name), "__module__")
        and not (getattr(module, name).__doc__ or "").strip()
    ]
    assert undocumented == []
