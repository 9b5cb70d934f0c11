"""Every room shows exactly the names it lists."""

import importlib
import inspect

import pytest

ROOMS = ("analysis", "checkpoints", "probes", "reports")


def is_code(value: object) -> bool:
    return inspect.isclass(value) or inspect.isfunction(value)


@pytest.mark.parametrize("room", ROOMS)
def test_every_listed_name_exists_once_and_is_defined_in_its_room(room: str) -> None:
    module = importlib.import_module(f"critical_phase.{room}")
    names = module.__all__
    assert len(names) == len(set(names))
    for name in names:
        assert hasattr(module, name), name
        if is_code(getattr(module, name)):
            assert getattr(module, name).__module__.startswith(f"critical_phase.{room}"), name


@pytest.mark.parametrize("room", ROOMS)
def test_every_listed_name_is_documented(room: str) -> None:
    module = importlib.import_module(f"critical_phase.{room}")
    listed = [getattr(module, name) for name in module.__all__]
    assert [
        one.__name__ for one in listed if is_code(one) and not (one.__doc__ or "").strip()
    ] == []
