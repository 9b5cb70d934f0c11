"""What a plan works with: two states, the places between them, and a bench that keeps scores."""

from collections.abc import Callable, Iterable, Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions.bench import Bench
from critical_phase.probes.interventions.cells_file import CellsFile
from critical_phase.probes.interventions.contract import Cell
from critical_phase.probes.interventions.sources import Sources
from critical_phase.probes.interventions.update import (
    Place,
    State,
    Term,
    Terms,
    added,
    cut,
    scaled,
    times,
    whole,
)

Judge = Callable[[Float[np.ndarray, " row"]], float]
"""Turns the scores of the acting head into the share of the margin's change, on the exploratory
questions; NaN where it is not defined."""


class Lab:
    """One plan's workplace."""

    def __init__(
        self,
        bench: Bench,
        places: tuple[Place, ...],
        ends: tuple[str, str],
        cells: CellsFile,
        judge: Judge,
        *,
        options: Mapping[str, str],
        exploratory: Float[np.ndarray, " question"] | np.ndarray,
        donors: tuple[str, ...] = (),
        seed: int = 0,
        measured: Callable[[str], None] = lambda name: None,
    ) -> None:
        """Note the two ends; nothing is measured yet.

        Args:
            bench: The model and the rows.
            places: Adapted modules.
            ends: Sources of the early and the late state.
            cells: Keeps the scores.
            judge: Share of the margin's change on the exploratory questions.
            options: Of the plan.
            exploratory: Marks the questions that choose [question].
            donors: Sources of further steps of the acting head, in step order.
            seed: Of every random draw.
            measured: Called after every cell; raises to stop in good order.
        """
        self.bench, self.places, self.options = bench, places, options
        self.sources: Sources = bench.mixture.sources
        self.ends, self.donors, self.seed = ends, donors, seed
        self.pre, self.post = (self.state(source) for source in ends)
        self.exploratory = np.asarray(exploratory, dtype=np.bool_)
        self.cells: dict[str, Cell] = {}
        """Every cell that was asked for, in order."""
        self.passes = 0
        """Cells whose rows went through the model in this call."""
        self._same: dict[frozenset[tuple[str, Terms]] | str, str] = {}
        self._kept, self._judge, self._measured = cells, judge, measured

    def state(self, source: str) -> State:
        """Return the state in which all modules hold one source."""
        return whole(source, self.sources.modules(source))

    @property
    def layers(self) -> tuple[int, ...]:
        """Blocks that hold an adapted module, ascending."""
        return tuple(sorted({place.layer for place in self.places}))

    def measure(self, *cells: Cell) -> None:
        """Score cells that were not scored before.

        Raises:
            ConfigError: Two different cells have one name.
        """
        for cell in cells:
            if self.cells.setdefault(cell.name, cell) is not cell:
                if self.cells[cell.name].about != cell.about:
                    raise ConfigError(f"two cells of this plan are called {cell.name!r}")
                continue
            if cell.name not in self._kept:
                self._kept.put(cell.name, self._score(cell))
            self._same.setdefault(_identity(cell), cell.name)
            self._measured(cell.name)

    def _score(self, cell: Cell) -> Float[np.ndarray, " row"]:
        """Score a cell; one that is the very model of another by a different name is not run."""
        twin = self._same.get(_identity(cell))
        if cell.edit is None and twin is not None:
            return self._kept[twin]
        self.passes += 1
        return self.bench.score(cell.state, cell.edit)

    def scores(self, name: str) -> Float[np.ndarray, " row"]:
        """Return the scores of a measured cell."""
        return self._kept[name]

    def share(self, cell: Cell) -> float:
        """Measure a cell and return its effect on the questions that choose.

        Returns:
            (m_cell - m_pre) / (m_post - m_pre) as a ratio of sums: 0 is the early model, 1 the
            late one.
        """
        self.measure(cell)
        return self._judge(self._kept[cell.name])

    def random_beside(self, recipient: State, places: Iterable[Place], draw: int) -> State:
        """Add random updates to a state, each of the norm that pre and post differ by there.

        Args:
            recipient: Early or late state.
            places: Modules, or the parts of them that a head owns.
            draw: Number of the draw, beside the lab's own seed.
        """
        name = f"random:{draw}"
        self.sources.add_random(name, self.ends, self.seed * 1_000_003 + draw)
        apart = added(self.post, scaled(self.pre, -1.0))
        extra: dict[str, Terms] = {}
        one: Terms = (Term(name),)
        for place in places:
            terms, made = apart.get(place.module, ()), one
            if place.part is not None:
                terms, made = cut(terms, place.part), cut(made, place.part)
            wanted = self.sources.norm(terms, place.module)
            size = wanted / self.sources.norm(made, place.module)
            extra[place.module] = (*extra.get(place.module, ()), *times(made, size))
        return added(recipient, extra)

    def option(self, name: str) -> str:
        """Return an option of the plan, as text."""
        return self.options[name]

    def numbers(self, name: str) -> tuple[float, ...]:
        """Return an option that lists numbers.

        Raises:
            ConfigError: One is no finite number.
        """
        try:
            found = tuple(float(part) for part in self.options[name].split(",") if part.strip())
        except ValueError:
            found = (float("nan"),)
        if not found or not all(np.isfinite(found)):
            raise ConfigError(
                f"option {name} is {self.options[name]!r}, not a list of numbers",
                fix=f"such as --with {name}=0.5,1,2",
            )
        return found

    def counts(self, name: str) -> tuple[int, ...]:
        """Return an option that lists whole numbers from 1 on.

        Raises:
            ConfigError: One is none.
        """
        found = self.numbers(name)
        if not all(one >= 1 and one == int(one) for one in found):
            raise ConfigError(
                f"option {name} is {self.options[name]!r}, not made of whole numbers from 1 on",
                fix=f"such as --with {name}=5",
            )
        return tuple(int(one) for one in found)

    def check(self, *counts: str, lines: tuple[str, ...] = ()) -> None:
        """Refuse options that are used late before anything is measured.

        Args:
            counts: Options that list whole numbers from 1 on, beside `draws`.
            lines: Options that list doses.

        Raises:
            ConfigError: One cannot be used.
        """
        for name in ("draws", *counts):
            self.counts(name)
        for name in lines:
            self.doses(name)

    @property
    def draws(self) -> int:
        """How many random draws a control has; two or more say what one more may do.

        Raises:
            ConfigError: It is no whole number from 1 on.
        """
        found = self.counts("draws")
        if len(found) != 1:
            raise ConfigError("option draws takes one number", fix="such as --with draws=5")
        return found[0]

    def doses(self, name: str = "doses") -> tuple[float, ...]:
        """Return an option that lists doses of one line.

        Raises:
            ConfigError: There are fewer than two different ones.
        """
        found = tuple(dict.fromkeys(self.numbers(name)))
        if len(found) < 2:
            raise ConfigError(
                f"option {name} is {self.options[name]!r}: a line needs two doses or more",
                fix=f"such as --with {name}=0,0.5,1",
            )
        return found

    def one(self, name: str, known: tuple[str, ...]) -> str:
        """Return an option that is one of some names.

        Raises:
            ConfigError: It names none, several, or one that is not known.
        """
        found = self.chosen(name, known)
        if len(found) != 1:
            raise ConfigError(
                f"option {name} takes one name, not {len(found)}",
                fix=f"choose from {', '.join(known)}",
            )
        return found[0]

    def chosen(self, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Return an option that lists names.

        Raises:
            ConfigError: One is not known.
        """
        found = tuple(part.strip() for part in self.options[name].split(",") if part.strip())
        for part in found:
            if part not in known:
                raise ConfigError(
                    f"option {name} names {part!r}", fix=f"choose from {', '.join(known)}"
                )
        return found


def _identity(cell: Cell) -> frozenset[tuple[str, Terms]] | str:
    """Return what makes two cells the same model: their terms, or with an edit, their name."""
    if cell.edit is not None:
        return cell.name
    return frozenset((module, terms) for module, terms in cell.state.items() if terms)
