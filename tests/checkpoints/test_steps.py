import pytest
from hypothesis import given
from hypothesis import strategies as st

from critical_phase.checkpoints import schedule_steps, select_steps
from critical_phase.errors import ConfigError

SAVED = range(0, 4097, 64)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("first,last", (0, 4096)),
        ("128", (128,)),
        ("0,64,256", (0, 64, 256)),
        ("64-256", (64, 128, 192, 256)),
        ("64:256", (64, 128, 192, 256)),
        ("0:4096:2048", (0, 2048, 4096)),
        ("3968:", (3968, 4032, 4096)),
        (":64", (0, 64)),
        ("every:1024", (0, 1024, 2048, 3072, 4096)),
        ("log", (0, 64, 128, 256, 512, 1024, 2048, 4096)),
        ("log:8", (0, 64, 128, 192, 384, 704, 1280, 2240, 4096)),
        ("@::16", (0, 1024, 2048, 3072, 4096)),
        ("@-2:", (4032, 4096)),
        ("128, 64,128", (64, 128)),
    ],
)
def test_every_form_of_the_grammar(text: str, steps: tuple[int, ...]) -> None:
    assert select_steps(text, SAVED) == steps


def test_all_is_everything_in_numeric_order() -> None:
    assert select_steps("all", [100, 9, 20]) == (9, 20, 100)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("100", "no checkpoint at step 100; nearest: 64, 128, 192"),
        ("1:63", "'1:63' selects no checkpoint\nfix:   choose among the 65 steps from 0 to 4096"),
        ("foo", "cannot read the steps 'foo'\nfix:   write all, 128"),
        ("", "cannot read the steps ''"),
        ("-", "cannot read the steps '-'"),
        ("every:0", "cannot read the steps 'every:0'"),
        ("log:0", "cannot read"),
        ("8,,9", "no checkpoint at step 8"),
        ("0:64:0", "selects no checkpoint"),
        ("@::0", "selects no checkpoint"),
    ],
)
def test_a_choice_that_cannot_be_met_is_one_error(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        select_steps(text, SAVED)
    assert raised.value.fix


def test_the_only_step_is_named() -> None:
    with pytest.raises(ConfigError, match="fix:   choose step 7, the only one"):
        select_steps("8", [7])


def test_nothing_saved_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no saved checkpoint"):
        select_steps("all", [])


def test_a_schedule_always_saves_both_ends() -> None:
    assert schedule_steps("8:11", 64) == (0, 8, 9, 10, 11, 64)
    assert schedule_steps("log", 512) == (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


@given(st.sets(st.integers(0, 5000), min_size=1, max_size=40), st.integers(1, 12))
def test_log_choices_are_saved_steps_with_both_ends(saved: set[int], count: int) -> None:
    chosen = select_steps(f"log:{count}", sorted(saved))
    assert set(chosen) <= saved
    assert chosen[0] == min(saved)
    assert chosen[-1] == max(saved)
