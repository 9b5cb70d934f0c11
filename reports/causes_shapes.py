"""What interventions of a run found, as frozen values: answers, their points and their cells."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from critical_phase.reports.style import NONE, two

Json = dict[str, Any]

SHORT = {True: "met", False: "no", None: "open"}
"""State of a point in a narrow column."""
MET = {True: ("✓", "met"), False: ("✕", "not met"), None: ("·", "open")}
"""State of a point -> its sign and its words, so that colour never stands alone."""


@dataclass(frozen=True, slots=True)
class Share:
    """A share of the margin's change, 0 the early model and 1 the late one, with 95 % interval."""

    value: float
    low: float | None = None
    high: float | None = None

    @property
    def rest(self) -> "Share":
        """What is missing to 1: the share that was taken away."""
        ends = (None if end is None else 1 - end for end in (self.high, self.low))
        return Share(1 - self.value, *ends)

    @property
    def interval(self) -> str:
        """The interval as text."""
        return "" if self.low is None else f"[{plain(self.low)}, {plain(self.high)}]"

    @property
    def text(self) -> str:
        """Share and interval as text."""
        return f"{plain(self.value)} {self.interval}".strip()

    @property
    def above(self) -> bool:
        """Whether the whole interval lies above nothing."""
        return self.low is not None and self.low > 0


@dataclass(frozen=True, slots=True)
class Point:
    """One of the seven points that the word "cause" asks for."""

    number: int
    asks: str
    met: bool | None
    """None where nobody looked, or where what was found does not settle it."""
    found: str

    @property
    def sign(self) -> str:
        """Its state as a sign."""
        return MET[self.met][0]

    @property
    def state(self) -> str:
        """Its state in words."""
        return MET[self.met][1]

    @property
    def short(self) -> str:
        """Its state in one short word."""
        return SHORT[self.met]


@dataclass(frozen=True, slots=True)
class Cell:
    """One change that was scored: what of the margin's change is there with it."""

    name: str
    about: str
    axes: Mapping[str, str | int | float]
    share: Share | None
    """None where it could not be computed."""
    exploratory: float | None
    """The share on the questions that choose."""
    accuracy: Share | None

    @property
    def away(self) -> bool:
        """Whether the late model was changed, so that the rest is what was taken away."""
        return self.axes.get("direction") == "noise"

    @property
    def does(self) -> Share | None:
        """What the change does: the share that it brings, or that it takes away."""
        return self.share.rest if self.share and self.away else self.share


@dataclass(frozen=True, slots=True)
class Setting:
    """What was held against what."""

    early: str
    late: str
    head: str
    mode: str
    weight: float | None
    normalisation: str
    other_term: str

    @property
    def text(self) -> str:
        """Ends, head, mode, w and normalisation in one line."""
        weight = NONE if self.weight is None else f"{self.weight:g}"
        return (
            f"{self.early} against {self.late}, changed head {self.head}, mode {self.mode}, "
            f"w {weight}, normalisation {self.normalisation}, other term {self.other_term}"
        )


@dataclass(frozen=True, slots=True)
class Answer:
    """One file of `interventions/`: an answer with its control and the seven points."""

    file: str
    plan: str
    intervention: str
    about: str
    lost: bool
    """Whether `share` is what is taken away, not what is brought."""
    share: Share
    control: str
    control_share: Share | None
    opposite: Share | None
    """What the other direction does, brought or taken away."""
    doses: tuple[tuple[float, Share], ...]
    monotone: bool | None
    points: tuple[Point, ...]
    causes: bool
    sentence: str
    notes: tuple[str, ...]
    setting: Setting
    cells: tuple[Cell, ...]
    raw: Json
    """The file, for what is only listed."""

    @property
    def verb(self) -> str:
        """What the change does to the margin's change."""
        return "takes away" if self.lost else "brings"

    @property
    def other_verb(self) -> str:
        """What the other direction does."""
        return "brings" if self.lost else "takes away"

    @property
    def met(self) -> int:
        """How many of the points are met."""
        return sum(point.met is True for point in self.points)

    @property
    def name(self) -> str:
        """Its file without the ending."""
        return self.file.removesuffix(".json")


@dataclass(frozen=True, slots=True)
class Alike:
    """A late and an early model changed alike, and what is left, or seen, of the change."""

    name: str
    about: str
    share: Share
    line: str
    """Which line of a figure it belongs to; empty where it has no layer."""
    layer: int | None


@dataclass(frozen=True, slots=True)
class Pairs:
    """All of one file."""

    file: str
    intervention: str
    setting: Setting
    pairs: tuple[Alike, ...]
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """Its file without the ending."""
        return self.file.removesuffix(".json")


@dataclass(frozen=True, slots=True)
class Causes:
    """All that interventions of a run found."""

    answers: tuple[Answer, ...]
    trainings: tuple[Json, ...] = ()
    """Training-time tests, one file each."""
    generations: tuple[Json, ...] = ()
    """Summaries of free answers, one file per step."""
    pairs: tuple[Pairs, ...] = ()
    """Models that were changed alike, one entry per file that has any."""

    @property
    def settings(self) -> tuple[Setting, ...]:
        """Every setting once, in the order of the files."""
        own = [answer.setting for answer in self.answers]
        return tuple(dict.fromkeys([*own, *(one.setting for one in self.pairs)]))

    @property
    def best(self) -> Answer | None:
        """The answer that meets most points; of equals, the one with the higher lower end."""
        return max(self.answers, key=_rank, default=None)


def plain(value: float | None) -> str:
    """Write a share with two decimals; what rounds to nothing has no sign."""
    return two(value if value is None else round(value, 2) + 0.0)


def _rank(answer: Answer) -> tuple[bool, int, float]:
    low = answer.share.low
    return answer.causes, answer.met, answer.share.value if low is None else low
