"""Open the files of a run and hand them to the analysis as arrays.

The one place that knows both the store and the analysis: neither knows the other.
"""

from functools import cached_property
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from critical_phase.analysis import Rows
from critical_phase.checkpoints import (
    Checkpoint,
    adapter_config,
    list_series,
    low_rank_factors,
    read_log,
    read_questions,
)
from critical_phase.checkpoints.training_state import LOG
from critical_phase.cli.run_folder import BASE, HEADS, RunFolder, read_record
from critical_phase.cli.token_texts import read_token_texts
from critical_phase.errors import StoreError
from critical_phase.probes import read_activations, read_attrs, read_plan, read_scores

Factors = dict[str, tuple[np.ndarray, np.ndarray, float]]


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
        self._steps = {head: self._stored_steps("scores", head) for head in (BASE, *HEADS)}
        if not self._steps[BASE]:
            raise StoreError(
                "no scores of the base model",
                where=str(run.path / "scores"),
                fix=f"probe collect {run.path}",
            )
        self.heads = tuple(head for head in HEADS if self._steps[head])
        self._series = {
            head: list_series(run.head(head)) for head in self.heads if run.head(head).is_dir()
        }
        self._check_files()
        self.notes = (*record.get("warnings", []), *self._missing(), *self._failed())
        """What a reader of the results should know about the files behind them."""
        self._describe_activations()

    @cached_property
    def rows(self) -> Rows:
        """Every (question, candidate), in the order of the plan."""
        plan = read_plan(self._run.plan)
        return Rows(
            question=plan.question,
            correct=plan.correct,
            characters=plan.characters,
            tokens=plan.tokens,
            question_ids=plan.question_ids,
            groups=plan.groups,
            texts=plan.texts,
        )

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

    def base_scores(self) -> Float[np.ndarray, " row"]:
        """Summed log-probability of every row without an adapter."""
        return read_scores(self._run.scores(BASE, 0)).logprob_sum

    def scores(self, head: str) -> Float[np.ndarray, "step row"]:
        """Summed log-probability of every row at every step."""
        paths = [self._run.scores(head, step) for step in self._steps[head]]
        return np.stack([read_scores(path).logprob_sum for path in paths])

    def residual(self, head: str, layer: int, position: str) -> Float[np.ndarray, "step row d"]:
        """Residual stream of one layer at one position."""
        return self._stack(head, "residual", layer)[:, :, self.positions.index(position)]

    def base_residual(self, layer: int, position: str) -> Float[np.ndarray, "row d"]:
        """The same without an adapter."""
        values = self._base("residual", layer)
        return values[:, self.positions.index(position)]

    def attention_row(
        self, head: str, layer: int
    ) -> Float[np.ndarray, "step row attention_head key"]:
        """Attention from the end of the answer to every key, padded with zeros."""
        return self._stack(head, "attention_row", layer)

    def base_attention_row(self, layer: int) -> Float[np.ndarray, "row attention_head key"]:
        """The same without an adapter."""
        return self._base("attention_row", layer)

    def key_length(self) -> Int[np.ndarray, " row"]:
        """Number of keys of each row that are not padding."""
        return self._base("key_length", None)

    def attention_summary(
        self, head: str
    ) -> dict[str, Float[np.ndarray, "step layer attention_head row"]]:
        """Named summaries of the attention row."""
        names = [n for n in self._datasets if n.startswith("attention_summary/")]
        return {
            name.partition("/")[2]: self._stack(head, name, None).swapaxes(2, 3) for name in names
        }

    def sparsity(self, head: str) -> dict[str, Float[np.ndarray, "step layer row"]]:
        """Named sparsity metrics of the MLP activations at the end of the answer."""
        if "sparsity" not in self._datasets:
            return {}
        values = self._stack(head, "sparsity", None)
        names = self._base("metric", None)
        return {_text(name): values[..., index] for index, name in enumerate(names)}

    def adapters(self, head: str) -> list[Factors]:
        """Per stored step: module name to (A, B, scaling); empty where it is no plain LoRA."""
        if head not in self._series:
            return []
        saved = {item.step: item for item in self._series[head].checkpoints}
        chosen = [saved[step] for step in self._steps[head] if step in saved]
        if len(chosen) != len(self._steps[head]) or not all(map(_plain, chosen)):
            return []
        return [low_rank_factors(item) for item in chosen]

    def training_log(self, head: str) -> dict[str, np.ndarray]:
        """Columns of the training log by name; empty for series made elsewhere."""
        path = self._run.head(head) / LOG
        if not path.is_file():
            return {}
        rows = read_log(path)
        names = ("step", "examples", "loss", "lr", "gradient_norm", "tokens")
        return {name: np.array([getattr(row, name) for row in rows]) for name in names}

    def _stored_steps(self, kind: str, head: str) -> tuple[int, ...]:
        files = (self._run.path / kind / head).glob("step-????????.h5")
        return tuple(sorted(int(path.stem.removeprefix("step-")) for path in files))

    def _check_files(self) -> None:
        """Refuse files of different plans, and files of adapters that are no longer there."""
        first = read_attrs(self._run.scores(BASE, 0))["plan_sha256"]
        for head in self.heads:
            saved = (
                {c.step: c.sha256 for c in self._series[head].checkpoints}
                if (head in self._series)
                else {}
            )
            for step in self._steps[head]:
                path = self._run.scores(head, step)
                attributes = read_attrs(path)
                problem = ""
                if attributes["plan_sha256"] != first:
                    problem = "this file belongs to another plan than the base model's scores"
                elif step in saved and attributes["adapter_sha256"] != saved[step]:
                    problem = "this file was collected from another adapter than the one saved now"
                if problem:
                    fix = f"probe collect {self._run.path} --overwrite"
                    raise StoreError(problem, where=str(path), fix=fix)

    def _missing(self) -> list[str]:
        """Name the steps that have an adapter and no scores."""
        found = []
        for head, series in self._series.items():
            missing = [str(s) for s in series.steps if s not in self._steps[head]]
            if missing:
                found.append(
                    f"{head}: {len(missing)} of {len(series.steps)} saved steps were not collected"
                    f" ({', '.join(missing[:8])}{', ...' if missing[8:] else ''})"
                )
        return found

    def _failed(self) -> list[str]:
        """Name the units that failed and were not repaired."""
        names = sorted(path.stem for path in (self._run.path / "failed").glob("*.json"))
        return [f"failed and left out: {', '.join(names)}"] if names else []

    def _describe_activations(self) -> None:
        """Note which activations exist for every step that has scores."""
        path = self._run.activations(BASE, 0)
        wanted = [path, *(self._run.activations(h, s) for h in self.heads for s in self._steps[h])]
        missing = [str(p.relative_to(self._run.path)) for p in wanted if not p.is_file()]
        self._datasets: tuple[str, ...] = ()
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
        self._datasets = stored_datasets(path)
        if "residual" in self._datasets:
            self.layers = tuple(int(i) for i in self._base("layer", None))
            self.positions = tuple(_text(name) for name in self._base("position", None))
        if "attention_row" in self._datasets:
            self.attention_heads = len(self._base("attention_head", None))

    def _base(self, dataset: str, layer: int | None) -> np.ndarray:
        return read_activations(self._run.activations(BASE, 0), dataset, layer)

    def _stack(self, head: str, dataset: str, layer: int | None) -> np.ndarray:
        paths = [self._run.activations(head, step) for step in self._steps[head]]
        return np.stack([read_activations(path, dataset, layer) for path in paths])


def stored_datasets(path: Path) -> tuple[str, ...]:
    """List the datasets of an activations file that are not axes."""
    from critical_phase.probes.reading import dataset_names, opened

    with opened(path) as file:
        return dataset_names(file)


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _plain(item: Checkpoint) -> bool:
    config = adapter_config(item.path)
    return not (config.get("use_dora") or config.get("lora_bias"))
