"""One collection in progress: decides once, then turns units into files one at a time."""

import hashlib
from pathlib import Path
from typing import Any

from critical_phase.probes.collector import Calibration
from critical_phase.probes.instrument import Instrument, prepare
from critical_phase.probes.leftovers import remove_leftovers
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.store import Kind, read_activations, read_attrs, to_json, write_file
from critical_phase.probes.unit_files import (
    activation_datasets,
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
        self._model, self._dtype = model, str(model.dtype).removeprefix("torch.")
        self._base_sha256, self._overwrite = base_sha256, overwrite
        self._slot: ModelSlot | None = None
        self._kinds: tuple[Kind, ...] = (
            ("activations", "scores") if settings.collectors else ("scores",)
        )

    def is_done(self, unit: Unit) -> bool:
        """Tell whether every file of a unit is there; note those that are.

        Raises:
            StoreError: A file was made in another way and is not to be overwritten.
        """
        missing = self._missing(unit)
        if not missing:
            for kind in self._kinds:
                path = unit_path(self.run, kind, unit)
                self._manifest.ensure(kind, unit, path, self._key(kind, unit))
            stored = read_attrs(unit_path(self.run, "scores", unit))
            self._stale.check(unit.name, unit.checkpoint, str(stored.get("scores_sha256", "")))
        return not missing

    def open(self, units: list[Unit]) -> None:
        """Attach a slot for adapters, run every gate, and build the instruments."""
        for kind in self._kinds:
            remove_leftovers(self.run / kind)
        self._slot = ModelSlot.open(self._model, units, self.plan, self._base_sha256)
        with self._slot.base():
            self.instrument = prepare(
                self._slot.model, self.plan, self.settings, self._stored_calibration()
            )

    def measure(self, unit: Unit) -> Measured:
        """Score and read every row under one unit."""
        assert self._slot is not None
        assert self.instrument is not None
        with self._slot.holding(unit):
            scores = self.instrument.measure()
        digest = hashlib.sha256(scores.logprob_sum.tobytes()).hexdigest()
        return digest, lambda: self._write(unit, scores, digest)

    def _write(self, unit: Unit, scores: Scores, digest: str) -> None:
        assert self._slot is not None
        assert self.instrument is not None
        for kind in self._missing(unit):
            path, key = unit_path(self.run, kind, unit), self._key(kind, unit)
            attributes = file_attributes(unit, self.run, self._slot.merged, self.instrument)
            attributes |= self._provenance | {"unit_key": to_json(key), "scores_sha256": digest}
            attributes |= {"base_sha256": self._base_sha256}
            if kind == "scores":
                datasets = score_datasets(self.plan, scores)
                coordinates = score_coordinates(self.plan)
            else:
                datasets = activation_datasets(self.plan, self.instrument)
                coordinates = self.instrument.coordinates
            write_file(path, kind, datasets, coordinates, attributes)
            self._manifest.ensure(kind, unit, path, key)

    def _missing(self, unit: Unit) -> list[Kind]:
        return [
            kind
            for kind in self._kinds
            if not is_done(
                unit_path(self.run, kind, unit), self._key(kind, unit), overwrite=self._overwrite
            )
        ]

    def _key(self, kind: Kind, unit: Unit) -> dict[str, Any]:
        return unit_key(kind, unit, self.plan, self.settings, self._base_sha256, self._dtype)

    def _stored_calibration(self) -> Calibration | None:
        """Read what the base fixed from its finished file, so that all files agree."""
        base = Unit(BASE, 0)
        path = unit_path(self.run, "activations", base)
        if "sparsity" not in self.settings.collectors or "activations" in self._missing(base):
            return None
        return Calibration(
            read_activations(path, "sparsity_eps"),
            read_activations(path, "massive_dimensions").astype("int64"),
        )
