"""Collect a head while it is trained: the same instruments on the weights as they stand.

The base and the adapter are in memory already, so nothing is loaded, copied or merged.
Files, names and keys are those of `collect`, which later takes what is here as existing.
"""

import contextlib
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from peft import PeftModel

from critical_phase.checkpoints import Checkpoint, model_sha256, tensors_sha256
from critical_phase.checkpoints.peft_state import adapter_state
from critical_phase.errors import ConfigError
from critical_phase.probes.collectors import COLLECTORS
from critical_phase.probes.held_still import held_still
from critical_phase.probes.job import Job
from critical_phase.probes.landing import is_whole
from critical_phase.probes.plan import Plan
from critical_phase.probes.plan_csv import write_plan
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.stale import StaleAdapters
from critical_phase.probes.store import Attributes, read_attrs, to_json
from critical_phase.probes.unit_work import Failure
from critical_phase.probes.units import BASE, Unit, unit_path


@dataclass(frozen=True, slots=True)
class LiveReport:
    """What became of the steps of one head so far."""

    done: list[Unit] = field(default_factory=list)
    existing: list[Unit] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)


class LiveCollection:
    """Reads one head at its saved steps, right after the optimizer's step.

    Call `at_step` before a step's adapter is published: then every saved adapter has its
    files, however the training ends. What was trained stays bit-identical (`held_still`).
    """

    def __init__(
        self,
        run: Path,
        base: Any,
        plan: Plan,
        head: str,
        *,
        settings: CollectSettings | None = None,
        provenance: Attributes | None = None,
        base_sha256: str = "",
        overwrite: bool = False,
    ) -> None:
        """Note everything; nothing is run or written yet.

        Args:
            run: Run folder; `plan.csv`, `scores/`, `activations/`, `failed/` and
                `manifest.jsonl` go into it.
            base: The base model, before or after an adapter was put into it.
            plan: The rows, the same for every head of a run.
            head: Name of the head that is trained.
            settings: What to read and how to store it.
            provenance: Attributes for every file; see `collect`.
            base_sha256: `model_sha256` of the base; needed where it holds an adapter already.
            overwrite: Replace files that were collected in another way.

        Raises:
            ConfigError: The settings do not fit the plan, or the base's hash is not known.
        """
        if not base_sha256 and any("lora_" in name for name, _ in base.named_parameters()):
            raise ConfigError(
                "the base holds an adapter already, so its own weights cannot be hashed",
                fix="give base_sha256=model_sha256(base), taken before get_peft_model",
            )
        self.run, self.head, self.plan = run, head, plan
        self.settings = settings or CollectSettings()
        self.settings.check(tuple(COLLECTORS), plan.rows)
        if self.settings.backend != "hooks":
            raise ConfigError(
                "a model in training is read by plain hooks alone", fix="leave backend out"
            )
        self._overwrite = overwrite
        self.report = LiveReport()
        sha = base_sha256 or model_sha256(base)
        given = dict(provenance or {})
        self._job = LiveJob(run, base, plan, self.settings, given, sha, overwrite)

    @property
    def instrument(self) -> Any:
        """Layout and attention way, once the first step was read; None before."""
        return self._job.instrument

    def open(self, model: Any, step: int = 0) -> None:
        """Write plan.csv, run every gate and collect the base; a second call does nothing.

        Args:
            model: The PEFT model in training, its one adapter active.
            step: Optimizer steps done.

        Raises:
            ConfigError: The model cannot be read by these settings.
            CheckpointError: A gate failed, before anything is collected.
            StoreError: The run holds another plan, the base was collected in another way,
                or the disk is full.
        """
        if self._job.is_open:
            return
        adapter, file = _one_adapter(model, step), self.run / "plan.csv"
        heads = {folder.name for folder in self.run.glob("scores/*")}
        if self._overwrite and not heads - {BASE, self.head}:
            file.unlink(missing_ok=True)
        write_plan(self.plan, file, no_text=self.settings.no_text)
        self._job.adapter = adapter
        self._job.open([Unit(BASE, 0)])
        self._collect(Unit(BASE, 0))

    def at_step(self, model: Any, step: int, path: Path) -> None:
        """Collect the adapter that a model holds now, unless its files are there.

        Args:
            model: The PEFT model in training, its one adapter active.
            step: Optimizer steps done.
            path: Where the adapter of this step is, or will be, published.

        Raises:
            ConfigError: The model cannot be read by these settings.
            CheckpointError: A gate failed, before anything is collected.
            StoreError: A file was collected in another way, or the disk is full.
        """
        self.open(model, step)
        sha = tensors_sha256(adapter_state(model))
        self._collect(Unit(self.head, step, Checkpoint(step, path, sha)))

    def has_files(self, head: str, step: int) -> bool:
        """Tell whether every file of a step of a head is there, whatever it holds."""
        return self._job.has_files(Unit(head, step))

    def _collect(self, unit: Unit) -> None:
        if unit in (*self.report.done, *self.report.existing):
            return  # a replay comes to step 0 twice
        self._job.drop_orphans(unit)
        if self._job.is_done(unit):
            self._job.forgive(unit)
            self.report.existing.append(unit)
        elif (failure := self._job.run_unit(unit, fail_fast=False)) is None:
            self.report.done.append(unit)
        else:
            self.report.failed.append(failure)


class LiveSlot(ModelSlot):
    """The model in training, held still for as long as it is read."""

    def __init__(self, adapter: PeftModel) -> None:
        """Hold the model; the instruments hang on its base, whose layers run the adapter."""
        super().__init__(adapter.get_base_model(), None)
        self._adapter = adapter

    @contextlib.contextmanager
    def holding(self, unit: Unit) -> Iterator[None]:
        """Hold still at the unit that the training stands at, or at the base."""
        if unit.checkpoint is None:
            with self.base():
                yield
            return
        with held_still(self._adapter):
            yield

    @contextlib.contextmanager
    def base(self) -> Iterator[None]:
        """Switch the adapter off for the length of a block."""
        with held_still(self._adapter), _no_word_about_biases(), self._adapter.disable_adapter():
            yield


class LiveJob(Job):
    """A collection whose adapter is in the model from the start."""

    _owns_model = False
    adapter: PeftModel | None = None
    """The model in training; set before `open`."""

    @property
    def is_open(self) -> bool:
        """Whether the gates were run."""
        return self.instrument is not None

    def _open_slot(self, units: list[Unit]) -> ModelSlot:
        assert self.adapter is not None
        # What is read is what is trained, so nothing can be stale; adapters that the check
        # would look up in their files are not published yet.
        self._stale = _NeverStale()
        return LiveSlot(self.adapter)

    def has_files(self, unit: Unit) -> bool:
        """Tell whether every file of a unit is there, whatever it holds."""
        return all(unit_path(self.run, kind, unit).exists() for kind in self._kinds)

    def drop_orphans(self, unit: Unit) -> None:
        """Delete the files of another adapter that stood at this step before a kill.

        A step that is trained again on another machine may round otherwise; the adapter
        that the file was read from is gone then. Other differences are left to `is_done`.
        """
        for kind in self._kinds:
            path = unit_path(self.run, kind, unit)
            if not path.exists():
                continue
            stored = json.loads(str(read_attrs(path).get("unit_key") or "{}"))
            wanted = json.loads(to_json(self._key(kind, unit)))
            apart = {k for k in {*stored, *wanted} if stored.get(k) != wanted.get(k)}
            if apart == {"adapter_sha256"} and not _saved_as(unit, stored["adapter_sha256"]):
                path.unlink()


def _saved_as(unit: Unit, sha256: str) -> bool:
    """Tell whether the adapter that a file was read from is still saved at its step."""
    if unit.checkpoint is None or not unit.checkpoint.path.exists():
        return False
    return is_whole(replace(unit.checkpoint, sha256=sha256))


class _NeverStale(StaleAdapters):
    """Compares nothing."""

    def note(self, *given: object) -> None:
        """Note nothing."""

    def check(self, *given: object) -> None:
        """Refuse nothing."""


def _one_adapter(model: Any, step: int) -> PeftModel:
    """Refuse what cannot be read as one LoRA on a base that it leaves alone.

    Raises:
        ConfigError: Full weights, several adapters, or trained biases that have moved.
    """
    if not isinstance(model, PeftModel):
        raise ConfigError(
            f"a {type(model).__name__} holds no adapter: in training, adapters alone are read",
            fix="train with peft, or run probe collect on the saved weights",
        )
    names = list(model.peft_config)
    if len(names) != 1 or names != ["default"]:
        raise ConfigError(
            f"the model holds the adapters {', '.join(names)}; in training, one is read",
            fix="run probe collect on the saved adapters",
        )
    if step and getattr(model.peft_config["default"], "bias", "none") != "none":
        raise ConfigError(
            f"biases are trained too, so at step {step} the base is no longer in the model",
            fix="begin at step 0, or run probe collect on the saved adapters",
        )
    return model


@contextlib.contextmanager
def _no_word_about_biases() -> Iterator[None]:
    """Hide that trained biases stay when an adapter is off: at step 0 they are the base's."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Careful, disabling adapter layers with bias")
        yield
