import numpy as np
import pytest

from critical_phase.cli.on_demand import ReadOnDemand


def test_arrays_are_read_when_they_are_asked_for_and_each_time() -> None:
    asked: list[str] = []

    def read(name: str) -> np.ndarray:
        asked.append(name)
        return np.full(2, len(asked))

    found = ReadOnDemand(("a", "b"), read)
    assert (list(found), len(found), "a" in found, "c" in found) == (["a", "b"], 2, True, False)
    assert asked == []
    assert found["b"][0] == 1
    assert [values[0] for values in found.values()] == [2, 3]
    assert asked == ["b", "a", "b"]


def test_another_name_is_refused() -> None:
    with pytest.raises(KeyError):
        ReadOnDemand(("a",), lambda name: np.zeros(1))["b"]
