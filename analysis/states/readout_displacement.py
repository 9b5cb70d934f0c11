"""Measure `readout_displacement`: how much of the movement of states the unembedding sees."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import layer_label, layer_map
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import RunArrays, question_count
from critical_phase.analysis.results import Map, MeasureResult, Table, column
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.displacement_readout import (
    MOST_STEPS,
    ReadOutPath,
    read_out_path,
)
from critical_phase.analysis.states.similarity_tables import band

ABOUT = (
    "Displacement of hidden states in the metric of the read-out: every state is read as if it"
    " were the last, through the base model's own final norm and unembedding (logit lens), and the"
    " change is the spread over the vocabulary of how far the logits moved. A constant added to"
    " all logits does not count. At the last layer these are the base's own logits of the state;"
    " above others, what the layers between would make of the change is left out. The base's norm"
    " and unembedding are used at every checkpoint, also where a head trained its own."
)

PLACES = {
    "question_end": "before the answer, where its first token is read",
    "answer_end": "at the end of the answer, where nothing that is scored is read",
}
"""Positions, as titles name them."""

QUANTITIES = {
    "readout": (
        "change of the logits",
        "of the base's spread",
        "Spread over the vocabulary of the change of the logits, over that of the base's logits.",
        "No change gives 0.",
    ),
    "readout_random": (
        "read-out of the movement over that of random directions",
        "ratio",
        "Above 1 the movement lies where the unembedding looks, below 1 it avoids that.",
        "Changes of equal norm in random directions give 1.",
    ),
    "readout_states": (
        "read-out of the movement over that of differences between states",
        "ratio",
        "States differ mostly in directions that are read out anyway: 1 says that the movement is"
        " read out as much as a step of equal length towards another question's state.",
        "Changes of equal norm towards the base state of another question give 1.",
    ),
}
"""Title, unit, caption and what the control gives."""


def readout_displacement(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Weigh the displacement of every layer by the read-out.

    Args:
        arrays: The run, with `read_out` of its base model.
        settings: Resampling sizes and seed of the random directions.
        done: Results of earlier measures; not needed.

    Returns:
        Maps over layers and checkpoints with their intervals, and a table of the last step.
    """
    read_out = arrays.read_out() if arrays.layers and arrays.positions else None
    if read_out is None or isinstance(read_out, str):
        lost = "no hidden states were given" if read_out is None else read_out
        return _result(settings, notes=(f"{lost}: not computed",))
    weights = shared_weights(question_count(arrays.rows), settings)
    paths = {
        (head, position): [
            read_out_path(arrays, read_out, head, layer, position, settings.seed)
            for layer in arrays.layers
        ]
        for head in arrays.heads
        for position in arrays.positions
    }
    notes = ("logits are capped after the unembedding; the cap is left out",)
    return _result(
        settings,
        notes=notes if read_out.capped else (),
        maps=tuple(one for group in paths.values() for one in _maps(group, weights)),
        tables=(_table(paths, weights),),
        vocabulary=read_out.tokens,
        norm="LayerNorm" if read_out.centred else "RMSNorm",
    )


def _maps(group: Sequence[ReadOutPath], weights: Float[np.ndarray, "draw question"]) -> list[Map]:
    """Stack the layers of one head at one position."""
    found = []
    for name, (title, _, caption, control) in QUANTITIES.items():
        stack = [_series(name, path) for path in group]
        if any(one.steps.size for one in stack):
            place = PLACES.get(group[0].position, group[0].position)
            found.append(
                layer_map(
                    stack,
                    weights,
                    map_id=stack[0].quantity,
                    title=f"{title[0].upper()}{title[1:]}, {group[0].head} head, {place}",
                    control=control,
                    caption=caption,
                )
            )
    return found


def _series(name: str, path: ReadOutPath) -> Series:
    """Make a series of one quantity of one layer."""
    values = {
        "readout": path.moved,
        "readout_random": path.over_random,
        "readout_states": path.over_states,
    }
    title, unit, *_ = QUANTITIES[name]
    quantity = f"{name}_{path.position}.{path.head}"
    return question_series(
        quantity, title, unit, "representation", path.steps, values[name],
        head=path.head, layer=path.layer,
    )  # fmt: skip


def _table(
    paths: Mapping[tuple[str, str], Sequence[ReadOutPath]],
    weights: Float[np.ndarray, "draw question"],
) -> Table:
    """List the last step of every layer."""
    columns = [
        column("head", "head", kind="text"),
        column("position", "position", kind="text"),
        column("layer", "layer", kind="text"),
        column("step", "step"),
        column("moved", "change of the logits", "of the base's spread"),
        column("moved_interval", "interval"),
        column("nats", "change of the logits", "nats"),
        column("nats_interval", "interval"),
        column("random", "over random directions"),
        column("random_interval", "interval"),
        column("states", "over differences of states"),
        column("states_interval", "interval"),
    ]
    rows: list[list[object]] = []
    for path in (one for group in paths.values() for one in group if one.steps.size):
        row: list[object] = [path.head, path.position, layer_label(path.layer)]
        row.append(int(path.steps[-1]))
        for values in (path.moved[-1], path.spread, path.over_random[-1], path.over_states[-1]):
            row += _with_band(values, weights)
        rows.append(row)
    caption = (
        "Last step. Change: spread over the vocabulary, mean over questions. Ratios compare with"
        " changes of the same norm, row by row. 95 % question bootstrap; ratios by jackknife"
        " pseudo-values."
    )
    return Table("readout_last", "What the read-out sees", caption, columns, rows)


def _with_band(
    values: Float[np.ndarray, " question"], weights: Float[np.ndarray, "draw question"]
) -> list[object]:
    """Return a mean and its interval; empty where nothing moved."""
    if not np.isfinite(values).all():
        return [None, None]
    return [float(values.mean()), list(band(weights, values))]


def _result(
    settings: AnalysisSettings,
    *,
    notes: tuple[str, ...],
    maps: tuple[Map, ...] = (),
    tables: tuple[Table, ...] = (),
    **more: object,
) -> MeasureResult:
    """Wrap up."""
    return MeasureResult(
        "readout_displacement",
        "Movement that the read-out sees",
        ABOUT,
        "logit lens with the model's own norm; docs/methods.md",
        {"draws": settings.draws, "seed": settings.seed, "most_steps": MOST_STEPS, **more},
        notes,
        maps=maps,
        tables=tables,
    )
