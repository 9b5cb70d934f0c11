"""Measure `movement`: what the change of hidden states is made of, and whether heads agree."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.charts import layer_label, layer_map
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import Map, MeasureResult, Table, column
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import has_residuals
from critical_phase.analysis.states.displacement_parts import PARTS
from critical_phase.analysis.states.head_contrast import QUANTITIES, Contrast, contrast_heads
from critical_phase.analysis.states.movement_cells import (
    MOST_STEPS,
    SPECTRUM_ROWS,
    Last,
    Movement,
    movement_of,
)
from critical_phase.analysis.states.similarity_tables import band

ABOUT = (
    "The squared change of hidden states, split into one vector common to all rows (phi), one"
    " vector per question, one vector that tells right from wrong candidates, and the rest. All"
    " but the rest come from pairs of different rows, so noise gives them 0 on average; small"
    " negative shares are noise. How directions relate does not say what the model reads: see"
    " the movement that the read-out sees. The table gives the part along the base's own"
    " right-minus-wrong direction."
)

SHARES = {
    "question": ("share of movement common to a question", "The same for all its candidates."),
    "right_wrong": (
        "share of movement that tells right from wrong",
        "One direction along which right candidates moved away from wrong ones, in any question.",
    ),
}
"""Parts that have a map; the constant part has one in `similarity`."""


def movement(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Split the movement of every layer and compare the heads at equal steps."""
    about = ("movement", "What the movement is made of", ABOUT, "U-statistics, docs/methods.md")
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    weights = shared_weights(question_count(arrays.rows), settings)
    found = {
        head: [movement_of(arrays, head, layer, settings.seed) for layer in arrays.layers]
        for head in arrays.heads
    }
    maps = [one for head, group in found.items() for one in _maps(head, group, weights)]
    notes: tuple[str, ...] = ()
    if len(arrays.heads) == 2:
        one, two = arrays.heads
        pairs = [contrast_heads(arrays, (one, two), i, MOST_STEPS) for i in arrays.layers]
        maps += _contrast_maps(pairs, weights)
    else:
        notes = ("only one head was given: heads were not compared",)
    return MeasureResult(
        *about,
        {"position": "answer_end", "draws": settings.draws, "seed": settings.seed,
         "most_steps": MOST_STEPS, "spectrum_rows": SPECTRUM_ROWS},
        notes,
        maps=tuple(maps),
        tables=(_parts_table(found, weights), _control_table(found)),
    )  # fmt: skip


def _series(
    quantity: str,
    title: str,
    unit: str,
    steps: Int[np.ndarray, " step"],
    values: Float[np.ndarray, "step question"],
    layer: int,
    head: str | None = None,
) -> Series:
    """Make a series of one layer."""
    return question_series(
        quantity, title, unit, "representation", steps, values, head=head, layer=layer
    )


def _maps(
    head: str, group: Sequence[Movement], weights: Float[np.ndarray, "draw question"]
) -> list[Map]:
    """Stack the layers of one head."""
    maps = []
    for name, (title, caption) in SHARES.items():
        stack = [
            _series(f"{name}.{head}", title, "share of squared change", m.steps,
                    m.parts[PARTS.index(name)], m.layer, head)
            for m in group
        ]  # fmt: skip
        maps.append(
            _map(stack, weights, f"{name}.{head}", f"{title}, {head} head", caption,
                 "Independent changes of every row give 0 on average.", (0.0, 1.0))
        )  # fmt: skip
    stack = [
        _series(f"cos_last.{head}", "cosine", "cosine", m.steps, m.to_last, m.layer, head)
        for m in group
    ]
    maps.append(
        _map(stack, weights, f"cos_last.{head}",
             f"cosine of each row's change with its last change, {head} head",
             "1: the final direction is there already, only its size is missing.",
             "Unrelated directions give 0.", (-1.0, 1.0))
    )  # fmt: skip
    wide = [
        Series(f"participation.{head}", "", "directions", "representation", m.steps, m.dimensions,
               head=head, layer=m.layer)
        for m in group
    ]  # fmt: skip
    maps.append(
        _map(wide, None, f"participation.{head}",
             f"number of directions of the change, {head} head",
             "Participation ratio of centred changes, at equal rows. No interval was computed.",
             _random_directions(group), None)
    )  # fmt: skip
    return [one for one in maps if one.steps]


def _random_directions(group: Sequence[Movement]) -> str:
    """Say what random changes give."""
    found = [m.last.random.participation for m in group if m.last is not None]
    if not found:
        return "This head did not move."
    return f"Random changes of the last step's norms give {min(found):.3g} to {max(found):.3g}."


def _map(
    stack: Sequence[Series],
    weights: Float[np.ndarray, "draw question"] | None,
    map_id: str,
    title: str,
    caption: str,
    control: str,
    bounds: tuple[float, float] | None,
) -> Map:
    """Draw one map over layers."""
    return layer_map(
        stack,
        weights,
        map_id=map_id,
        title=title[0].upper() + title[1:],
        control=control,
        caption=caption,
        bounds=bounds,
        diverging=bounds is not None and bounds[0] < 0,
    )


def _contrast_maps(
    pairs: Sequence[Contrast], weights: Float[np.ndarray, "draw question"]
) -> list[Map]:
    """Stack the layers of the comparison of heads."""
    maps = []
    for name, title in QUANTITIES.items():
        stack = [_series(name, title, "cosine", c.steps, c.found[name], c.layer) for c in pairs]
        caption = (
            "1: both heads move alike; 0: unrelated; -1: opposite ways."
            if name != "change_cka"
            else "1: both heads rearrange the candidates alike; a vector common to all is not seen."
        )
        control = "Unrelated changes give 0; cosines are left out where a mean is not above noise."
        found = _map(stack, weights, name, title, caption, control, (-1.0, 1.0))
        maps += [found] if found.steps else []
    return maps


def _parts_table(
    found: Mapping[str, Sequence[Movement]], weights: Float[np.ndarray, "draw question"]
) -> Table:
    """List the parts of every layer at the last step."""
    names = ("one vector", "per question", "right against wrong", "rest")
    columns = [column("head", "head", kind="text"), column("layer", "layer", kind="text")]
    for key, name in zip(PARTS, names, strict=True):
        columns += [column(key, name, "share"), *_edges(key)]
    columns += [column("along", "along the base's right minus wrong", "of its length")]
    rows: list[list[str | float]] = []
    for m in (m for group in found.values() for m in group if m.last is not None):
        row: list[str | float] = [m.head, layer_label(m.layer)]
        for values in m.parts[:, -1]:
            row += [float(values.mean()), *band(weights, values)]
        rows.append([*row, *_along(m, weights)])
    columns += _edges("along")
    caption = (
        "Shares of squared change at the last step, summing to 1. Along: 1 would double the base's"
        " own mean difference between right and wrong candidates; empty where that is not above"
        " noise."
    )
    return Table("movement_parts", "Parts of the movement", caption, columns, rows)


def _edges(key: str) -> list[dict[str, str]]:
    """Describe the columns of an interval."""
    return [column(f"{key}_low", "low"), column(f"{key}_high", "high")]


def _along(m: Movement, weights: Float[np.ndarray, "draw question"]) -> list[float]:
    """Return the part along the base's direction with its interval."""
    assert m.last is not None
    value, pseudo = m.last.along
    return [value, *band(weights, pseudo)]


def _control_table(found: Mapping[str, Sequence[Movement]]) -> Table:
    """List directions and CKA of the last step beside random changes of equal norm."""
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("top", "first direction", "share"),
        column("top5", "first five", "share"),
        column("participation", "participation ratio"),
        column("participation_random", "same, random"),
        column("rank", "effective rank"),
        column("rank_random", "same, random"),
        column("half", "cosine of the mean change of two halves"),
        column("phi", "phi"),
        column("cka", "CKA within questions"),
        column("phi_random", "phi, random per row"),
        column("cka_random", "CKA, random per row"),
        column("phi_common", "phi, one random direction"),
        column("cka_common", "CKA, one random direction"),
    ]
    rows = [
        [m.head, layer_label(m.layer), *_controls(m, m.last)]
        for group in found.values()
        for m in group
        if m.last is not None
    ]
    caption = (
        "Last step. Random: changes of the same norm, row by row, each in its own random"
        " direction; one random direction: the same for all rows, so CKA sees only that rows moved"
        " by different amounts. Directions count centred changes at equal rows. The cosine of"
        " halves is what plain mean changes of other questions share with each other."
    )
    return Table("movement_controls", "Directions, and random changes", caption, columns, rows)


def _controls(m: Movement, last: Last) -> list[float]:
    """Return the numbers of one row."""
    return [
        last.spectrum.top(1),
        last.spectrum.top(5),
        last.spectrum.participation,
        last.random.participation,
        last.spectrum.effective_rank,
        last.random.effective_rank,
        last.half_cosine,
        float(m.parts[0, -1].mean()),
        last.cka,
        last.random_phi,
        last.random_cka,
        last.common_phi,
        last.common_cka,
    ]
