"""Open the files of a run and hand them to the analysis as arrays.

The one place that knows both the store and the analysis: neither knows the other.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis import ControlRun, Intervention, Rows
from critical_phase.analysis.states.read_out import ReadOut
from critical_phase.analysis.updates.curvature_series import CurvatureSeries
from critical_phase.analysis.updates.llc_series import LlcSeries
from critical_phase.checkpoints import read_log, read_questions
from critical_phase.cli.base_weights import BaseWeights
from critical_phase.cli.on_demand import ReadOnDemand
from critical_phase.cli.read_out_weights import read_read_out
from critical_phase.cli.run_folder import BASE, HEADS, RunFolder, read_record
from critical_phase.cli.stored_checks import check_stored, failed_units
from critical_phase.cli.stored_contexts import (
    StoredContexts,
    StoredEffects,
    read_stacked,
    rows_of,
    stored_steps,
)
from critical_phase.cli.stored_curvature import read_curvature
from critical_phase.cli.stored_heads import has_norms, stored_heads
from critical_phase.cli.stored_interventions import read_interventions
from critical_phase.cli.stored_llc import read_llc
from critical_phase.cli.stored_series import Factors, factors_at, not_collected, stored_series
from critical_phase.cli.token_texts import read_token_texts
from critical_phase.cli.unusable import Unusable, unusable
from critical_phase.errors import StoreError
from critical_phase.probes import read_activations, read_scores


class StoredRun:
    """The arrays of one run, read from disk when asked for; `analysis.RunArrays`."""

    def __init__(self, run: RunFolder) -> None:
        """Look at what is stored and check that all of it belongs to one plan.

        Raises:
            StoreError: Nothing is collected, or files of different plans are mixed.
        """
        self._run = run
        record = read_record(run)
        self.batch_size = int(record["recipe"]["batch_size"])
        self._base_weights = BaseWeights(str(record.get("model", "")))
        self._steps = {head: stored_steps(run.path / "scores" / head) for head in (BASE, *HEADS)}
        if not self._steps[BASE]:
            raise StoreError(
                "no scores of the base model",
                where=str(run.path / "scores"),
                fix=f"probe collect {run.path}",
            )
        self.heads = tuple(head for head in HEADS if self._steps[head])
        self._series, gone = stored_series(run, self.heads)
        self._scores: dict[str, np.ndarray] = {}
        self._contexts = StoredContexts(run, self.rows)
        self._effects = StoredEffects(run)
        check_stored(run, self._steps, self._series, self._contexts, self._effects)
        self.notes = (
            *record.get("warnings", []),
            *gone,
            *not_collected(self._series, self._steps),
            *failed_units(run),
            *self._contexts.notes,
        )
        """What a reader of the results should know about the files behind them."""
        self.controls: tuple[ControlRun, ...] = ()
        """Other trainings that differ in one planned thing; see `take_controls`."""
        self._describe_activations()

    def take_controls(self, controls: tuple[ControlRun, ...]) -> None:
        """Let the analysis compare the run with its controls, whose notes join its own."""
        self.controls = controls
        self.notes += tuple(note for control in controls for note in control.notes)

    @cached_property
    def rows(self) -> Rows:
        """Every (question, candidate), in the order of the plan."""
        return rows_of(self._run.plan)

    @cached_property
    def question_texts(self) -> tuple[str, ...]:
        """The text of every question; its id where the run's copy does not have it."""
        texts = {q.id: q.question for q in read_questions(self._run.questions("eval"))}
        return tuple(texts.get(name) or name for name in self.rows.question_ids)

    @cached_property
    def _tokens(self) -> list[list[str]]:
        return read_token_texts(self._run.tokens)

    def token_texts(self, row: int) -> list[str]:
        """The tokens of one row, readable; empty where they were not written."""
        return self._tokens[row] if self._tokens else []

    def steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that are stored."""
        return np.array(self._steps[head])

    def activation_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that are stored and whose activations are all numbers."""
        return np.array(self._kept(head), dtype=np.int64)

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Summed log-probability of every row without an adapter."""
        return read_scores(self._run.scores(BASE, 0)).logprob_sum

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row at every step; read once."""
        if head not in self._scores:
            paths = [self._run.scores(head, step) for step in self._steps[head]]
            self._scores[head] = read_stacked(paths)
        return self._scores[head]

    def residual(self, head: str, layer: int, position: str) -> Float[np.ndarray, "step row d"]:
        """Residual stream of one layer at one position."""
        at = self.positions.index(position)
        return self._stack(head, "residual", layer, lambda values: values[:, at])

    def residual_at(
        self, head: str, step: int, layer: int, position: str
    ) -> Float[np.ndarray, "row d"]:
        """One step of `residual`."""
        values = read_activations(self._run.activations(head, step), "residual", layer)
        return values[:, self.positions.index(position)]

    def base_residual(self, layer: int, position: str) -> Float[np.ndarray, "row d"]:
        """The same without an adapter."""
        values = self._base("residual", layer)
        return values[:, self.positions.index(position)]

    def attention_row(
        self, head: str, layer: int
    ) -> Float[np.ndarray, "step row attention_head key"]:
        """Attention from the end of the answer to every key, padded with zeros."""
        return self._stack(head, "attention_row", layer)

    def attention_row_at(
        self, head: str, step: int, layer: int
    ) -> Float[np.ndarray, "row attention_head key"]:
        """One step of `attention_row`."""
        return read_activations(self._run.activations(head, step), "attention_row", layer)

    def base_attention_row(self, layer: int) -> Float[np.ndarray, "row attention_head key"]:
        """The same without an adapter."""
        return self._base("attention_row", layer)

    def key_length(self) -> Int[np.ndarray, " row"]:
        """Number of keys of each row that are not padding."""
        return self._base("key_length", None)

    def attention_summary(
        self, head: str
    ) -> Mapping[str, Float[np.ndarray, "step layer attention_head row"]]:
        """Named summaries of the attention row, each read when it is asked for."""
        group = "attention_summary/"
        names = [n.removeprefix(group) for n in self._datasets if n.startswith(group)]
        return ReadOnDemand(
            names, lambda name: self._stack(head, group + name, None).swapaxes(2, 3)
        )

    def head_values(
        self, head: str
    ) -> Mapping[str, Float[np.ndarray, "step layer attention_head row"]]:
        """What was collected of attention heads; norms at the end of the answer."""
        read = has_norms(self._datasets)
        places = [_text(name) for name in self._base("position", None)] if read else []
        return stored_heads(self._datasets, places, partial(self._stack, head))

    def sparsity(self, head: str) -> dict[str, Float[np.ndarray, "step layer row"]]:
        """Named sparsity metrics of the MLP activations at the end of the answer."""
        if "sparsity" not in self._datasets:
            return {}
        values = self._stack(head, "sparsity", None)
        names = self._base("metric", None)
        return {_text(name): values[..., index] for index, name in enumerate(names)}

    def adapters(self, head: str) -> Sequence[Factors]:
        """Per stored step: module name to (A, B, scaling); empty where there are no factors."""
        if head not in self._series:
            return []
        return factors_at(self._series[head], self._steps[head])

    def base_weight(self, module: str) -> Float[np.ndarray, "out in"] | None:
        """Weight of one adapted module of the base; None where it is not on this disk."""
        return self._base_weights.read(module)

    def training_log(self, head: str) -> dict[str, np.ndarray]:
        """Columns of the training log by name; empty where there is none in our form."""
        path = self._run.log(head)
        if not path.is_file():
            return {}
        rows = read_log(path)
        names = ("step", "examples", "loss", "lr", "gradient_norm", "tokens")
        return {name: np.array([getattr(row, name) for row in rows]) for name in names}

    @property
    def contexts(self) -> tuple[str, ...]:
        """Other texts before the answer, and other tasks, that have scores."""
        return self._contexts.names

    def context_rows(self, context: str) -> Rows:
        """The rows of a context."""
        return self._contexts.rows(context)

    def context_steps(self, context: str, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that have scores in a context."""
        return np.array(self._contexts.steps(context, head), dtype=np.int64)

    def context_scores(self, context: str, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row in a context."""
        return self._contexts.scores(context, head)

    def context_base_scores(self, context: str) -> Float[np.ndarray, " row"]:
        """The same without an adapter."""
        return self._contexts.base_scores(context)

    @cached_property
    def interventions(self) -> tuple[Intervention, ...]:
        """What interventions in the model found."""
        return read_interventions(self._run.path)

    def effect_steps(self, head: str) -> Int[np.ndarray, " step"]:
        """Steps of a head that have side effects stored; `base` has step 0."""
        return np.array(self._effects.steps(head), dtype=np.int64)

    def effects(self, head: str) -> dict[str, Float[np.ndarray, "step ..."]]:
        """Named side effects; NaN at steps where one was not measured."""
        return self._effects.read(head)

    def read_out(self) -> ReadOut | str:
        """Final norm and unembedding of the base, or why they are not known."""
        return read_read_out(str(read_record(self._run).get("model", "")))

    def local_learning(self, head: str) -> LlcSeries | None:
        """Local learning coefficients of a head, None where none were sampled."""
        return read_llc(self._run.path, head)

    def curvature(self, head: str) -> CurvatureSeries | None:
        """Fisher trace and sharpness of a head, None where they were not measured."""
        return read_curvature(self._run.path, head)

    def _describe_activations(self) -> None:
        """Note which activations exist for every step that has scores."""
        path = self._run.activations(BASE, 0)
        places = [(BASE, 0), *((head, step) for head in self.heads for step in self._steps[head])]
        wanted = {place: self._run.activations(*place) for place in places}
        missing = [str(p.relative_to(self._run.path)) for p in wanted.values() if not p.is_file()]
        self._datasets: tuple[str, ...] = ()
        self._unusable = Unusable(frozenset(), (), nothing_left=False)
        self.layers: tuple[int, ...] = ()
        self.positions: tuple[str, ...] = ()
        self.attention_heads = 0
        if missing and len(missing) < len(wanted):
            self.notes += (
                f"activations are missing for {len(missing)} of {len(wanted)} scored checkpoints, "
                f"first {missing[0]}: nothing was computed from activations; "
                f"probe collect {self._run.path} writes them",
            )
        if missing:
            return
        self._unusable = unusable(wanted, self.heads)
        self.notes += self._unusable.notes
        if self._unusable.nothing_left:
            return
        self._datasets = stored_datasets(path)
        if "residual" in self._datasets:
            self.layers = tuple(int(i) for i in self._base("layer", None))
            self.positions = tuple(_text(name) for name in self._base("position", None))
        if "attention_row" in self._datasets:
            self.attention_heads = len(self._base("attention_head", None))

    def _kept(self, head: str) -> list[int]:
        return [step for step in self._steps[head] if (head, step) not in self._unusable.places]

    def _base(self, dataset: str, layer: int | None) -> np.ndarray:
        return read_activations(self._run.activations(BASE, 0), dataset, layer)

    def _stack(
        self,
        head: str,
        dataset: str,
        layer: int | None,
        part: Callable[[np.ndarray], np.ndarray] = lambda values: values,
    ) -> np.ndarray:
        """Read a dataset at every step into one array: never more than one step beside it."""
        paths = [self._run.activations(head, step) for step in self._kept(head)]
        first = part(read_activations(paths[0], dataset, layer))
        table = np.empty((len(paths), *first.shape), first.dtype)
        table[0] = first
        for index, path in enumerate(paths[1:], start=1):
            table[index] = part(read_activations(path, dataset, layer))
        return table


def stored_datasets(path: Path) -> tuple[str, ...]:
    """List the datasets of an activations file that are not axes."""
    from critical_phase.probes.reading import dataset_names, opened

    with opened(path) as file:
        return dataset_names(file)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
