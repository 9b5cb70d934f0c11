"""Measure `geometry`: every form of similarity at the last step, and layers against layers."""

from collections.abc import Iterator, Mapping

import numpy as np
from jaxtyping import Float

from critical_phase.analysis.charts import layer_label
from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.inputs import Rows, RunArrays, mean_by_question, question_count
from critical_phase.analysis.results import MeasureResult, Table, column
from critical_phase.analysis.settings import AnalysisSettings
from critical_phase.analysis.states.activations import (
    base_scale,
    base_states,
    has_residuals,
    sorted_steps,
    state_at,
)
from critical_phase.analysis.states.cka import (
    biased_cka,
    biased_cka_of_noise,
    block_cka,
    block_features,
    debiased_cka,
)
from critical_phase.analysis.states.cka_minibatch import minibatch_cka, row_batches
from critical_phase.analysis.states.cka_pairs import block_cka_matrix
from critical_phase.analysis.states.neighbours import NEIGHBOURS, mutual_neighbours
from critical_phase.analysis.states.procrustes import permuted_angle, procrustes_angle
from critical_phase.analysis.states.row_subset import some_questions
from critical_phase.analysis.states.similarity_tables import band

ABOUT = (
    "The last step against the base, in every form. Plain CKA is far from 0 for unrelated states"
    " with few rows; the debiased forms are not. All of them are blind to a vector added to every"
    " row, nearly blind to a label direction in one of many dimensions (.99), and set by a few"
    " massive dimensions (see the z-scored column). The Procrustes angle is biased for few rows"
    " too, so the angle of permuted rows stands beside it."
)

MOST_ROWS = 2000
"""Rows of this measure; whole questions, evenly spread, where a run has more."""

SLOW_ROWS = 1000
"""Rows of Procrustes angles where rows and dimensions are both more than this."""

BATCH = 256
"""Rows of one batch of minibatch CKA."""

MOST_COLUMNS = 17
"""Base layers that the layer by layer table has columns for."""


def geometry(
    arrays: RunArrays,
    settings: AnalysisSettings,
    done: Mapping[str, MeasureResult] | None = None,
) -> MeasureResult:
    """Compare the last step with the base in every form, and every layer with every other."""
    about = (
        "geometry",
        "Forms of similarity",
        ABOUT,
        "1905.00414; 2405.01012; 2010.15327; 2110.14739; 2405.07987",
    )
    if not has_residuals(arrays):
        return MeasureResult(*about, {}, ("no hidden states were given: not computed",))
    rows, kept = some_questions(arrays.rows, MOST_ROWS)
    weights = shared_weights(question_count(rows), settings)
    lasts = {head: int(sorted_steps(arrays, head)[1][-1]) for head in _moved(arrays)}
    forms = [
        _Pair(arrays, rows, kept, head, layer, step, settings.seed).row(weights)
        for head, step in lasts.items()
        for layer in arrays.layers
    ]
    layered = [_layer_table(arrays, rows, kept, head, step) for head, step in lasts.items()]
    notes = []
    if rows.question.size < arrays.rows.question.size:
        notes.append(
            f"{question_count(rows)} of {question_count(arrays.rows)} questions were compared,"
            f" evenly spread, to keep {MOST_ROWS} rows"
        )
    return MeasureResult(
        *about,
        {"position": "answer_end", "draws": settings.draws, "seed": settings.seed,
         "rows": int(rows.question.size), "batch_rows": BATCH, "neighbours": NEIGHBOURS},
        tuple(notes),
        tables=(_forms_table(forms), *layered),
    )  # fmt: skip


def _moved(arrays: RunArrays) -> tuple[str, ...]:
    """Return heads that have a checkpoint after step 0."""
    return tuple(h for h in arrays.heads if (sorted_steps(arrays, h)[1] > 0).any())


class _Pair:
    """The base and the last step of one layer."""

    def __init__(
        self,
        arrays: RunArrays,
        rows: Rows,
        kept: np.ndarray,
        head: str,
        layer: int,
        step: int,
        seed: int,
    ) -> None:
        self._rows, self._head, self._layer = rows, head, layer
        self._x = base_states(arrays, layer)[kept]
        self._y = state_at(arrays, head, layer, step)[kept]
        self._rng = np.random.default_rng([seed, 33])

    def row(self, weights: Float[np.ndarray, "draw question"]) -> list[str | float]:
        """Return one line of the table of forms."""
        x, y, rows = self._x, self._y, self._rows
        batches = ((x[i], y[i]) for i in row_batches(rows, BATCH))
        within, pseudo = block_cka(block_features(rows, x), block_features(rows, y))
        enough = question_count(rows) > 3
        means = [mean_by_question(rows, one.T).T for one in (x, y)]
        return [
            self._head,
            layer_label(self._layer),
            biased_cka(x, y),
            biased_cka_of_noise(x.shape[0], x.shape[1], y.shape[1]),
            debiased_cka(x, y),
            minibatch_cka(batches),
            debiased_cka(*means) if enough else float("nan"),
            within,
            *band(weights, pseudo),
            self._scaled(),
            *self._angles(),
            *self._neighbours(weights),
        ]

    def _scaled(self) -> float:
        """Return CKA within questions after dividing each dimension by its spread at the base."""
        scale = base_scale(self._rows, self._x)
        x, y = (block_features(self._rows, one / scale) for one in (self._x, self._y))
        return block_cka(x, y)[0]

    def _angles(self) -> tuple[float, float]:
        """Return the Procrustes angle and that of permuted rows."""
        small = min(self._x.shape) <= SLOW_ROWS
        kept = slice(None) if small else some_questions(self._rows, SLOW_ROWS)[1]
        x, y = self._x[kept], self._y[kept]
        return procrustes_angle(x, y), permuted_angle(x, y, self._rng)

    def _neighbours(self, weights: Float[np.ndarray, "draw question"]) -> list[float]:
        """Return the shared neighbours, their interval and chance; NaN for too few rows."""
        sizes = np.bincount(self._rows.question)
        if self._rows.question.size - sizes.max() < NEIGHBOURS:
            return [float("nan")] * 4
        found = mutual_neighbours(self._rows, self._x, self._y)
        return [found.share, *band(weights, found.per_question), found.chance]


def _forms_table(rows: list[list[str | float]]) -> Table:
    """Put all forms beside each other, each with what unrelated states give."""
    columns = [
        column("head", "head", kind="text"),
        column("layer", "layer", kind="text"),
        column("biased", "plain CKA, all rows"),
        column("biased_noise", "plain CKA of noise"),
        column("debiased", "debiased CKA, all rows"),
        column("minibatch", "same, from batches"),
        column("between", "debiased CKA, question means"),
        column("within", "CKA within questions"),
        column("within_low", "low"),
        column("within_high", "high"),
        column("scaled", "CKA within questions, z-scored"),
        column("angle", "Procrustes angle", "rad"),
        column("angle_permuted", "same, rows permuted", "rad"),
        column("neighbours", "shared neighbours"),
        column("neighbours_low", "low"),
        column("neighbours_high", "high"),
        column("neighbours_chance", "shared neighbours by chance"),
    ]
    caption = (
        "Base against the last step. Unrelated states give the value in the noise, permuted or"
        " chance column, and 0 in the debiased ones. Angle 0: equal up to rotation, scale and"
        " shift; 1.57: nothing shared. Neighbours leave out candidates of the same question."
    )
    return Table("similarity_forms", "Last step against the base", caption, columns, rows)


def _layer_table(arrays: RunArrays, rows: Rows, kept: np.ndarray, head: str, step: int) -> Table:
    """Compare every layer at the last step with every layer of the base."""
    layers = arrays.layers

    def tables() -> Iterator[Float[np.ndarray, "row _d"]]:
        for layer in layers:
            yield base_states(arrays, layer)[kept]
        for layer in layers:
            yield state_at(arrays, head, layer, step)[kept]

    matrix = block_cka_matrix(rows, tables(), 2 * len(layers))[len(layers) :, : len(layers)]
    shown = np.unique(np.linspace(0, len(layers) - 1, min(MOST_COLUMNS, len(layers))).astype(int))
    columns = [
        column("layer", "layer", kind="text"),
        column("closest", "closest base layer", kind="text"),
        column("closest_cka", "its CKA"),
        column("same", "same layer of the base"),
        *(column(f"base_{layers[i]}", f"base {layer_label(layers[i])}") for i in shown),
    ]
    body: list[list[str | float]] = []
    for at, values in enumerate(matrix):
        best = int(np.nanargmax(values)) if np.isfinite(values).any() else at
        body.append(
            [layer_label(layers[at]), layer_label(layers[best]), float(values[best]),
             float(values[at]), *(float(values[i]) for i in shown)]
        )  # fmt: skip
    caption = (
        f"CKA within questions of layers at step {step} (rows) with layers of the base (columns);"
        " no interval. A layer whose closest base layer is another one took over its arrangement."
    )
    title = f"Layers against base layers, {head} head"
    return Table(f"layers.{head}", title, caption, columns, body)
