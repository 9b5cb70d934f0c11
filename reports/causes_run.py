"""Interventions of a run in Python: a list of answers, and every cell as a table."""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from critical_phase.reports.causes import causes_sentence
from critical_phase.reports.causes_file import with_causes
from critical_phase.reports.causes_shapes import Answer, Causes, Cell
from critical_phase.reports.load import Results, load_results

if TYPE_CHECKING:
    import pandas as pd


class Interventions(Sequence[Answer]):
    """The answers of all interventions of a run, in the order of their files."""

    def __init__(self, found: Causes | None) -> None:
        """Keep what was read; use `Run.open(path).interventions`."""
        self._found = found or Causes(())

    @overload
    def __getitem__(self, at: int) -> Answer: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Answer]: ...

    def __getitem__(self, at: int | slice) -> Answer | Sequence[Answer]:
        """Return one answer, or several."""
        return self._found.answers[at]

    def __len__(self) -> int:
        """Count the answers."""
        return len(self._found.answers)

    def __iter__(self) -> Iterator[Answer]:
        """Go through the answers."""
        return iter(self._found.answers)

    @property
    def sentence(self) -> str:
        """Say what was found; nothing where no intervention was made."""
        return causes_sentence(self._found)

    def cells(self) -> "pd.DataFrame":
        """Return one line per cell of every plan.

        `share` is what of the margin's change is there (0 the early model, 1 the late one) with
        its 95 % interval, `share_exploratory` the same on the questions that choose; axes such as
        `layer`, `module` or `dose` have columns of their own, empty where a cell has none.
        """
        import pandas as pd

        return pd.DataFrame([_row(answer, cell) for answer in self for cell in answer.cells])

    def __repr__(self) -> str:
        """Say the answer."""
        return f"{len(self)} answers of interventions. {self.sentence}".strip()

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>"


def load_with_causes(run: Path) -> Results:
    """Read the results of a run and what interventions found in it.

    Raises:
        StoreError: No run or no analysis there, or a file that cannot be understood.
    """
    return with_causes(load_results(run), run)


def _row(answer: Answer, cell: Cell) -> dict[str, Any]:
    share = cell.share
    row = {
        "plan": answer.intervention,
        "from": answer.setting.early,
        "to": answer.setting.late,
        "cell": cell.name,
        "share": share.value if share else None,
        "low": share.low if share else None,
        "high": share.high if share else None,
        "share_exploratory": cell.exploratory,
        "accuracy": cell.accuracy.value if cell.accuracy else None,
    }
    return row | {key: value for key, value in cell.axes.items() if key not in row}
