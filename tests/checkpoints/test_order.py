"""The order of questions: whole passes, nested sets, and a start that repeats."""

import numpy as np
import pytest

from critical_phase.checkpoints import data_order
from critical_phase.errors import ConfigError


def _order(needed: int, **options: int) -> list[int]:
    return data_order(10, needed, np.random.default_rng(3), **options)


def test_passes_are_whole_shuffles_one_after_another_as_they_always_were() -> None:
    rng, expected = np.random.default_rng(3), []
    while len(expected) < 25:
        expected += [int(i) for i in rng.permutation(10)]
    assert _order(25) == expected[:25]


def test_a_smaller_training_set_is_the_beginning_of_a_larger_one() -> None:
    assert _order(4, size=4) == _order(7, size=7)[:4] == _order(10)[:4]
    assert set(_order(40, size=4)) == set(_order(4))
    assert sorted(_order(8, size=4)[4:]) == sorted(_order(4))


def test_a_training_set_of_all_questions_is_the_whole_set() -> None:
    assert _order(25, size=10) == _order(25)


def test_a_repeated_start_comes_again_in_the_same_order() -> None:
    assert _order(11, first=4) == (_order(4) * 3)[:11]
    assert _order(11, first=4, size=5) == (_order(4) * 3)[:11]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 11}, "train_size is 11, but there are 10 training questions"),
        ({"first": 11}, "repeat_first is 11, but there are 10"),
        ({"first": 5, "size": 4}, "repeat_first is 5, but there are 4"),
        ({"first": 0}, "repeat_first is 0"),
    ],
)
def test_more_questions_than_there_are_is_refused(options: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        _order(8, **options)
