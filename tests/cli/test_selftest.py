import json

import pytest
from tiny_run import Probe

from critical_phase.analysis.planted.planted_worlds import PLANTED_WORLDS
from critical_phase.analysis.planted.selftest import QUICK_DRAWS, QUICK_WORLDS
from critical_phase.cli.selftest import selftest
from critical_phase.cli.selftest_table import as_json, lines

KEYS = {"world", "draws", "right", "false_alarm", "tau_within_one_step", "coverage"}


@pytest.fixture(scope="module")
def quick():
    return {one.world: one for one in selftest(QUICK_WORLDS, QUICK_DRAWS)}


def pooled(shares):
    shares = list(shares)
    return sum(s.count for s in shares), sum(s.total for s in shares)


# Each bound fails by chance in less than .4 % of seeds where the rate is at its target.


def test_switches_are_found_where_they_are(quick):
    close, total = pooled(one.tau_within_one_step for one in quick.values())
    assert total == 3 * QUICK_DRAWS
    assert close >= 24  # P(X <= 23) at .95


def test_intervals_of_the_place_hold_it(quick):
    held, total = pooled(one.coverage for one in quick.values())
    assert total >= 24
    assert held >= total - 6


def test_smooth_worlds_raise_no_more_alarms_than_they_may(quick):
    alarms, total = pooled(one.false_alarm for one in quick.values())
    assert total == 3 * QUICK_DRAWS
    assert alarms <= 5  # P(X >= 6) at .05


def test_planted_rows_are_found(quick):
    found, total = pooled(one.located for one in quick.values())
    assert total == 2 * QUICK_DRAWS
    assert found >= 15


def test_nothing_fails_and_nothing_false_is_supported(quick):
    for one in quick.values():
        allowed = {
            h for h in one.verdicts if "supported" in PLANTED_WORLDS[one.world].acceptable(h)
        }
        said = {h for h, counts in one.verdicts.items() if counts.get("supported")}
        assert said <= allowed
        assert not [what for what, _ in one.wrong if what.endswith("failed")]


def test_one_object_has_the_published_keys_and_null_where_a_column_does_not_apply(quick):
    value = as_json(list(quick.values()))
    assert value["schema_version"] == 1
    assert [world["world"] for world in value["worlds"]] == list(QUICK_WORLDS)
    assert all(set(world) >= KEYS for world in value["worlds"])
    mirage, switch = value["worlds"][:2]
    assert mirage["tau_within_one_step"] is None
    assert mirage["coverage"] is None
    assert switch["false_alarm"] is None
    assert len(switch["intervals"]["right"]) == 2
    assert sum(switch["verdicts"]["H0a"].values()) == QUICK_DRAWS


def test_the_table_has_a_row_per_world_and_says_what_was_wrong(quick):
    table = lines(list(quick.values()))
    assert table[0].startswith("| world | draws | right |")
    assert [row.split(" | ")[0] for row in table[2:8]] == [f"| {name}" for name in QUICK_WORLDS]
    wrong = {one.world for one in quick.values() if one.wrong}
    assert {row.split(",")[0] for row in table if ", wrong: " in row} == wrong


def test_the_command_prints_one_object(probe: Probe) -> None:
    shown = probe("selftest", "--world", "scale", "--draws", 1, "--jobs", 1, "--json")
    assert shown.code == 0
    assert json.loads(shown.out)["worlds"][0]["draws"] == 1


def test_worlds_are_listed_with_what_is_planted(probe: Probe) -> None:
    shown = probe("selftest", "--list")
    assert len(shown.out.splitlines()) == len(PLANTED_WORLDS)
    assert "flat: nothing changes" in shown.out


def test_an_unknown_world_is_refused_before_any_draw(probe: Probe) -> None:
    shown = probe("selftest", "--world", "mirrage")
    assert shown.code == 2
    assert "asked for world mirrage, known are mirage" in shown.err
