"""The answer block and the table of verdicts: what stands there can be cited as it is."""

from typing import Any

import pytest

from critical_phase.reports import answer
from critical_phase.reports.jump_facts import SEEDS, jump_facts, words

Json = dict[str, Any]

JUMP: Json = {
    "mode": "likra", "kind": "ramp", "tau_step": 21.5, "tau_examples": 172.0,
    "interval_examples": [141.0, 210.0],
    "interval_kind": "95 % question bootstrap plus training noise; one training run",
    "before": 0.446, "after": 0.931, "size": 0.485, "size_interval": [0.287, 0.757],
    "width_steps": 8.6, "first": 0.393, "last": 0.993, "base": 0.643,
    "only": "base_likra goes from .48 to .98 without an abrupt change (p = 0.6)",
    "posterior_steps": [29.0, 35.0], "posterior_agrees": False,
}  # fmt: skip


def facts(jump: Json, **more: Any) -> dict[str, tuple[str, str]]:
    return {name: (value, remark) for name, value, remark in jump_facts({"jump": jump, **more})}


def test_an_interval_says_what_it_is_over() -> None:
    assert facts(JUMP)["When"] == (
        "172 examples",
        "step 21.5; 95\u00a0% interval [141, 210] examples over questions and training noise, one"
        " training run",
    )
    assert "training noise" not in facts(JUMP | {"interval_kind": None})["When"][1]


def test_what_else_changes_is_counted_by_order_and_not_called_with_the_jump() -> None:
    orders = ["before"] * 2 + ["unresolved"] * 34 + ["with", ""]
    changes = [{"order": order} for order in orders]
    shown = facts(JUMP | {"near_steps": 8.8}, changes=changes)["Other abrupt changes"]
    assert shown[0] == "2 before it, 1 with it; order not resolved for 34"
    assert "within 8.8 steps of the jump" in shown[1]
    assert "Other abrupt changes" not in facts(JUMP, changes=changes)
    assert "Other abrupt changes" not in facts(JUMP | {"near_steps": 8.8}, changes=[{"order": ""}])


def test_levels_are_said_to_be_fitted_and_stand_beside_what_was_observed() -> None:
    value, remark = facts(JUMP)["Accuracy"]
    assert value == "0.45 → 0.93"
    assert remark == (
        "fitted levels, mode likra; a change of 0.48 [0.29, 0.76]. Observed: 0.39 at the first"
        " scored checkpoint, 0.99 at the last, 0.64 for the base model alone"
    )


@pytest.mark.parametrize(("kind", "limit"), [("step", "at most a tenth"), ("ramp", "more than")])
def test_step_and_ramp_are_kinds_of_jump_by_width(kind: str, limit: str) -> None:
    shown = facts(JUMP | {"kind": kind})
    assert shown["Shape of the jump"][0] == f"{kind}, 8.6 steps"
    assert f"a jump is called a {kind} if that is {limit}" in shown["Shape of the jump"][1]
    assert not {"Kind", "Width"} & set(shown)


def test_what_speaks_against_the_jump_stands_at_the_top() -> None:
    shown = facts(JUMP)
    assert shown["Found in"] == ("likra, over steps", f"but {JUMP['only']}")
    assert shown["Second opinion"][0] == "examples 232 to 280 (steps 29 to 35)"
    assert "outside the interval above" in shown["Second opinion"][1]
    calm = facts(JUMP | {"only": "", "posterior_agrees": True})
    assert not {"Found in", "Second opinion"} & set(calm)


def test_one_training_is_said_with_what_other_seeds_of_the_demo_showed() -> None:
    assert "other seeds are in no interval here" in facts(JUMP)["Training runs"][1]
    demo = {"made": {"kind": "demo"}}
    assert SEEDS in facts(JUMP, provenance=demo)["Training runs"][1]
    assert SEEDS not in facts(JUMP, provenance={"made": {"kind": "run"}})["Training runs"][1]
    flat = {"jump": None, "accuracy": {"base": 0.6, "sft": {"first": 0.6, "last": 0.7,
            "last_interval": [0.65, 0.75]}}}  # fmt: skip
    rows = {name: remark for name, _, remark in answer.answer(flat).facts}
    assert rows["sft"].endswith("over questions")
    assert rows["base"] == "the base model without a head"
    assert "Training runs" in rows


def test_words_that_are_used_are_explained() -> None:
    open_case = [{"hypothesis": "H5", "verdict": "not separable"}]
    found = {"jump": JUMP, "accuracy": {"likra": {}}, "verdicts": open_case}
    assert [word for word, _, _ in words(found)] == ["likra", "10-90 width", "not separable"]
    assert words({"jump": None, "accuracy": {"sft": {}}, "verdicts": []}) == ()


def verdict(**parts: Any) -> Json:
    return {"hypothesis": "H0b", "verdict": "excluded", "effect": 11308.0, "interval": None,
            "p_adjusted": 0.788, "evidence": [], **parts}  # fmt: skip


def test_effects_and_p_values_come_with_their_names() -> None:
    named = verdict(effect_name="least signal over noise", effect_unit="times the noise",
                    p_name="accuracy, base_likra")  # fmt: skip
    view = answer.verdicts_view({"verdicts": [named, verdict()]})
    heads = [name for name, _ in view.columns]
    at, p = heads.index("Effect measured"), heads.index("Adjusted p, and of what")
    assert "p, adjusted" not in heads
    assert [row[at].text for row in view.rows] == [
        "least signal over noise (times the noise)", "\u2013",
    ]  # fmt: skip
    assert [row[p].text for row in view.rows] == ["0.788, accuracy, base_likra", "\u2013"]
    assert "no verdict rests on it alone" in view.caption
    assert {len(row) for row in view.rows} == {len(heads)}
