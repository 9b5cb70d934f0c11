"""One answer of an intervention: its effect, its controls, its doses, and what it may be called."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from critical_phase.analysis.interventions.intervention_doses import (
    FEWEST_DOSES,
    DoseResponse,
    dose_response,
)
from critical_phase.analysis.interventions.intervention_effect import Effect, effect
from critical_phase.analysis.interventions.intervention_frame import Frame
from critical_phase.analysis.interventions.intervention_minimum import (
    Evidence,
    Point,
    may_say_cause,
    minimum,
    sentence,
)

Scores = Mapping[str, Float[np.ndarray, " row"]]
"""Log-likelihoods of the acting head by cell."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Which cells make up one answer, by name."""

    about: str
    cell: str
    control: str
    """What the control cells did, in words."""
    controls: tuple[str, ...]
    """Draws of the control, whose margins are averaged."""
    lost: bool = False
    """Whether the share is what goes: the cell is the late model with something taken out."""
    opposite: str = ""
    elsewhere: tuple[str, ...] = ()
    doses: tuple[tuple[float, str], ...] = ()
    """Pairs of dose and cell."""
    peers: tuple[str, ...] = ()
    """The same at as many places, drawn at random."""
    sized: bool = False
    """Whether the answer is of a set of places, which must be held beside others of its size."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What was measured outside of the questions; None where it was not."""

    drift: float | None = None
    """KL to the early model on neutral text, nats per token."""
    drift_late: float | None = None
    second: tuple[float, float] | None = None
    """Interval of the change of accuracy on another task."""
    second_why: str = ""
    """Why there is none, where the task was tried."""
    leads: tuple[float, float] | None = None
    """Interval of the steps from the jump to the component's change."""
    leads_of: str = ""
    seeds: int = 1
    datasets: int = 1
    training: bool | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """What one answer says, on questions that chose nothing."""

    about: str
    effect: Effect
    exploratory: Effect
    """The same on the questions that chose: higher by the luck of the choice."""
    control: str
    control_effect: Effect
    opposite: Effect | None
    elsewhere: tuple[tuple[str, Effect], ...]
    doses: DoseResponse | None
    lost: bool
    points: tuple[Point, ...]
    peers: Effect | None
    """The same at as many places, drawn at random; None without any."""
    causes: bool
    """Whether all seven points are met."""
    sentence: str


def claim(frame: Frame, scores: Scores, asked: Asked, beside: Beside) -> Claim:
    """Read one answer.

    Args:
        frame: Early and late model, and how scores are made.
        scores: Of every cell that `asked` names.
        asked: Which cells make it up.
        beside: What was measured outside of the questions.
    """
    part = frame.confirmatory

    def read(names: tuple[str, ...], on: Bool[np.ndarray, " question"] = part) -> Effect:
        return effect(frame, np.stack([scores[name] for name in names]), on)

    own, control = read((asked.cell,)), read(asked.controls)
    opposite = read((asked.opposite,)) if asked.opposite else None
    elsewhere = tuple((name, read((name,))) for name in asked.elsewhere)
    peers = read(asked.peers) if asked.peers else None
    doses = _doses(frame, scores, asked)
    several = doses is not None and len(doses.doses) >= FEWEST_DOSES
    points = minimum(
        Evidence(
            own,
            asked.lost,
            opposite,
            control,
            tuple(one for _, one in elsewhere),
            beside.drift,
            beside.drift_late,
            beside.second,
            doses.monotone if doses is not None and several else None,
            True,
            beside.seeds,
            beside.datasets,
            beside.leads,
            beside.leads_of,
            beside.training,
            peers=peers,
            sized=asked.sized,
            second_why=beside.second_why,
        )
    )
    return Claim(
        asked.about,
        own,
        read((asked.cell,), ~part),
        asked.control,
        control,
        opposite,
        elsewhere,
        doses,
        asked.lost,
        points,
        peers,
        may_say_cause(points),
        sentence(asked.about, points, own, lost=asked.lost),
    )


def _doses(frame: Frame, scores: Scores, asked: Asked) -> DoseResponse | None:
    if not asked.doses:
        return None
    doses = np.array([dose for dose, _ in asked.doses])
    lines = np.stack([scores[name] for _, name in asked.doses])
    return dose_response(frame, doses, lines, frame.confirmatory, lost=asked.lost)
