"""What interventions are read as: planted shares, doses, barriers, and the word "cause"."""

from dataclasses import replace

import numpy as np
import pytest

from critical_phase.analysis import Rows
from critical_phase.analysis.interventions.intervention_claim import Asked, Beside, claim
from critical_phase.analysis.interventions.intervention_doses import (
    barrier,
    crossings,
    dose_response,
)
from critical_phase.analysis.interventions.intervention_effect import (
    Effect,
    Number,
    between,
    effect,
    moved,
    one_more,
    ratio,
)
from critical_phase.analysis.interventions.intervention_frame import SIGNS, Frame
from critical_phase.analysis.interventions.intervention_minimum import (
    Evidence,
    may_say_cause,
    minimum,
    precedes,
    sentence,
)
from critical_phase.analysis.interventions.intervention_repeats import Repeat, repetition
from critical_phase.analysis.interventions.intervention_table import claim_values, path_values
from critical_phase.errors import ConfigError, FitError, ShapeError

QUESTIONS, CANDIDATES = 80, 3


def make_rows(questions: int = QUESTIONS) -> Rows:
    count = questions * CANDIDATES
    return Rows(
        question=np.repeat(np.arange(questions), CANDIDATES),
        correct=np.tile([True, False, False], questions),
        characters=np.full(count, 4),
        tokens=np.full(count, 2),
        question_ids=tuple(f"q{i}" for i in range(questions)),
        groups=("",) * questions,
        texts=("text",) * count,
        bytes=np.full(count, 4),
    )


def make_frame(seed: int = 0, **given: object) -> Frame:
    """A negative head whose wrong candidates rise by about 2 nats from early to late."""
    rng, rows = np.random.default_rng(seed), make_rows()
    pre = rng.normal(-6.0, 1.0, rows.question.size)
    rise = np.where(rows.correct, 0.0, 2.0) + rng.normal(0.0, 0.2, pre.size)
    other = rng.normal(-6.0, 0.5, pre.size)
    values = {"mode": "likra", "head": "negative", "weight": 1.0, "normalisation": "sum"} | given
    return Frame(rows, other=other, pre=pre, post=pre + rise, **values)  # type: ignore[arg-type]


def part_of_the_way(frame: Frame, share: float) -> np.ndarray:
    """Scores whose margins are a share of the way: candidates keep their order here."""
    return frame.pre + share * (frame.post - frame.pre)


@pytest.fixture(scope="module")
def frame() -> Frame:
    # Two candidates: margins are linear in the scores, so shares can be planted exactly.
    made = make_frame()
    keep = np.arange(QUESTIONS * CANDIDATES) % CANDIDATES < 2
    rows = replace(
        made.rows,
        **{
            n: getattr(made.rows, n)[keep]
            for n in ("question", "correct", "characters", "tokens", "bytes")
        },
        texts=("text",) * int(keep.sum()),
    )
    parts = {name: getattr(made, name)[keep] for name in ("other", "pre", "post")}
    return replace(made, rows=rows, **parts)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0, 1.4, -0.2])
def test_a_planted_share_is_read_exactly(frame: Frame, share: float) -> None:
    found = effect(frame, part_of_the_way(frame, share)[None], frame.confirmatory)
    assert found.share.value == pytest.approx(share, abs=1e-9)
    assert found.share.interval == pytest.approx((share, share), abs=1e-9)
    assert found.lost.value == pytest.approx(1 - share, abs=1e-9)
    assert found.singles == pytest.approx([share] * 5, abs=1e-9)
    assert found.questions == QUESTIONS // 2


def test_the_interval_of_a_share_covers_it() -> None:
    inside = 0
    for seed in range(150):
        rng = np.random.default_rng([seed, 5])
        below = rng.normal(1.0, 0.8, 60)
        above = 0.6 * below + rng.normal(0.0, 0.7, 60)
        counts = rng.multinomial(60, np.full(60, 1 / 60), size=300) / 60
        low, high = ratio(above[None], below, counts).interval
        inside += low <= 0.6 <= high
    assert inside >= 132  # 95 % of 150 is 142; three standard errors below is 134


def test_random_draws_widen_the_interval_of_a_control(frame: Frame) -> None:
    weights = frame.weights(frame.confirmatory)
    below = (frame.ends[1] - frame.ends[0])[frame.confirmatory]
    lines = np.stack([share * below for share in (-0.4, 0.0, 0.4)])
    found = ratio(lines, below, weights)
    assert found.value == pytest.approx(0.0, abs=1e-12)
    assert found.interval[1] - found.interval[0] > 0.6


def test_a_random_thing_seldom_lies_above_what_one_more_random_thing_may_do() -> None:
    """The interval of the mean of five draws is left by a sixth of them in one case of five."""
    rng, below = np.random.default_rng(11), np.ones(40)
    weights = rng.multinomial(40, np.full(40, 1 / 40), size=200) / 40
    above_mean = above_another = 0
    for _ in range(400):
        shares = rng.normal(0.0, 0.3, 6)
        lines = np.outer(shares[:5], below)
        another = one_more(lines, below, weights)
        assert another is not None
        above_mean += shares[5] > ratio(lines, below, weights).interval[1]
        above_another += shares[5] > another[1]
    assert above_mean > 60  # 15 %: such a control is no control of a single thing
    assert above_another < 20  # 2.5 % is meant


def test_what_one_more_draw_does_holds_the_questions_too(frame: Frame) -> None:
    weights = frame.weights(frame.confirmatory)
    below = (frame.ends[1] - frame.ends[0])[frame.confirmatory]
    noise = np.random.default_rng(2).normal(0.0, 1.0, below.size)
    assert one_more((0.2 * below)[None], below, weights) is None
    alike = one_more(np.stack([noise, noise]), below, weights)
    assert alike is not None
    assert alike == pytest.approx(ratio(noise[None], below, weights).interval, abs=1e-9)


@pytest.mark.parametrize(("mode", "head"), [(m, h) for m in SIGNS for h in SIGNS[m] if h != "base"])
def test_scores_of_every_mode_are_those_of_its_formula(mode: str, head: str) -> None:
    made = make_frame(mode=mode, head=head, weight=0.7, normalisation="per_token")
    acting = made.post[None]
    plus, minus = {
        ("likra", "negative"): (made.other, made.post),
        ("likra", "positive"): (made.post, made.other),
        ("base_likra", "negative"): (made.other, made.post),
        ("pos_base", "positive"): (made.post, made.other),
        ("sft", "positive"): (made.post, np.zeros_like(made.post)),
    }[mode, head]
    np.testing.assert_allclose(made.scores(acting)[0], (plus - 0.7 * minus) / 2, atol=1e-12)


def test_a_frame_refuses_what_it_cannot_combine() -> None:
    with pytest.raises(ConfigError, match="mode sft has no negative head"):
        make_frame(mode="sft")
    with pytest.raises(ConfigError, match="no base head"):
        make_frame(mode="base_likra", head="base")
    with pytest.raises(ShapeError, match="other has other rows"):
        replace(make_frame(), **dict.fromkeys(("other", "pre", "post"), np.zeros(5)))


def test_no_share_is_given_where_the_margin_does_not_move() -> None:
    still = make_frame()
    still = replace(still, post=still.pre + np.random.default_rng(3).normal(0, 1, still.pre.size))
    with pytest.raises(FitError, match="not told from nothing"):
        moved(still, still.confirmatory)
    with pytest.raises(FitError, match="too few"):
        moved(still, np.arange(QUESTIONS) < 3)
    made = make_frame()
    assert moved(made, made.confirmatory).interval[0] > 1


def test_halves_of_the_questions_share_nothing(frame: Frame) -> None:
    changed = frame.pre.copy()
    reported = frame.confirmatory[frame.rows.question]
    changed[reported] = frame.post[reported]
    assert effect(frame, changed[None], frame.confirmatory).share.value == pytest.approx(1.0)
    assert effect(frame, changed[None], ~frame.confirmatory).share.value == pytest.approx(0.0)


def test_doses_that_rise_are_monotone_and_a_dip_is_seen(frame: Frame) -> None:
    doses = np.array([1.0, 0.0, 0.5])
    rising = np.stack([part_of_the_way(frame, one) for one in doses])
    found = dose_response(frame, doses, rising, frame.confirmatory)
    assert found.doses == (0.0, 0.5, 1.0)
    assert [one.value for one in found.share] == pytest.approx([0.0, 0.5, 1.0])
    assert found.monotone
    dipping = np.stack([part_of_the_way(frame, one) for one in (1.0, 0.0, -0.5)])
    assert not dose_response(frame, doses, dipping, frame.confirmatory).monotone
    flat = np.stack([frame.pre] * 3)
    assert not dose_response(frame, doses, flat, frame.confirmatory).monotone
    with pytest.raises(ShapeError, match="different doses"):
        dose_response(frame, np.array([1.0, 1.0, 2.0]), rising, frame.confirmatory)


def test_a_barrier_is_what_lies_below_the_line() -> None:
    doses = np.linspace(0, 1, 11)
    weights = np.full((20, 7), 1 / 7)
    dip = np.outer(-4 * 0.3 * doses * (1 - doses), np.ones(7)) + np.outer(doses, np.arange(7.0))
    found = barrier(doses, dip, weights)
    assert (found.height.value, found.dose) == (pytest.approx(0.3), pytest.approx(0.5))
    assert found.height.interval == pytest.approx((0.3, 0.3))
    bump = barrier(doses, -dip, weights)
    assert bump.height.value == pytest.approx(0.0, abs=1e-12)
    with pytest.raises(ShapeError, match="one is missing"):
        barrier(doses[1:], dip[1:], weights)


def test_questions_cross_where_their_lines_pass_zero() -> None:
    doses = np.array([0.0, 1.0, 2.0])
    margin = np.array(
        [
            [-1.0, -1.0, -3.0, 1.0, -2.0, -1.0],
            [1.0, -0.5, -2.0, -1.0, 2.0, 3.0],
            [2.0, 0.5, -1.0, 1.0, 3.0, 4.0],
        ]
    )
    found = crossings(doses, margin)
    assert (found.cross, found.never, found.always) == (4, 1, 1)
    assert found.quantiles == pytest.approx(np.quantile([0.5, 1.5, 0.5, 0.25], (0.25, 0.5, 0.75)))
    assert crossings(doses, margin[:, :3]).quantiles == ()


def test_a_path_has_barriers_only_between_its_ends(frame: Frame) -> None:
    doses = np.array([0.0, 0.5, 1.0])
    lines = np.stack([part_of_the_way(frame, one) for one in doses])
    whole = path_values(frame, doses, lines)
    assert whole["barrier_margin"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert whole["barrier_loss"]["value"] == pytest.approx(0.0, abs=1e-9)
    assert whole["taught_loglikelihood"][-1] > whole["taught_loglikelihood"][0]
    assert path_values(frame, doses[:2], lines[:2])["barrier_margin"] is None


def of_share(frame: Frame, share: float) -> Effect:
    return effect(frame, part_of_the_way(frame, share)[None], frame.confirmatory)


def of_draws(frame: Frame, *shares: float) -> Effect:
    lines = np.stack([part_of_the_way(frame, share) for share in shares])
    return effect(frame, lines, frame.confirmatory)


def whole_evidence(frame: Frame) -> Evidence:
    return Evidence(
        own=of_share(frame, 0.9),
        lost=False,
        opposite=of_share(frame, 0.1),
        control=of_draws(frame, -0.01, 0.0, 0.01),
        elsewhere=(of_share(frame, 0.1),),
        drift=0.01,
        drift_late=0.02,
        second=(-0.02, 0.02),
        monotone=True,
        held_out=True,
        seeds=5,
        datasets=2,
        leads=(-3.0, -1.0),
        training=True,
        peers=of_draws(frame, 0.1, 0.12, 0.14),
        sized=True,
    )


def test_the_word_cause_needs_all_seven_points(frame: Frame) -> None:
    whole = whole_evidence(frame)
    assert may_say_cause(minimum(whole))
    assert "it causes the change" in sentence("this", minimum(whole), whole.own)
    assert not may_say_cause(minimum(whole)[:6])


@pytest.mark.parametrize(
    ("point", "change"),
    [
        (1, {"opposite": None}),
        (1, {"opposite": 1.0}),
        (2, {"control": 0.95}),
        (2, {"control": 0.0}),
        (2, {"control": (-0.4, 0.0, 0.4)}),
        (2, {"elsewhere": ()}),
        (2, {"elsewhere": 0.95}),
        (2, {"peers": None}),
        (2, {"peers": (0.5, 0.7, 0.9)}),
        (2, {"second": None}),
        (2, {"second": None, "second_why": "the score is at chance"}),
        (2, {"second": (-0.2, -0.1)}),
        (2, {"second": (-0.3, 0.1)}),
        (2, {"drift": None}),
        (2, {"drift": 0.05}),
        (3, {"monotone": None}),
        (3, {"monotone": False}),
        (4, {"held_out": False}),
        (4, {"seeds": 4}),
        (4, {"datasets": 1}),
        (5, {"leads": None}),
        (5, {"leads": (-1.0, 2.0)}),
        (6, {"training": None}),
        (6, {"training": False}),
        (7, {"own": 0.45}),
    ],
)
def test_each_gap_takes_the_word_away_and_is_named(
    point: int, change: dict[str, object], frame: Frame
) -> None:
    given = {
        n: of_share(frame, v) if isinstance(v, float) and n in ("own", "opposite", "control") else v
        for n, v in change.items()
    }
    for name in ("control", "peers"):
        if isinstance(change.get(name), tuple):
            given = {name: of_draws(frame, *change[name])}  # type: ignore[misc]
    if change.get("elsewhere") == 0.95:
        given = {"elsewhere": (of_share(frame, 0.95),)}
    evidence = replace(whole_evidence(frame), **given)  # type: ignore[arg-type]
    points = minimum(evidence)
    assert [one.number for one in points if one.met is not True] == [point]
    text = sentence("this", points, evidence.own)
    assert "the word cause is not used" in text
    assert f"({point})" in text


@pytest.mark.parametrize(
    ("leads", "says", "met"),
    [
        ((-13.3, -8.0), "it changes 8.0 to 13.3 steps before the jump", True),
        ((2.0, 4.5), "it changes 2.0 to 4.5 steps after the jump", False),
        ((-1.0, 2.5), "it changes between 1.0 steps before and 2.5 after the jump", False),
        ((-3.0, 0.0), "it changes 0.0 to 3.0 steps before the jump", True),
        (None, "no abrupt change of the component was placed", None),
    ],
)
def test_a_lead_is_said_in_words_that_its_sign_has(
    leads: tuple[float, float] | None, says: str, met: bool | None
) -> None:
    point = precedes(leads)
    assert (point.number, point.found, point.met) == (5, says, met)


def test_what_is_taken_away_is_judged_by_what_goes(frame: Frame) -> None:
    """Freezing takes 0.9 away; its control takes 0.05, the other way brings 0.8."""
    taken = replace(
        whole_evidence(frame),
        own=of_share(frame, 0.1),
        lost=True,
        opposite=of_share(frame, 0.8),
        control=of_draws(frame, 0.94, 0.96),
        elsewhere=(of_share(frame, 0.9),),
        peers=of_draws(frame, 0.6, 0.62, 0.64),
    )
    points = minimum(taken)
    assert may_say_cause(points)
    assert "brings [0.80, 0.80], takes away [0.90, 0.90]" in points[0].found
    assert "takes away 0.90" in sentence("freezing", points, taken.own, lost=True)
    worse = minimum(replace(taken, control=of_share(frame, 0.05)))
    assert worse[1].met is False
    spread = minimum(replace(taken, control=of_draws(frame, 0.5, 0.95, 1.4)))[1]
    assert spread.met is False
    assert "one more draw of the control may do up to" in spread.found
    common = minimum(replace(taken, peers=of_draws(frame, 0.1, 0.2, 0.3)))[1]
    assert common.met is False
    assert "one more set of as many places may do up to" in common.found


def test_a_claim_has_the_keys_that_verdicts_read(frame: Frame) -> None:
    scores = {
        "cell": part_of_the_way(frame, 0.8),
        "back": part_of_the_way(frame, 0.3),
        "a": part_of_the_way(frame, 0.1),
        "b": part_of_the_way(frame, -0.1),
        "zero": frame.pre,
        "half": part_of_the_way(frame, 0.5),
    }
    asked = Asked(
        "this", "cell", "random", ("a", "b"), opposite="back", elsewhere=("half",),
        doses=((0.0, "zero"), (0.5, "half"), (1.0, "cell")),
    )  # fmt: skip
    found = claim(frame, scores, asked, Beside())
    two = claim(frame, scores, replace(asked, doses=asked.doses[::2]), Beside())
    assert two.points[2].met is None  # nothing and all of it: the effect itself, once more
    assert "fewer than three doses" in two.points[2].found
    values = claim_values(found)
    low, high = values["control_another"]
    assert (low, high) == pytest.approx((-2.2008, 2.2008), abs=1e-3)  # t(1) = 12.706
    assert values["share"] == pytest.approx(0.8)
    assert values["control_share"] == pytest.approx(0.0, abs=1e-9)
    assert values["control_interval"][0] == pytest.approx(-0.1, abs=1e-9)
    assert (values["causes"], values["questions"]) == (False, QUESTIONS // 2)
    assert values["doses"]["monotone"] is True
    assert [p["number"] for p in values["points"] if p["met"]] == [1, 3, 7]
    taken = claim_values(
        claim(frame, scores, replace(asked, cell="back", opposite="cell", lost=True), Beside())
    )
    assert taken["share"] == pytest.approx(0.7)
    assert taken["control_share"] == pytest.approx(1.0)
    assert taken["control_another"] == pytest.approx([1 - high, 1 - low])


def test_doses_that_take_something_away_rise_with_what_goes(frame: Frame) -> None:
    doses = np.array([0.0, 0.5, 1.0])
    falling = np.stack([part_of_the_way(frame, 1 - one) for one in doses])
    found = dose_response(frame, doses, falling, frame.confirmatory, lost=True)
    assert [one.value for one in found.share] == pytest.approx([0.0, 0.5, 1.0])
    assert found.monotone
    assert not dose_response(frame, doses, falling, frame.confirmatory).monotone


def test_what_is_left_between_two_changed_models(frame: Frame) -> None:
    late, early = part_of_the_way(frame, 0.9), part_of_the_way(frame, 0.3)
    found = between(frame, late, early, frame.confirmatory)
    assert found.value == pytest.approx(0.6, abs=1e-9)
    assert found.interval == pytest.approx((0.6, 0.6), abs=1e-9)
    assert between(frame, late, late, frame.confirmatory).value == pytest.approx(0.0, abs=1e-12)


def repeat(name: str, share: float | None, dataset: str = "one") -> Repeat:
    size = None if share is None else Number(share, (share - 0.1, share + 0.1))
    return Repeat(name, dataset, size, (-0.05, 0.05), "" if size else "no such answer")


@pytest.mark.parametrize(
    ("shares", "others", "met", "says"),
    [
        ([0.5] * 5, [0.6], True, "found in 5 of 5 seeds"),
        ([0.5] * 5, [], None, "one model and dataset"),
        ([0.5] * 4, [0.6], None, "found in 4 of 4 seeds"),
        ([0.5] * 4 + [0.12], [0.6], False, "found in 4 of 5 seeds"),
        ([0.5] * 5 + [None], [0.6], True, "found in 5 of 6 seeds"),
        ([0.5] * 5, [0.6, 0.0], False, "in 0 of 1 other datasets"),
        ([0.2] * 5 + [-2.0], [0.6], False, "found in 5 of 6 seeds"),
    ],
)
def test_point_four_needs_seeds_their_mean_and_another_dataset(
    shares: list[float | None], others: list[float], met: bool | None, says: str
) -> None:
    """A share of .12 is above nothing, and not told from its control."""
    runs = [repeat(f"seed{i}", one) for i, one in enumerate(shares)]
    runs += [repeat(f"other{i}", one, "two") for i, one in enumerate(others)]
    found = repetition(runs)
    assert found.point.met is met
    assert says in found.point.found
    assert (found.point.number, found.tried) == (4, len(shares))


def test_the_mean_over_seeds_has_a_t_interval() -> None:
    found = repetition([repeat(str(i), one) for i, one in enumerate((0.4, 0.5, 0.6))]).mean
    assert found is not None
    assert found.value == pytest.approx(0.5)
    assert found.interval == pytest.approx((0.5 - 0.2484, 0.5 + 0.2484), abs=1e-4)  # t(2) = 4.3027
    assert repetition([repeat("one", 0.4)]).mean is None
