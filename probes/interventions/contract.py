"""What a plan of interventions promises: cells to measure, and which of them speaks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Protocol, runtime_checkable

from critical_phase.probes.interventions.edits import Edit
from critical_phase.probes.interventions.update import State

if TYPE_CHECKING:
    from critical_phase.probes.interventions.lab import Lab

Value = str | int | float


@dataclass(frozen=True, eq=False)
class Cell:
    """One intervention: a model in which something is changed, whose rows are scored."""

    name: str
    """Unique within the plan and telling, such as `denoise/prefix/2`: scores are kept under it."""
    about: str
    """What was put where, in words."""
    state: State
    """What the adapted modules hold."""
    edit: Edit | None = None
    """What is done to activations on the way."""
    axes: Mapping[str, Value] = field(default_factory=dict)
    """Where it stands in a table: `set`, `direction`, `layer`, `module`, `head`, `dose`, ..."""


@dataclass(frozen=True, slots=True)
class Headline:
    """One answer of a plan, by names of its cells; it becomes one file."""

    plan: str
    """Name of the file, and where `for_verdicts`, the plan that a verdict reads."""
    about: str
    """What was put where: a noun phrase that `brings` or `takes away` can follow."""
    cell: str
    control: str
    """What the control cells did, in words."""
    controls: tuple[str, ...]
    """Cells of the control; more than one are draws, whose margins are averaged."""
    lost: bool = False
    """Whether the share is what goes (necessity) and not what comes (sufficiency)."""
    for_verdicts: bool = False
    opposite: str = ""
    """Cell of the other direction."""
    elsewhere: tuple[str, ...] = ()
    """Cells that do the same in other layers."""
    doses: tuple[str, ...] = ()
    """Cells with an axis `dose`."""
    layers: tuple[int, ...] = ()
    """Blocks that the cell changes; empty for all of them."""
    peers: tuple[str, ...] = ()
    """Cells that do the same at as many places, drawn at random."""
    modules: tuple[str, ...] = ()
    """Modules that hold what is changed, by short name; empty where it is no adapter."""
    adapters: bool = False
    """Whether what is changed there are the adapters, which training can hold still: a state after
    a block is made by all blocks before it."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A late and an early cell that differ as the late and the early model do, both changed alike.

    Its share is the sum of (late - early) over that of the unchanged models: what is left of the
    margin's change, or what can be seen of it.
    """

    name: str
    about: str
    """What is left or seen, in words; a share in brackets can follow."""
    late: str
    early: str
    shown: bool = False
    """Whether the command prints it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a plan answers; everything measured on the way is kept beside it."""

    headlines: tuple[Headline, ...]
    notes: tuple[str, ...] = ()
    """What a reader must know: what was skipped, approximated or did not converge."""
    paths: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Lines of cells by name, in order of `dose`, whose barrier and crossings are read."""
    pairs: tuple[Pair, ...] = ()


@runtime_checkable
class InterventionPlan(Protocol):
    """One kind of intervention. A new one is one file and one line in `PLANS`."""

    name: ClassVar[str]
    about: ClassVar[str]
    """One line of help."""
    options: ClassVar[Mapping[str, str]]
    """What `--with NAME=VALUE` may set, with its default as text."""

    def run(self, lab: "Lab") -> Outcome:
        """Measure cells through `lab.measure` and say which of them answers.

        Places are chosen by `lab.share`, which knows the exploratory questions alone.
        """
        ...
