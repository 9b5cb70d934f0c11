"""Scores in other contexts and side effects of a run, as its files have them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from critical_phase.analysis import Rows
from critical_phase.cli.run_folder import BASE, HEADS, RunFolder
from critical_phase.errors import StoreError
from critical_phase.probes import read_attrs, read_effects, read_plan, read_scores

CONTEXTS = "contexts"
OWN_TEXT = ("again", "scaled-")
"""Contexts that hold the run's own texts, in other batches or under scaled adapters."""
SECOND = "second"
"""The one context that holds another task."""
COLLECT = "probe collect RUN --contexts {}"
EFFECTS = "effects"


def stored_steps(folder: Path) -> tuple[int, ...]:
    """List the steps that have a file in a folder; none where it is missing."""
    found = folder.glob("step-????????.h5")
    return tuple(sorted(int(path.stem.removeprefix("step-")) for path in found))


def read_stacked(paths: Sequence[Path]) -> Float[np.ndarray, "step row"]:
    """Read the scores of some checkpoints; the table is not to be written to."""
    found = np.stack([read_scores(path).logprob_sum for path in paths])
    found.flags.writeable = False
    return found


def check_adapters(
    files: Mapping[int, Path], saved: Mapping[int, str], fix: Callable[[int], str]
) -> None:
    """Refuse files of adapters that are no longer the saved ones.

    Args:
        files: Stored files by step.
        saved: Hash of the saved adapter by step.
        fix: What to do, by step.

    Raises:
        StoreError: A file was made from another adapter.
    """
    for step, path in files.items():
        if step in saved and read_attrs(path)["adapter_sha256"] != saved[step]:
            problem = "this file was collected from another adapter than the one saved now"
            raise StoreError(problem, where=str(path), fix=fix(step))


def check_same(paths: Sequence[Path], attribute: str, about: str, fix: str) -> None:
    """Refuse files that were made from different texts; those made from none do not count.

    Raises:
        StoreError: Two files differ in this attribute.
    """
    found = {str(read_attrs(path).get(attribute, "")): path for path in paths}
    found.pop("", None)
    if len(found) > 1:
        one, other, *_ = found.values()
        problem = f"this file was made from another {about} than {other.parent.name}/{other.name}"
        raise StoreError(problem, where=str(one), fix=fix)


def rows_of(plan: Path) -> Rows:
    """Read the rows of a plan."""
    table = read_plan(plan)
    return Rows(
        question=table.question,
        correct=table.correct,
        characters=table.characters,
        tokens=table.tokens,
        question_ids=table.question_ids,
        groups=table.groups,
        texts=table.texts,
        bytes=table.bytes,
    )


class StoredContexts:
    """The contexts of a run: each is a folder with a plan and scores of its own."""

    def __init__(self, run: RunFolder, rows: Rows) -> None:
        """Look at what is stored and leave out what cannot be compared, with a note."""
        self.notes: tuple[str, ...] = ()
        self._run = run
        self._folders: dict[str, RunFolder] = {}
        self._rows: dict[str, Rows] = {}
        self._read: dict[tuple[str, str], np.ndarray] = {}
        folder = run.path / CONTEXTS
        for path in sorted(folder.iterdir()) if folder.is_dir() else ():
            if path.is_dir():
                self._add(RunFolder(path), rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Contexts that can be used."""
        return tuple(self._folders)

    def rows(self, context: str) -> Rows:
        """Rows of one context."""
        return self._rows[context]

    def steps(self, context: str, head: str) -> tuple[int, ...]:
        """Steps of a head that were scored in a context."""
        return stored_steps(self._folders[context].path / "scores" / head)

    def files(self, context: str, head: str) -> dict[int, Path]:
        """Score files of a head in a context by step."""
        here = self._folders[context]
        return {step: here.scores(head, step) for step in self.steps(context, head)}

    def scores(self, context: str, head: str) -> Float[np.ndarray, "step row"]:
        """Scores of a head in a context; read once, because several measures ask for them."""
        key = (context, head)
        if key not in self._read:
            paths = list(self.files(context, head).values())
            empty = np.zeros((0, self._rows[context].question.size))
            self._read[key] = read_stacked(paths) if paths else empty
        return self._read[key]

    def base_scores(self, context: str) -> Float[np.ndarray, " row"]:
        """Scores of the base in a context."""
        found: np.ndarray = self.scores(context, BASE)[0]
        return found

    def _add(self, context: RunFolder, own: Rows) -> None:
        """Take one folder in, or say why not."""
        name = context.path.name
        other = name == SECOND
        repeat = "probe effects RUN --second FILE" if other else COLLECT.format(name)
        if not context.plan.is_file() or not context.scores(BASE, 0).is_file():
            self._leave(name, f"it has no scores of the base model; {repeat} completes it")
            return
        rows = rows_of(context.plan)
        shared = set(rows.question_ids) & set(own.question_ids)
        if rows.question_ids != own.question_ids and shared:
            self._leave(
                name,
                f"it holds {len(rows.question_ids)} questions, {len(shared)} of the"
                f" {len(own.question_ids)} of this run; {repeat} --overwrite reads all",
            )
            return
        if shared and not (np.array_equal(rows.correct, own.correct) and rows.texts == own.texts):
            raise StoreError(
                f"context {name} has other candidates than the run",
                where=str(context.plan),
                fix=f"{repeat} --overwrite",
            )
        files = [context.scores(h, s) for h in (BASE, *HEADS)
                 for s in stored_steps(context.path / "scores" / h)]  # fmt: skip
        check_same(files, "plan_sha256", "plan", f"{repeat} --overwrite")
        if name.startswith(OWN_TEXT) and not self._same_plan(context):
            self._leave(name, f"its rows are not those of the run; {repeat} --overwrite")
            return
        self._folders[name], self._rows[name] = context, rows
        failed = sorted(path.stem for path in (context.path / "failed").glob("*.json"))
        if failed:
            self.notes += (f"context {name}: failed and left out: {', '.join(failed)}",)

    def _same_plan(self, context: RunFolder) -> bool:
        """Say whether a context holds the very tokens of the run."""
        found = [read_attrs(run.scores(BASE, 0))["plan_sha256"] for run in (self._run, context)]
        return bool(found[0] == found[1])

    def _leave(self, name: str, why: str) -> None:
        self.notes += (f"context {name} is left out: {why}",)


class StoredEffects:
    """The side effects of a run."""

    def __init__(self, run: RunFolder) -> None:
        """Look at which steps of which head have a file."""
        self._folder = run.path / EFFECTS
        self._steps = {head: stored_steps(self._folder / head) for head in (BASE, *HEADS)}
        self._read: dict[str, dict[str, np.ndarray]] = {}

    def files(self, head: str) -> dict[int, Path]:
        """Files of a head by step."""
        return {s: self._folder / head / f"step-{s:08d}.h5" for s in self.steps(head)}

    def steps(self, head: str) -> tuple[int, ...]:
        """Steps of a head that have a file."""
        return self._steps.get(head, ())

    def read(self, head: str) -> dict[str, Float[np.ndarray, "step ..."]]:
        """Read every dataset of a head, once; NaN at steps that do not have it.

        Raises:
            StoreError: Steps were measured on different texts, questions or examples.
        """
        if head not in self._read:
            paths = self.files(head)
            beside = [*self.files(BASE).values(), *paths.values()]
            again = "probe effects RUN --overwrite, at all steps, with one text file"
            check_same(beside, "texts_sha256", "set of neutral texts", again)
            check_same(beside, "plan_sha256", "set of questions", again)
            check_same(list(paths.values()), "examples_sha256", "draw of examples", again)
            tables = [read_effects(path) for path in paths.values()]
            names = sorted({name for table in tables for name in table})
            self._read[head] = {n: _aligned(n, tables, tuple(paths.values())) for n in names}
        return self._read[head]


def _aligned(
    name: str, tables: list[dict[str, np.ndarray]], paths: tuple[Path, ...]
) -> Float[np.ndarray, "step ..."]:
    """Stack one dataset over steps."""
    shapes = {table[name].shape for table in tables if name in table}
    if len(shapes) > 1:
        sizes = ", ".join(str(shape) for shape in sorted(shapes))
        raise StoreError(
            f"{name} has different sizes at different steps: {sizes}",
            where=str(paths[0].parent),
            fix="probe effects RUN --overwrite, with one text file for all steps",
        )
    empty = np.full(shapes.pop(), np.nan)
    return np.stack([np.asarray(table.get(name, empty), dtype=np.float64) for table in tables])
