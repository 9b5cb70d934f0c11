"""Compare the files of a collection with the naive reference, quantity by quantity.

Shared by the tests and by `docs/scripts/exactness_table.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from naive_reference import Row, fresh_model, sparsity, summaries, thresholds
from tiny_families import build_model
from tiny_plan import build_plan, build_questions

from critical_phase.checkpoints import Checkpoint
from critical_phase.probes import (
    CollectSettings,
    Plan,
    Unit,
    collect,
    make_units,
    read_activations,
    read_attrs,
    read_scores,
    unit_path,
)

PATTERN_ROWS = (0, 8)
ALONE = "scores-alone"
BEFORE = 1 + len("Question: ")
"""Tokens before the words of a question: one that begins the text, and one per character."""
# float32 sums in another order (merged, packed, padded) against unmerged single rows.
TOLERANCE = 1e-5
"""Largest difference allowed, as a share of the largest value (of 1 where that is smaller)."""
TIES = 1e-5
"""A value this close to the threshold of l0, as a share of it, may count on either side."""


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one quantity is from the reference."""

    largest: float
    """Largest absolute difference, in the unit of the quantity."""
    scale: float
    """Largest absolute value of the reference, at least 1."""

    @classmethod
    def between(cls, ours: Any, theirs: Any) -> "Difference":
        """Compare two arrays of one shape; what is not finite is infinitely far."""
        ours, theirs = np.asarray(ours, dtype=float), np.asarray(theirs, dtype=float)
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        gap = np.abs(ours - theirs).max()
        scale = max(1.0, float(np.abs(theirs).max()))
        return cls(float(gap) if np.isfinite(gap) else float("inf"), scale)

    @property
    def share(self) -> float:
        """The difference as a share of the scale: what tolerances are compared with."""
        return self.largest / self.scale


@dataclass(frozen=True, eq=False)
class Case:
    """A finished collection of the base and adapters, put into one slot in turn."""

    run: Path
    plan: Plan
    family: str
    units: tuple[Unit, ...]
    layout: str
    """What was used in the end: `packed` or `naive`."""
    attention_way: str

    def fresh(self, unit: int) -> Any:
        """Load the model of a unit anew, in another way."""
        checkpoint = self.units[unit].checkpoint
        return fresh_model(self.family, None if checkpoint is None else checkpoint.path)

    def attributes(self, unit: int) -> dict[str, Any]:
        """Read what the activation file of a unit says about itself."""
        return read_attrs(unit_path(self.run, "activations", self.units[unit]))

    def read(self, unit: int, name: str) -> np.ndarray:
        """Read one dataset of the base (0) or of an adapter."""
        return read_activations(unit_path(self.run, "activations", self.units[unit]), name)


def collect_case(
    run: Path,
    family: str,
    checkpoints: Sequence[Checkpoint],
    layout: str = "auto",
    *,
    alone: bool = False,
) -> Case:
    """Collect the base and adapters with everything on.

    The slot is made with the last adapter, so every earlier one arrives by being swapped in.

    Args:
        run: Folder of the run.
        family: A name of `CONFIGS`.
        checkpoints: The adapters.
        layout: As in `CollectSettings`.
        alone: Collect scores alone too, beside it: they go through the model in other ways.
    """
    units, plan = make_units({"negative": tuple(checkpoints)}), build_plan()
    settings = CollectSettings(pattern_rows=PATTERN_ROWS, layout=layout)  # type: ignore[arg-type]
    report = collect(run, build_model(family), plan, units, settings=settings, fail_fast=True)
    if alone:
        lean = CollectSettings((), layout=layout)  # type: ignore[arg-type]
        collect(run / ALONE, build_model(family), plan, units, settings=lean, fail_fast=True)
    return Case(run, plan, family, units, report.layout, report.attention_way)


def differences(
    case: Case, unit: int, rows: Sequence[Row], base: Sequence[Row]
) -> dict[str, Difference]:
    """Compare one unit with its reference.

    Args:
        case: What was collected.
        unit: The base (0) or an adapter.
        rows: Its reference, row by row.
        base: Reference of the base, which fixes the thresholds of sparsity.
    """
    found = _activations(case, unit, rows)
    found |= _sparsity(case, unit, rows, base)
    sums = [row.logprobs.sum() for row in rows]
    first = [row.logprobs[0] for row in rows]
    for run, name in ((case.run, ""), (case.run / ALONE, " (alone)")):
        if not run.is_dir():
            continue
        stored = read_scores(unit_path(run, "scores", case.units[unit]))
        found["logprob_sum" + name] = Difference.between(stored.logprob_sum, sums)
        found["first_token_logprob" + name] = Difference.between(stored.first_token_logprob, first)
    return found


def assert_within_tolerance(found: dict[str, Difference]) -> None:
    """Name every quantity that is further from the reference than sums in another order are."""
    apart = {name: one for name, one in found.items() if not one.share <= TOLERANCE}
    assert not apart, apart


def _activations(case: Case, unit: int, rows: Sequence[Row]) -> dict[str, Difference]:
    plan, keys = case.plan, case.read(unit, "attention_row").shape[-1]
    ends = np.stack([plan.question_end, plan.answer_end], axis=1)
    states = [row.states[:, own] for row, own in zip(rows, ends, strict=True)]
    attention = [_padded(row.attention[:, :, -1], keys) for row in rows]
    patterns = [_padded(rows[row].attention, keys, keys) for row in PATTERN_ROWS]
    found = {
        "residual": Difference.between(case.read(unit, "residual"), np.stack(states, 1)),
        "attention_row": Difference.between(
            case.read(unit, "attention_row"), np.stack(attention, 1)
        ),
        "pattern": Difference.between(case.read(unit, "pattern"), np.stack(patterns, 1)),
    }
    expected = _summaries(case, rows)
    with h5py.File(unit_path(case.run, "activations", case.units[unit])) as file:
        assert set(file["attention_summary"]) == set(expected)
    for name, values in expected.items():
        name = f"attention_summary/{name}"
        found[name] = Difference.between(case.read(unit, name), values)
    return found


def _padded(values: np.ndarray, *sizes: int) -> np.ndarray:
    """Fill the last axes up with zeros: what is stored beyond a row's keys must be zero."""
    lead = values.ndim - len(sizes)
    short = zip(sizes, values.shape[lead:], strict=True)
    return np.pad(values, [(0, 0)] * lead + [(0, size - own) for size, own in short])


def _summaries(case: Case, rows: Sequence[Row]) -> dict[str, np.ndarray]:
    blocks, heads = rows[0].attention.shape[:2]
    found: dict[str, np.ndarray] = {}
    for row, own in enumerate(rows):
        begin = int(case.plan.question_end[row]) + 1
        words = len(build_questions()[case.plan.question[row]].question)
        text = range(BEFORE, BEFORE + words)
        for block, head in np.ndindex(blocks, heads):
            one = summaries(own.attention[block, head, -1], own.tokens, begin, text)
            for name, value in one.items():
                empty = np.zeros((blocks, len(rows), heads))
                found.setdefault(name, empty)[block, row, head] = value
    return found


def _sparsity(
    case: Case, unit: int, rows: Sequence[Row], base: Sequence[Row]
) -> dict[str, Difference]:
    eps, massive = thresholds(np.stack([row.post for row in base]))
    assert case.read(unit, "massive_dimensions").tolist() == massive
    np.testing.assert_allclose(case.read(unit, "sparsity_eps"), eps, rtol=TIES)
    ours, names = case.read(unit, "sparsity"), case.read(unit, "metric").tolist()

    def expected(slack: float) -> np.ndarray:
        limits = list(zip(eps, massive, strict=True))
        found = [
            [sparsity(row.post[i], *own, slack) for row in rows] for i, own in enumerate(limits)
        ]
        return np.array([[[one[name] for name in names] for one in block] for block in found])

    theirs, least, most = expected(1.0), expected(1 + TIES), expected(1 - TIES)
    counts = [name.startswith("l0") for name in names]
    theirs[..., counts] = np.clip(ours, least, most)[..., counts]
    large = np.array([name.startswith(("kurtosis", "l1")) for name in names])
    return {
        "sparsity": Difference.between(ours[..., ~large], theirs[..., ~large]),
        "sparsity kurtosis, l1": Difference.between(ours[..., large], theirs[..., large]),
    }
