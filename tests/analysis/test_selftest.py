from dataclasses import replace

import pytest

from critical_phase.analysis.inference.proportion import wilson_of_count
from critical_phase.analysis.planted.planted_truth import Place
from critical_phase.analysis.planted.planted_worlds import PLANTED_WORLDS
from critical_phase.analysis.planted.selftest import (
    Located,
    Outcome,
    false_alarm,
    faults,
    run_draw,
    score,
    world_named,
)
from critical_phase.errors import ConfigError

SWITCH = PLANTED_WORLDS["switch"]
RIGHT = Outcome(
    number=0,
    truth=16.0,
    margin_truth=16.0,
    verdicts=dict.fromkeys(("H0b", "H1", "H4", "H9"), "not separable")
    | dict.fromkeys(("H0c", "H2", "H3", "H5", "H6", "H7", "H8"), "not tested")
    | {"H0a": "excluded"},
    jump=Located(16.2, 15.0, 17.0, (16.1, 16.3)),
    margin=Located(15.9, 15.5, 16.5, (15.6, 16.4)),
    abrupt=(Place("margin.likra"), Place("accuracy.likra")),
    failed=(),
    seconds=0.5,
)


@pytest.mark.parametrize(
    ("count", "total", "low", "high"),
    [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (95, 100, 0.8882, 0.9785), (0, 0, 0.0, 1.0)],
)
def test_wilson_intervals_are_those_of_the_formula(count, total, low, high):
    assert wilson_of_count(count, total) == (
        pytest.approx(low, abs=1e-4),
        pytest.approx(high, abs=1e-4),
    )


def test_the_right_answer_has_no_fault():
    assert faults(SWITCH, RIGHT) == ()


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"verdicts": RIGHT.verdicts | {"H0a": "supported"}}, "H0a supported"),
        ({"verdicts": RIGHT.verdicts | {"H5": "supported"}}, "H5 supported"),
        ({"verdicts": {k: v for k, v in RIGHT.verdicts.items() if k != "H9"}}, "H9 missing"),
        ({"verdicts": RIGHT.verdicts | {"H2": "excluded"}}, "H2 excluded"),
        ({"jump": None}, "no jump found"),
        ({"failed": ("weights",)}, "measure weights failed"),
    ],
)
def test_a_wrong_answer_is_a_fault(change, fault):
    assert faults(SWITCH, replace(RIGHT, **change)) == (fault,)


def test_a_jump_where_there_is_none_is_a_fault_and_a_false_alarm():
    flat = PLANTED_WORLDS["flat"]
    none = dict.fromkeys(RIGHT.verdicts, "not tested")
    quiet = replace(
        RIGHT, truth=None, margin_truth=None, verdicts=none, jump=None, margin=None, abrupt=()
    )
    assert (faults(flat, quiet), false_alarm(flat, quiet)) == ((), False)
    loud = replace(quiet, jump=RIGHT.jump)
    assert (faults(flat, loud), false_alarm(flat, loud)) == (("a jump where there is none",), True)
    assert false_alarm(flat, replace(quiet, abrupt=(Place("lora_norm.negative"),)))


def test_steep_accuracy_over_drifting_margins_is_no_false_alarm_and_an_abrupt_margin_is():
    mirage = PLANTED_WORLDS["mirage"]
    steep = replace(RIGHT, abrupt=(Place("accuracy.likra"), Place("direction.negative")))
    assert false_alarm(mirage, steep) is False
    assert false_alarm(mirage, RIGHT) is True
    assert false_alarm(SWITCH, RIGHT) is None


def test_a_missed_jump_counts_against_the_place_and_not_against_the_interval():
    far = replace(RIGHT, jump=Located(18.0, 17.5, 18.5, (17.5, 18.5)))
    found = score(SWITCH, [RIGHT, far, replace(RIGHT, jump=None)])
    assert (found.tau_within_one_step.count, found.tau_within_one_step.total) == (1, 3)
    assert (found.coverage.count, found.coverage.total) == (1, 2)
    assert (found.drawn_coverage.count, found.drawn_coverage.total) == (0, 2)
    assert (found.margin_drawn_coverage.count, found.margin_coverage.count) == (3, 3)
    assert (found.right.count, found.wrong) == (2, (("no jump found", 1),))


def test_rows_that_are_missed_or_made_up_are_named():
    world = PLANTED_WORLDS["rerouting"]
    seen = (Place("attention_js.negative", 2, 0), Place("attention_js.negative", 0, 1))
    found = score(world, [replace(RIGHT, abrupt=seen)])
    assert found.alarms == (("attention_js.negative layer 0 attention head 1", 1),)
    assert [name for name, _ in found.missed] == [
        "attention_js.negative layer 2 attention head 2",
        "margin.base_likra",
    ]
    assert (found.located.value, found.stray.value) == (0.0, 0.1)


def test_columns_that_do_not_apply_have_no_share():
    found = score(PLANTED_WORLDS["mirage"], [replace(RIGHT, truth=None)])
    assert found.coverage.value is None
    assert found.located.value is None
    assert found.named.value == 0.0
    assert score(SWITCH, [RIGHT]).false_alarm.value is None


def test_equal_numbers_give_equal_outcomes():
    one, two = (replace(run_draw("flat", 1), seconds=0.0) for _ in range(2))
    assert one == two


def test_an_unknown_world_is_named():
    with pytest.raises(ConfigError, match="asked for world mirrage, known are mirage"):
        world_named("mirrage")
