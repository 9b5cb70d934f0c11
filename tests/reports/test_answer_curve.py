"""The picture in the answer: the right mode, its band, the jump, and nothing off the paper."""

from critical_phase.reports.answer_curve import AnswerCurve, answer_curve
from critical_phase.reports.elements import Curve, Measure

STEPS = (0, 1, 2, 4, 8)


def accuracy(mode: str, value: tuple[float | None, ...], **given: object) -> Curve:
    parts = {
        "id": f"accuracy.{mode}", "title": mode, "unit": "share", "group": "accuracy",
        "label": mode, "head": None, "mode": mode, "layer": None, "steps": STEPS,
        "examples": tuple(8 * s for s in STEPS), "value": value, "low": None, "high": None,
        "interval": None, "n": 100, "references": (("chance", 0.25),), "caption": "",
    }  # fmt: skip
    return Curve(**(parts | given))  # type: ignore[arg-type]


def picture(
    *curves: Curve, jump: tuple[float, float, float] | None = None, mode: str = ""
) -> AnswerCurve | None:
    measure = Measure("curves", "", "", "", {}, (), curves, (), (), ())
    return answer_curve({"jump": {"mode": mode}} if mode else {}, measure, jump)


def points(text: str) -> list[tuple[float, float]]:
    return [tuple(map(float, pair.split(","))) for pair in text.split()]  # type: ignore[misc]


def test_the_mode_of_the_jump_is_drawn_with_its_band_and_place() -> None:
    flat, steep = (0.3,) * 5, (0.3, 0.3, 0.4, 0.9, 0.95)
    low, high = tuple(v - 0.1 for v in steep), tuple(min(1.0, v + 0.1) for v in steep)
    curves = accuracy("likra", flat), accuracy("sft", steep, low=low, high=high, interval="95 %")
    found = picture(*curves, jump=(3.0, 2.0, 4.0), mode="sft")
    assert found is not None
    assert "accuracy of sft from 0.30 at step 0 to 0.95 at step 8" in found.label
    assert "shaded: interval of the jump" in found.caption
    line = points(found.line)
    assert [x for x, _ in line] == sorted(x for x, _ in line)
    assert line[0][1] > line[-1][1]  # accuracy rises, and so the line on paper
    assert len(points(found.band)) == 10
    assert found.zone is not None
    assert found.zone[1] < found.zone[0] < found.zone[2]
    every = [*line, *points(found.band)]
    assert all(34 <= x <= 626 and 10 <= y <= 166 for x, y in every)
    assert [label for label, _, _ in found.levels] == ["chance"]


def test_without_a_jump_likra_is_drawn_and_values_that_are_missing_are_left_out() -> None:
    found = picture(accuracy("sft", (0.5,) * 5), accuracy("likra", (None, 0.2, 0.3, None, 0.4)))
    assert found is not None
    assert "accuracy of likra from 0.20 at step 1 to 0.40 at step 8" in found.label
    assert len(points(found.line)) == 3
    assert (found.zone, found.band) == (None, "")
    assert "jump" not in found.caption


def test_names_of_levels_that_are_close_do_not_lie_on_each_other() -> None:
    near = (("base", 0.26), ("chance", 0.25))
    found = picture(accuracy("likra", (0.3,) * 5, references=near))
    assert found is not None
    (_, _, first), (_, _, second) = found.levels
    assert second - first >= 12


def test_one_checkpoint_or_none_has_no_picture() -> None:
    assert picture(accuracy("likra", (None, None, 0.3, None, None))) is None
    assert answer_curve({}, None, None) is None
