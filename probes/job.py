"""One collection in progress: decides once, then turns units into files one at a time."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from critical_phase.errors import ConfigError
from critical_phase.probes.attention_row import keep_readable
from critical_phase.probes.bridge_backend import bridge_instrument
from critical_phase.probes.collector import Arrays, Calibration
from critical_phase.probes.damaged import Damage
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.leftovers import remove_leftovers
from critical_phase.probes.lora_hidden import refuse_full_weights
from critical_phase.probes.plan import Plan
from critical_phase.probes.room import new_room
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.store import Kind, read_activations, read_attrs, to_json, write_file
from critical_phase.probes.unit_files import (
    activation_datasets,
    axes_of,
    collector_attributes,
    file_attributes,
    score_coordinates,
    score_datasets,
    unit_key,
)
from critical_phase.probes.unit_work import Measured, UnitWork
from critical_phase.probes.units import BASE, Unit, is_done, unit_path


class Job(UnitWork):
    """What stays the same for all units of one call."""

    command = "collect"
    _owns_model = True
    """Whether nobody else uses the model, so that it need not be put back after each unit."""

    def __init__(
        self,
        run: Path,
        model: Any,
        plan: Plan,
        settings: CollectSettings,
        provenance: dict[str, str | int | float],
        base_sha256: str,
        overwrite: bool,
    ) -> None:
        """Note everything; the model is not touched yet."""
        super().__init__(run, provenance)
        self.plan, self.settings = plan, settings
        self.instrument: Instrument | None = None
        self.cuts = 0
        """How often a batch was halved because it did not fit the memory."""
        self.twice: list[Unit] = []
        """Units that another process finished while they were measured here."""
        self._absent: dict[str, list[Kind]] = {}
        self._spare: Arrays | None = None
        self._model = model
        self._dtype = str(settings.compute(model.dtype)).removeprefix("torch.")
        self._base_sha256, self._overwrite = base_sha256, overwrite
        self._slot: ModelSlot | None = None
        self._kinds: tuple[Kind, ...] = (
            ("activations", "scores") if settings.collectors else ("scores",)
        )

    def is_done(self, unit: Unit) -> bool:
        """Tell whether every file of a unit is there; note those that are.

        Raises:
            StoreError: A file was made in another way and is not to be overwritten, or is
                damaged.
        """
        missing = self._absent[unit.name] = self._missing(unit)
        if not missing:
            damage = Damage()
            for kind in self._kinds:
                path = unit_path(self.run, kind, unit)
                with damage.noted():
                    self._manifest.ensure(kind, unit, path, self._key(kind, unit))
            damage.refuse()
            stored = read_attrs(unit_path(self.run, "scores", unit))
            self._stale.check(unit.name, unit.checkpoint, str(stored.get("scores_sha256", "")))
        return not missing

    def open(self, units: list[Unit]) -> None:
        """Attach a slot for adapters, run every gate, and build the instruments."""
        if "lora_hidden" in self.settings.collectors:
            refuse_full_weights({u.checkpoint.kind for u in units if u.checkpoint is not None})
        for kind in self._kinds:
            remove_leftovers(self.run / kind)
        self._cast()
        self._slot = self._open_slot(units)
        if self.settings.adapter_scale != 1.0:
            self._slot.scale(self.settings.adapter_scale)
        with self._slot.base():
            self.instrument = prepare(
                self._slot.model,
                self.plan,
                self.settings,
                self._stored_calibration("sparsity", "sparsity_eps", "massive_dimensions"),
                self._stored_calibration(
                    "residual_sparsity", "residual_sparsity_eps", "residual_massive_dimensions"
                ),
            )
        if self._owns_model and self._reads_beside():
            keep_readable(self._slot.model)
        room = new_room(self.instrument.arrays, self.run)
        self.instrument = replace(self.instrument, arrays=room)
        if self.settings.backend == "bridge":
            self.instrument = bridge_instrument(self.instrument, self._slot, units, self.settings)
        self._spare = new_room(self.instrument.arrays, self.run) if self.behind else None

    def _cast(self) -> None:
        """Give the model another type where one is asked for; its weights keep their values."""
        wanted = self.settings.compute(self._model.dtype)
        if wanted == self._model.dtype:
            return
        if torch.promote_types(wanted, self._model.dtype) != wanted:
            raise ConfigError(
                f"asked to compute in {self._dtype}, the model has {self._model.dtype}",
                fix="ask for a type that holds all its weights, such as float64",
            )
        self._model.to(wanted)

    def _reads_beside(self) -> bool:
        assert self.instrument is not None
        asked = "attention" in self.settings.collectors and self.settings.backend == "hooks"
        return asked and self.instrument.scene.attention_way == "interface"

    def _open_slot(self, units: list[Unit]) -> ModelSlot:
        return ModelSlot.open(self._model, units, self.plan, self._base_sha256)

    def measure(self, unit: Unit) -> Measured:
        """Score and read every row under one unit."""
        assert self._slot is not None
        assert self.instrument is not None
        with self._slot.holding(unit):
            scores = self.instrument.measure()
        self.cuts += scores.cuts
        self._note_stream(unit, scores)
        digest = hashlib.sha256(scores.logprob_sum.tobytes()).hexdigest()
        measured = self.instrument
        if self._spare is not None:  # the next unit goes there, while this one is written
            self.instrument = replace(measured, arrays=self._spare)
            self._spare = measured.arrays
        return digest, lambda: self._write(unit, measured, scores, digest)

    def _note_stream(self, unit: Unit, scores: Scores) -> None:
        """Let the activations be compared with the scores, where nothing rounds them."""
        assert self.instrument is not None
        scene, arrays = self.instrument.scene, self.instrument.arrays
        exact = scene.storage_dtype == scene.model.dtype
        if "residual" in arrays and exact and "question_end" in scene.positions:
            at = scene.positions.index("question_end")
            self._stale.note(unit.name, unit.checkpoint, arrays["residual"][-1][:, at], scores)

    def _write(self, unit: Unit, instrument: Instrument, scores: Scores, digest: str) -> None:
        assert self._slot is not None
        missing = self._missing(unit)
        if missing != self._absent.get(unit.name, missing):
            self.twice.append(unit)
        for kind in self._kinds:
            path, key = unit_path(self.run, kind, unit), self._key(kind, unit)
            if kind not in missing:  # its line may be missing: a kill came right before it
                self._manifest.ensure(kind, unit, path, key)
                continue
            attributes = file_attributes(unit, self.run, self._slot.merged, instrument)
            attributes |= self._provenance | {"unit_key": to_json(key), "scores_sha256": digest}
            attributes |= {"base_sha256": self._base_sha256}
            if kind == "scores":
                datasets = score_datasets(self.plan, scores)
                coordinates = score_coordinates(self.plan)
            else:
                adapter = unit.checkpoint is not None
                datasets = activation_datasets(self.plan, instrument, adapter=adapter)
                coordinates = axes_of(datasets, instrument)
                attributes |= collector_attributes(unit, instrument, self.settings)
            write_file(path, kind, datasets, coordinates, attributes)
            self._manifest.add(kind, unit, path, key)

    def _missing(self, unit: Unit) -> list[Kind]:
        missing: list[Kind] = []
        damage = Damage()
        for kind in self._kinds:
            path, key = unit_path(self.run, kind, unit), self._key(kind, unit)
            with damage.noted():
                if not is_done(path, key, overwrite=self._overwrite):
                    missing.append(kind)
        damage.refuse()
        return missing

    def _key(self, kind: Kind, unit: Unit) -> dict[str, Any]:
        return unit_key(kind, unit, self.plan, self.settings, self._base_sha256, self._dtype)

    def _stored_calibration(self, collector: str, eps: str, massive: str) -> Calibration | None:
        """Read what the base fixed from its finished file, so that all files agree."""
        base = Unit(BASE, 0)
        path = unit_path(self.run, "activations", base)
        if collector not in self.settings.collectors or "activations" in self._missing(base):
            return None
        return Calibration(
            read_activations(path, eps), read_activations(path, massive).astype("int64")
        )
