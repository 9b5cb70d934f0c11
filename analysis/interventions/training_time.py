"""Does the jump move or vanish where something was withheld from training?

The run, the same training with something withheld, and controls that withhold as much elsewhere
are read on the same questions. A curve's place is where it crosses the level half way up the run's
own jump, so that it is defined where the other curve rises otherwise, or not at all. Differences
of places are taken on the same draw of questions.

Reference: arXiv 2309.07311 (a structure suppressed while training: is it necessary?).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from critical_phase.analysis.inference.bootstrap import interval, question_weights
from critical_phase.analysis.inputs import Rows, Scored, question_count
from critical_phase.analysis.interventions.intervention_effect import FEWEST, Number, ratio
from critical_phase.analysis.interventions.training_time_place import Place, later_than, place_of
from critical_phase.analysis.jumps.resolution import near, spacing, within
from critical_phase.analysis.probing.probe_choice import confirmatory
from critical_phase.analysis.scores.curves import combine, top_hits
from critical_phase.analysis.scores.margin import margins
from critical_phase.errors import FitError

Kind = Literal["later", "vanishes", "earlier", "stays", "not resolved"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is compared, and how."""

    mode: str
    weight: float
    early: int
    """Checkpoint of the run before its jump."""
    late: int
    """Checkpoint of the run after its jump."""
    width: float
    """10-90 width of the run's jump in steps; 0 where it is not known."""
    start: int
    """Last checkpoint before anything was withheld."""
    draws: int = 1000
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Arm:
    """One training beside the run."""

    name: str
    place: Place
    """Where its accuracy crosses half way up the run's jump."""
    later: Place
    """Steps by which that is later than in the run."""
    kind: Kind
    gain: Number
    """Accuracy gained from the run's early checkpoint to the last one."""
    gain_change: Number
    """The same minus the run's."""
    lost: Number
    """Share of the margin's change from early to late that is missing at the late checkpoint."""
    lost_last: Number
    """The same from early to last, at the last checkpoint."""
    apart_before: float
    """Largest difference of a score from the run's up to the window's start, nats; 0 is due."""


@dataclass(frozen=True, slots=True)
class TrainingTest:
    """The run, the test and its controls."""

    run: Place
    test: Arm
    controls: tuple[Arm, ...]
    beyond: tuple[Place, ...]
    """Steps by which the test's place is later than that of each control."""
    near: float
    """Steps within which a place counts as the same."""
    last: int
    """Last checkpoint that all trainings share."""
    steps: tuple[int, ...]
    questions: int
    met: bool | None
    """Whether the jump moves later or vanishes, and beyond every control; None: not resolved, or
    without a control."""
    why: str


@dataclass(frozen=True, eq=False)
class _Curves:
    """What is read of one training, at the shared steps, on the questions that report."""

    scores: Float[np.ndarray, "step row"]
    hits: Float[np.ndarray, "step question"]
    margins: Float[np.ndarray, "step question"]


def training_test(
    run: Scored, test: Scored, controls: Mapping[str, Scored], asked: Asked
) -> TrainingTest:
    """Hold a training with something withheld against the run and the controls.

    Args:
        run: The run whose jump is meant.
        test: The same training with something withheld.
        controls: Trainings with as much withheld elsewhere, by name.
        asked: Mode, checkpoints, window and draws.

    Returns:
        Places, sizes and what they say. Questions with even numbers are left out: they may have
        chosen what was withheld.

    Raises:
        FitError: Too few questions or shared checkpoints, or no change of the margin to lose.
    """
    part = confirmatory(question_count(run.rows))
    steps = _shared(run.rows, (run, test, *controls.values()), asked)
    arms = {"run": run, "test": test, **controls}
    curves = {name: _curves(one, run.rows, steps, part, asked) for name, one in arms.items()}
    weights = _weights(part, asked)
    own = curves.pop("run")
    early, late = (int(np.searchsorted(steps, one)) for one in (asked.early, asked.late))
    _refuse_level(own, weights, early, late)
    places = {n: _place(c, own, steps, weights, early, late) for n, c in curves.items()}
    base = _place(own, own, steps, weights, early, late)
    reach = near(spacing(steps, base.value), asked.width)
    made = [
        _arm(name, c, own, places[name], base, reach, steps, weights, early, late, asked)
        for name, c in curves.items()
    ]
    beyond = tuple(later_than(places["test"], places[one.name], steps) for one in made[1:])
    met, why = _verdict(made[0], made[1:], beyond)
    return TrainingTest(
        base, made[0], tuple(made[1:]), beyond, reach, int(steps[-1]),
        tuple(int(s) for s in steps), int(part.sum()), met, why,
    )  # fmt: skip


def _shared(rows: Rows, every: tuple[Scored, ...], asked: Asked) -> Int[np.ndarray, " step"]:
    """Return the checkpoints at which every training separates something: step 0 may tie all."""
    known = []
    for one in every:
        _check_questions(one.rows, rows)
        mixed = combine(one, asked.mode, asked.weight)
        defined = np.isfinite(top_hits(rows, mixed.values).value).all(axis=1)
        known.append(mixed.steps[defined])
    found = known[0]
    for steps in known[1:]:
        found = np.intersect1d(found, steps)
    if lost := [step for step in (asked.early, asked.late) if step not in found]:
        raise FitError(
            f"step {lost[0]} is not among the {found.size} checkpoints that all trainings share",
            fix="train and collect all of them with the same --schedule",
        )
    return np.asarray(found)


def _check_questions(there: Rows, rows: Rows) -> None:
    if there.question_ids != rows.question_ids or there.texts != rows.texts:
        raise FitError("the trainings were asked other questions", fix="collect all of them alike")


def _curves(
    one: Scored,
    rows: Rows,
    steps: Int[np.ndarray, " step"],
    part: Bool[np.ndarray, " question"],
    asked: Asked,
) -> _Curves:
    if int(part.sum()) < FEWEST:
        raise FitError(
            f"{int(part.sum())} questions are too few for an interval over questions",
            fix=f"give {2 * FEWEST} questions or more: half of them may have chosen",
        )
    mixed = combine(one, asked.mode, asked.weight)
    values = mixed.values[np.isin(mixed.steps, steps)]
    return _Curves(values, top_hits(rows, values).value[:, part], margins(rows, values)[:, part])


def refuse_no_jump(run: Scored, asked: Asked) -> None:
    """Refuse a run whose accuracy does not change between its two checkpoints.

    Args:
        run: The run, before anything is trained.
        asked: Mode and checkpoints.

    Raises:
        FitError: As `training_test` would.
    """
    part = confirmatory(question_count(run.rows))
    steps = _shared(run.rows, (run,), asked)
    early, late = (int(np.searchsorted(steps, one)) for one in (asked.early, asked.late))
    curves = _curves(run, run.rows, steps, part, asked)
    _refuse_level(curves, _weights(part, asked), early, late)


def _weights(part: Bool[np.ndarray, " question"], asked: Asked) -> Float[np.ndarray, "draw _"]:
    return question_weights(int(part.sum()), asked.draws, np.random.default_rng([asked.seed, 7]))


def _refuse_level(own: _Curves, weights: np.ndarray, early: int, late: int) -> None:
    change = own.hits[late] - own.hits[early]
    low, high = interval(weights @ change)
    if not np.isfinite(change).all() or low <= 0 <= high:
        raise FitError(
            f"the run's accuracy changes by {change.mean():.3g} [{low:.3g}, {high:.3g}] from early "
            "to late: there is no jump that could move",
            fix="choose checkpoints on both sides of it, with --from and --to",
        )


def _place(
    one: _Curves,
    own: _Curves,
    steps: Int[np.ndarray, " step"],
    weights: Float[np.ndarray, "draw question"],
    early: int,
    late: int,
) -> Place:
    """Place one curve against the run's own level, on the curve itself and on every draw."""
    count = own.hits.shape[1]
    all_ = np.concatenate([np.full((1, count), 1 / count), weights])
    before, after = (all_ @ own.hits[i] for i in (early, late))
    return place_of(steps, all_ @ one.hits.T, before, after)


def _arm(
    name: str, one: _Curves, own: _Curves, place: Place, base: Place, reach: float,
    steps: Int[np.ndarray, " step"], weights: Float[np.ndarray, "draw question"],
    early: int, late: int, asked: Asked,
) -> Arm:  # fmt: skip
    later = later_than(place, base, steps)
    gain = one.hits[-1] - own.hits[early]
    kept = steps <= asked.start
    apart = np.abs(one.scores[kept] - own.scores[kept])
    return Arm(
        name, place, later, _kind(place, later, reach),
        _number(gain, weights), _number(one.hits[-1] - own.hits[-1], weights),
        _lost(one, own, early, late, weights), _lost(one, own, early, -1, weights),
        float(apart.max()) if apart.size else 0.0,
    )  # fmt: skip


def _lost(one: _Curves, own: _Curves, early: int, at: int, weights: np.ndarray) -> Number:
    missing = own.margins[at] - one.margins[at]
    return ratio(missing[None], own.margins[at] - own.margins[early], weights)


def _number(values: Float[np.ndarray, " question"], weights: np.ndarray) -> Number:
    low, high = interval(weights @ values)
    mean = float(values.mean())
    return Number(mean, (min(float(low), mean), max(float(high), mean)))


def _kind(place: Place, later: Place, reach: float) -> Kind:
    low, high = later.interval
    if np.isinf(place.interval[0]):
        return "vanishes"
    if within(later.interval, reach):
        return "stays"
    if low > 0:
        return "later"
    return "earlier" if high < 0 else "not resolved"


def _verdict(test: Arm, controls: list[Arm], beyond: tuple[Place, ...]) -> tuple[bool | None, str]:
    """Say whether the jump moves or vanishes, and with nothing else withheld as well."""
    if test.kind in ("stays", "earlier"):
        return False, f"the jump {test.kind if test.kind == 'stays' else 'comes earlier'}"
    if test.kind == "not resolved":
        return None, "where the jump is with the test is not resolved"
    if not controls:
        return None, "no control was trained"
    for control, more in zip(controls, beyond, strict=True):
        if not more.interval[0] > 0:
            if control.kind in ("later", "vanishes"):
                return False, f"{control.name} does the same"
            return None, f"it is not told from {control.name}"
    return True, "it vanishes" if test.kind == "vanishes" else "it comes later"
