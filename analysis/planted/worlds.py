"""Small runs with a planted truth, for tests of everything that reads an analysis."""

from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.judging.causal_evidence import Intervention
from critical_phase.analysis.planted.planted_arrays import (
    adapters_of,
    attention_of,
    residual_of,
    rows_of,
    scores_of,
    share_base,
    sparsity_of,
)
from critical_phase.analysis.planted.planted_contexts import contexts_of, effects_of
from critical_phase.analysis.scores.control_run import ControlRun
from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.llc_series import LlcSeries
from critical_phase.errors import ConfigError

World = Literal[
    "switch",
    "mirage",
    "noise_floor",
    "smooth",
    "flat",
    "new_feature",
    "readout",
    "constant_vector",
    "rerouting",
]
"""What is planted. `switch` puts several changes at one step; the last four put one each.
`noise_floor` has its direction from the start, grows, and is scored anew with noise."""


@dataclass(frozen=True, slots=True)
class PlantedRun:
    """A synthetic run that answers as `RunArrays` does."""

    rows: Rows
    batch_size: int
    heads: tuple[str, ...]
    layers: tuple[int, ...]
    positions: tuple[str, ...]
    attention_heads: int
    step_list: Int[np.ndarray, " step"]
    tables: dict[str, np.ndarray]
    weights: dict[str, list[dict[str, tuple[np.ndarray, np.ndarray, float]]]] = field(
        default_factory=dict
    )
    rows_in: dict[str, Rows] = field(default_factory=dict)
    """Rows of every context."""
    interventions: tuple[Intervention, ...] = ()
    """What interventions would find."""
    logs: dict[str, dict[str, np.ndarray]] = field(default_factory=dict)
    """Training log of a head where it is planted."""
    controls: tuple[ControlRun, ...] = ()
    """Other trainings that differ in one planned thing."""
    coefficients: dict[str, LlcSeries] = field(default_factory=dict)
    """Learning coefficients of a head where they are planted."""
    curvatures: dict[str, CurvatureSeries] = field(default_factory=dict)
    """Fisher trace and sharpness of a head where they are planted."""
    unembedding: ReadOut | None = None
    """Read-out of the base where one is planted."""

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Return the steps, the same for every head."""
        return self.step_list

    def activation_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Return the steps with activations: all of them."""
        return self.step_list

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Return the scores without an adapter."""
        return self.tables["scores/base"]

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Return the scores of one head."""
        return self.tables[f"scores/{head}"]

    def residual(self, head: str, layer: int, position: str) -> Float[np.ndarray, "step row d"]:
        """Return the residual stream; the same at every candidate before the answer."""
        path = self.tables[f"residual/{head}/{layer}"]
        if position == "question_end":
            first = np.searchsorted(self.rows.question, self.rows.question)
            return np.asarray(path[:, first])
        return path

    def residual_at(
        self, head: str, step: int, layer: int, position: str
    ) -> Float[np.ndarray, "row d"]:
        """Return one step of the residual stream."""
        at = int(np.flatnonzero(self.step_list == step)[0])
        return np.asarray(self.residual(head, layer, position)[at])

    def base_residual(self, layer: int, position: str) -> Float[np.ndarray, "row d"]:
        """Return the residual stream without an adapter."""
        return np.asarray(self.residual(self.heads[0], layer, position)[0])

    def attention_row(
        self, head: str, layer: int
    ) -> Float[np.ndarray, "step row attention_head key"]:
        """Return the attention rows of one layer."""
        return self.tables[f"attention/{head}/{layer}"]

    def attention_row_at(
        self, head: str, step: int, layer: int
    ) -> Float[np.ndarray, "row attention_head key"]:
        """Return one step of the attention rows."""
        at = int(np.flatnonzero(self.step_list == step)[0])
        return np.asarray(self.attention_row(head, layer)[at])

    def base_attention_row(self, layer: int) -> Float[np.ndarray, "row attention_head key"]:
        """Return the attention rows without an adapter."""
        return np.asarray(self.attention_row(self.heads[0], layer)[0])

    def key_length(self) -> Int[np.ndarray, " row"]:
        """Return the number of keys that are not padding."""
        return self.tables["key_length"]

    def attention_summary(
        self, head: str
    ) -> dict[str, Float[np.ndarray, "step layer attention_head row"]]:
        """Return sink mass and entropy of the rest."""
        if not self.attention_heads:
            return {}
        rows = np.stack([self.attention_row(head, i) for i in self.layers if i >= 0], axis=1)
        rest = rows[..., 1:] / np.maximum(rows[..., 1:].sum(-1, keepdims=True), 1e-12)
        entropy = -(rest * np.log(np.maximum(rest, 1e-12))).sum(-1) / np.log(rest.shape[-1])
        return {
            "sink_mass": np.swapaxes(rows[..., 0], 2, 3),
            "entropy_rest": np.swapaxes(entropy, 2, 3),
        }

    def head_values(
        self, head: str
    ) -> dict[str, Float[np.ndarray, "step layer attention_head row"]]:
        """Return what of attention heads a test put there."""
        prefix = f"heads/{head}/"
        return {k.removeprefix(prefix): v for k, v in self.tables.items() if k.startswith(prefix)}

    def sparsity(self, head: str) -> dict[str, Float[np.ndarray, "step layer row"]]:
        """Return the stored sparsity metrics."""
        prefix = f"sparsity/{head}/"
        return {k.removeprefix(prefix): v for k, v in self.tables.items() if k.startswith(prefix)}

    def adapters(self, head: str) -> list[dict[str, tuple[np.ndarray, np.ndarray, float]]]:
        """Return the LoRA factors per step."""
        return self.weights.get(head, [])

    def base_weight(self, module: str) -> Float[np.ndarray, "out in"] | None:
        """Return the base's weight of one module, where a test put one."""
        return self.tables.get(f"base_weight/{module}")

    @property
    def contexts(self) -> tuple[str, ...]:
        """Return the names of the planted contexts."""
        return tuple(self.rows_in)

    def context_rows(self, context: str) -> Rows:
        """Return the rows of one context."""
        return self.rows_in[context]

    def context_steps(self, context: str, head: str) -> Int[np.ndarray, " step"]:
        """Return the steps of a head in a context."""
        return self.step_list[: len(self.context_scores(context, head))]

    def context_scores(self, context: str, head: str) -> Float[np.ndarray, "step row"]:
        """Return the scores of a head in a context."""
        return self.tables[f"context/{context}/{head}"]

    def context_base_scores(self, context: str) -> Float[np.ndarray, " row"]:
        """Return the scores without an adapter in a context."""
        return self.tables[f"context/{context}/base"]

    def effect_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Return the steps with side effects."""
        return self.step_list[: max(map(len, self.effects(head).values()), default=0)]

    def effects(self, head: str) -> dict[str, Float[np.ndarray, "step ..."]]:
        """Return the planted side effects."""
        prefix = f"effects/{head}/"
        return {k.removeprefix(prefix): v for k, v in self.tables.items() if k.startswith(prefix)}

    def read_out(self) -> ReadOut | str:
        """Return the planted read-out."""
        return self.unembedding or "no unembedding was planted"

    def local_learning(self, head: str) -> LlcSeries | None:
        """Return the planted learning coefficients."""
        return self.coefficients.get(head)

    def curvature(self, head: str) -> CurvatureSeries | None:
        """Return the planted Fisher trace and sharpness."""
        return self.curvatures.get(head)

    def training_log(self, head: str) -> dict[str, np.ndarray]:
        """Return the planted log, else a falling loss."""
        if head in self.logs:
            return self.logs[head]
        steps = np.sort(self.step_list)[1:]
        return {
            "step": steps,
            "examples": steps * self.batch_size,
            "loss": 3 * np.exp(-steps / 20) + 1,
            "lr": np.full(steps.size, 1e-3),
            "gradient_norm": np.exp(-steps / 30),
        }


def planted_run(
    kind: World,
    rng: np.random.Generator,
    *,
    questions: int = 60,
    candidates: int = 4,
    steps: int = 25,
    width: int = 24,
    blocks: int = 2,
    attention_heads: int = 2,
    heads: tuple[str, ...] = ("positive", "negative"),
    contexts: tuple[str, ...] = (),
    effects: bool = False,
) -> PlantedRun:
    """Make a run whose truth is known.

    Args:
        kind: What is planted, see `World`.
        rng: Source of all randomness.
        questions: Number of questions.
        candidates: Candidates of each question, one right.
        steps: Number of checkpoints, one per optimizer step, step 0 included.
        width: Size of the residual stream; 0 leaves activations out (scores only).
        blocks: Transformer blocks.
        attention_heads: Attention heads of each block.
        heads: Trained heads.
        contexts: Other texts before the answer to score: `answer_only`, `domain`, ... lose
            what the question gives, `shots-...` keep it, `second` is another task.
        effects: Whether side effects are planted.

    Returns:
        The run; planted changes sit at `planted_arrays.TAU` of the series.
    """
    if kind not in get_args(World):
        raise ConfigError(f"asked for world {kind}, known are {', '.join(get_args(World))}")
    rows = rows_of(questions, candidates, rng)
    tables = scores_of(kind, rows, steps, heads, rng)
    layers: tuple[int, ...] = ()
    if width:
        layers = (-1, *range(blocks))
        for head in heads:
            planted = kind if head == "negative" or len(heads) == 1 else "flat"
            tables |= residual_of(planted, head, rows, steps, width, layers, rng)
            tables |= attention_of(planted, head, rows, steps, blocks, attention_heads, rng)
            tables |= sparsity_of(head, rows, steps, blocks, rng)
        share_base(tables, tuple(sorted(heads)))  # the negative head's base holds what is planted
    tables["key_length"] = np.full(rows.question.size, 8)
    weights = {head: adapters_of(steps, rng) for head in heads}
    read, rows_in = contexts_of(contexts, rows, steps, tables, heads, rng)
    tables |= read
    tables |= effects_of(kind, heads, questions, steps, rng) if effects else {}
    positions = ("question_end", "answer_end") if width else ()
    return PlantedRun(
        rows,
        8,
        heads,
        layers,
        positions,
        attention_heads if width else 0,
        np.arange(steps),
        tables,
        weights,
        rows_in,
    )
