"""One measurement of side effects in progress: decides once, then one unit at a time."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from critical_phase.probes.attention_row import own_config
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.divergence import BaseMemory, Divergences, DivergenceScorer
from critical_phase.probes.effect_files import (
    DrawnExamples,
    Effects,
    effects_attributes,
    effects_coordinates,
    effects_datasets,
    effects_key,
    right_rows,
)
from critical_phase.probes.forward import forward_all
from critical_phase.probes.gradient_noise import gradient_norms
from critical_phase.probes.leftovers import remove_leftovers
from critical_phase.probes.neutral_texts import NeutralTexts
from critical_phase.probes.plan import Plan, check_fits
from critical_phase.probes.sites import check_sites, resolve
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.store import Attributes, read_attrs, to_json, write_file
from critical_phase.probes.unit_work import Measured, UnitWork
from critical_phase.probes.units import Unit, is_done, unit_path

_LOGIT_BYTES = 256 << 20
"""Logits of one pass take at most this much, unless a single window takes more."""


@dataclass(frozen=True, eq=False)
class EffectsPlan:
    """What is read at every checkpoint."""

    questions: Plan
    """All candidates; the right ones are read."""
    texts: NeutralTexts | None = None
    examples: Mapping[str, DrawnExamples] | None = None
    """Training examples by head; heads without any get no gradients."""

    def drawn(self, unit: Unit) -> DrawnExamples | None:
        """Return the examples whose gradients are taken at a unit; the base has none."""
        return None if unit.checkpoint is None else (self.examples or {}).get(unit.head)


@dataclass(frozen=True, slots=True)
class EffectsSettings:
    """How passes are cut; none of these changes a number beyond rounding."""

    batch_tokens: int = 2048
    """Most tokens of one forward pass; fewer where the vocabulary is large."""
    memory_bytes: int = 1 << 30
    """The base's log-probabilities are kept if they fit into this, else made anew."""


class EffectsJob(UnitWork):
    """What stays the same for all units of one call."""

    command = "effects"

    def __init__(
        self,
        run: Path,
        model: Any,
        plan: EffectsPlan,
        settings: EffectsSettings,
        provenance: Attributes,
        base_sha256: str,
        *,
        overwrite: bool,
    ) -> None:
        """Note everything; the model is not touched yet."""
        super().__init__(run, provenance)
        self._plan, self._settings = plan, settings
        self._model, self._dtype = model, str(model.dtype).removeprefix("torch.")
        self._base_sha256, self._overwrite = base_sha256, overwrite
        self._right = right_rows(plan.questions)
        plans = [self._right] + ([] if plan.texts is None else [plan.texts.plan])
        vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.memory = BaseMemory(plans, vocabulary, settings.memory_bytes)
        self._most = max(1, min(settings.batch_tokens, _LOGIT_BYTES // (4 * vocabulary)))
        self._slot: ModelSlot | None = None

    def is_done(self, unit: Unit) -> bool:
        """Tell whether a unit's file is there; note it if so.

        Raises:
            StoreError: The file was made in another way and is not to be overwritten.
        """
        path, key = unit_path(self.run, "effects", unit), self._key(unit)
        if not is_done(path, key, overwrite=self._overwrite):
            return False
        self._manifest.ensure("effects", unit, path, key)
        self._stale.check(unit.name, unit.checkpoint, str(read_attrs(path)["values_sha256"]))
        return True

    def open(self, units: list[Unit]) -> None:
        """Attach a slot for adapters and prove that the model is read where it should be.

        Raises:
            ConfigError: The architecture is unknown, or a question does not fit the model.
            CheckpointError: A gate failed.
        """
        remove_leftovers(self.run / "effects")
        own_config(self._model)
        self._slot = ModelSlot.open(self._model, units, self._plan.questions, self._base_sha256)
        model: Any = self._slot.model
        config = model.config.get_text_config()
        check_fits(self._plan.questions, getattr(config, "max_position_embeddings", None))
        self._sites = resolve(model)
        self._packers = {"questions": self._packer(self._right)}
        if self._plan.texts is not None:
            self._packers["texts"] = self._packer(self._plan.texts.plan)
        with self._slot.base():
            check_sites(model, self._sites, next(self._packers["questions"].alone([0])).inputs)

    def measure(self, unit: Unit) -> Measured:
        """Measure divergences and gradients of one unit."""
        slot, drawn = self._slot, self._plan.drawn(unit)
        assert slot is not None
        gradients = None
        # A base that is held already must not be taken out twice: the inner way back ends both.
        base = self._logits if unit.checkpoint is None else self._base_logits
        with slot.holding(unit):
            found = {name: self._compare(packer, base) for name, packer in self._packers.items()}
            if drawn is not None:
                with slot.live() as parameters:
                    gradients = gradient_norms(slot.model, parameters, drawn.examples)
        effects = Effects(found["questions"], found.get("texts"), gradients)
        values = [part.loss.tobytes() + part.to_base.tobytes() for part in found.values()]
        digest = hashlib.sha256(b"".join(values)).hexdigest()
        return digest, lambda: self._write(unit, effects, digest)

    def _write(self, unit: Unit, effects: Effects, digest: str) -> None:
        slot, plan = self._slot, self._plan
        assert slot is not None
        path, key = unit_path(self.run, "effects", unit), self._key(unit)
        attributes = effects_attributes(unit, self.run, slot.model, plan.questions, key)
        attributes |= self._provenance | {
            "merged": int(slot.merged and unit.checkpoint is not None),
            "base_logprobs": self.memory.way,
            "window": 0 if plan.texts is None else plan.texts.window,
            "unit_key": to_json(key),
            "values_sha256": digest,
        }
        coordinates = effects_coordinates(plan.questions, plan.texts, plan.drawn(unit))
        write_file(path, "effects", effects_datasets(effects, plan.texts), coordinates, attributes)
        self._manifest.add("effects", unit, path, key)

    def _compare(self, packer: Packer, base: Callable[[Batch], Tensor]) -> Divergences:
        scorer = DivergenceScorer(self._sites.unembed, packer.plan, base, self.memory)
        assert self._slot is not None
        forward_all(self._slot.model, packer, scorer, [], {})
        return scorer.divergences

    def _base_logits(self, batch: Batch) -> Tensor:
        assert self._slot is not None
        with self._slot.base():
            return self._logits(batch)

    def _logits(self, batch: Batch) -> Tensor:
        assert self._slot is not None
        logits: Tensor = self._slot.model(**batch.inputs).logits
        return logits

    def _packer(self, plan: Plan) -> Packer:
        model: Any = self._model
        return Packer(
            plan,
            "naive",
            model.config.get_text_config(),
            dtype=model.dtype,
            device=model.device,
            batch_tokens=self._most,
            lean=True,
        )

    def _key(self, unit: Unit) -> dict[str, Any]:
        plan = self._plan
        return effects_key(
            unit, plan.questions, plan.texts, plan.drawn(unit), self._base_sha256, self._dtype
        )
