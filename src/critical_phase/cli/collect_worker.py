"""What a worker of a collection does: load the base model once, then one unit after another."""

import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.checkpoints import choose_device, dtype_named, load_model, model_sha256
from critical_phase.errors import CheckpointError
from critical_phase.probes import CollectSettings, Plan, Unit
from critical_phase.probes.job import Job
from critical_phase.worker import AbandonedError, Run

Provenance = dict[str, str | int]


class UnitFailedError(Exception):
    """A unit could not be collected; `failed/` says why."""


@dataclass(frozen=True, slots=True)
class Collection:
    """Everything that a worker is told; it shares nothing else with whoever started it."""

    run: Path
    model: str
    dtype: str
    device: str
    """As in --device; `auto` is the worker's own GPU, where it was given one."""
    plan: Plan
    settings: CollectSettings
    provenance: Provenance
    base_sha256: str
    """Of the base model as it was loaded where the collection was planned."""
    overwrite: bool
    fail_fast: bool
    units: tuple[Unit, ...]
    """All that are to be collected, by whatever worker: the gates look at all of them."""

    def job(self, model: Any) -> Job:
        """Make the job; it is not open yet."""
        return Job(
            self.run,
            model,
            self.plan,
            self.settings,
            dict(self.provenance),
            self.base_sha256,
            self.overwrite,
        )

    def __call__(self) -> Run:
        """Load the base model, once per worker.

        Raises:
            CheckpointError: It cannot be loaded here, or is another one.
        """
        model, _ = load_model(
            self.model, dtype=dtype_named(self.dtype), device=choose_device(self.device)
        )
        found = model_sha256(model)
        if found != self.base_sha256:
            raise CheckpointError(
                f"the base model on {platform.node()} is another one: its weights hash to "
                f"{found[:8]}, those of the plan to {self.base_sha256[:8]}",
                where=self.model,
                fix="give all machines the same model, best by a folder that all of them see",
            )
        return _Collecting(self, self.job(model)).run


class _Collecting:
    """A worker's job, opened with its first unit: the base is finished by then."""

    def __init__(self, told: Collection, job: Job) -> None:
        self._told, self._job = told, job

    def run(self, unit: Unit) -> dict[str, Any]:
        """Collect one unit and say how.

        Raises:
            UnitFailedError: It failed alone.
            AbandonedError: A gate failed, or the disk is full: nothing more can be done.
        """
        job = self._job
        cuts, twice = job.cuts, len(job.twice)
        try:
            if job.is_done(unit):  # an earlier attempt, or another process, was quicker
                return {"existing": True}
            if job.instrument is None:
                job.open(list(self._told.units))
            failure = job.run_unit(unit, fail_fast=self._told.fail_fast)
        except Exception as error:
            raise AbandonedError from error
        if failure is not None:
            raise UnitFailedError(failure.message)
        assert job.instrument is not None
        return {
            "existing": False,
            "cuts": job.cuts - cuts,
            "twice": len(job.twice) > twice,
            "layout": job.instrument.choice.layout,
            "layout_reason": job.instrument.choice.reason,
            "attention_way": job.instrument.scene.attention_way,
        }
