"""Two curves that look alike: checkpoints of one run, and finished runs of growing size.

Longitudinal: one run, followed. Cross-sectional: one run per number of training questions,
each at its own last step. They are equal only with a constant learning rate and one pass;
they are never joined in one series.
"""

from collections.abc import Sequence
from typing import Any

from critical_phase.cli.sweep_groups import (
    SIZE,
    Finished,
    Group,
    groups,
    mean_curve,
    mean_values,
    without,
)
from critical_phase.cli.sweep_names import cell_name, digest
from critical_phase.cli.sweep_numbers import COLUMNS, NORMALISATIONS, number

Values = dict[str, Any]
MODES = ("likra", "sft", "base_likra")


def size_series(finished: Sequence[Finished]) -> list[Values]:
    """Return both curves of everything that was trained at several sizes."""
    made: list[Values] = []
    for mode in MODES:
        every = groups(finished, mode)
        for family in _families(every):
            twin = _followed(family, every)
            for how in NORMALISATIONS:
                made += _pair(family, twin, mode, how)
    return made


def _families(every: Sequence[Group]) -> list[list[Group]]:
    """Put groups together that differ only in their number of examples.

    Where `sizes` made cells, the run they are compared with is no point among them.
    """
    found: dict[str, list[Group]] = {}
    for group in every:
        found.setdefault(digest(without(group.settings, SIZE)), []).append(group)
    made = [
        [group for group in family if group.cells[0].cell.role == "size"] or family
        for family in found.values()
    ]
    return [family for family in made if len(family) > 1 or family[0].cells[0].cell.role == "size"]


def _followed(family: Sequence[Group], every: Sequence[Group]) -> Group | None:
    """Choose the run to follow: the fewest other settings, then the most examples."""
    wanted = without(family[0].settings, (*SIZE, "epochs"))
    candidates = [group for group in every if group.cells[0].cell.role != "size"]

    def distance(group: Group) -> tuple[int, int]:
        own = without(group.settings, (*SIZE, "epochs"))
        differing = sum(own[key] != wanted[key] for key in own)
        return differing, -_seen(group)

    return min(candidates, key=distance, default=None)


def _pair(family: Sequence[Group], twin: Group | None, mode: str, how: str) -> list[Values]:
    """Make the longitudinal and the cross-sectional series, apart."""
    made: list[Values] = []
    followed = mean_curve(twin, mode, how) if twin is not None else None
    if twin is not None and followed is not None:
        steps, examples, mean = followed
        made.append({
            "kind": "longitudinal", "label": f"checkpoints of one run: {twin.label}",
            "mode": mode, "normalisation": how, "steps": steps, "examples": examples,
            **mean_values(mean),
        })  # fmt: skip
    ends = [(group, mean_curve(group, mode, how)) for group in sorted(family, key=_questions)]
    kept = [(group, end) for group, end in ends if end is not None]
    if kept:
        made.append({
            "kind": "cross-sectional", "label": f"one finished run per size: {_label(family)}",
            "mode": mode, "normalisation": how,
            "steps": [end[0][-1] for _, end in kept],
            "examples": [_questions(group) for group, _ in kept],
            "mean": [number(end[2].mean[-1]) for _, end in kept],
            "standard_error": [number(end[2].standard_error[-1]) for _, end in kept],
            "seeds": min(end[2].seeds for _, end in kept),
        })  # fmt: skip
    return made


def _seen(group: Group) -> int:
    """Return the examples seen by the last step, repeated ones counted again."""
    at = COLUMNS.index("examples")
    return max(int(row[at]) for row in group.cells[0].numbers["accuracies"])


def _questions(group: Group) -> int:
    """Return the different questions that a run was trained on, as far as its settings say."""
    size = group.settings["train_size"]
    return _seen(group) if size is None else min(int(size), _seen(group))


def _label(family: Sequence[Group]) -> str:
    """Name a family by what its cells share."""
    varied = dict(family[0].cells[0].cell.varied)
    return cell_name(without(varied, ("seed", *SIZE)))
