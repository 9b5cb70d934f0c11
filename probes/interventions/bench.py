"""Scores the rows of a plan under one state after another, with activations changed or not."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention_row import own_config
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.collector import Scene
from critical_phase.probes.forward import attached, in_batches
from critical_phase.probes.instrument import make_packer, make_scene, prepare
from critical_phase.probes.interventions.edits import Edit
from critical_phase.probes.interventions.mixture import Mixture
from critical_phase.probes.interventions.slot_kinds import slot_kinds
from critical_phase.probes.interventions.update import State
from critical_phase.probes.layout import LayoutChoice, choose_layout
from critical_phase.probes.plan import Plan
from critical_phase.probes.scoring import Scorer
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sites import Sites, check_sites


class Bench:
    """A model on which cells are measured, over one set of rows.

    States alone run as scores do anywhere: questions shared between their candidates, only the
    logits that are needed. Edits of activations need every slot, so they run in batches of their
    own, in the layout that is exact for the model.
    """

    def __init__(self, mixture: Mixture, plan: Plan, *, batch_tokens: int = 4096) -> None:
        """Find the sites, and prove the layout on the base.

        Raises:
            ConfigError: The architecture is unknown, or a row does not fit the model.
            CheckpointError: The sites do not hold what their names say.
        """
        self.mixture, self.plan = mixture, plan
        self._settings = CollectSettings(collectors=(), batch_tokens=batch_tokens)
        own_config(mixture.model)
        with mixture.holding({}):
            self._instrument = prepare(mixture.model, plan, self._settings)
        self._open: tuple[Scene, Packer, LayoutChoice] | None = None

    @property
    def model(self) -> Any:
        """The model that is run."""
        return self.mixture.model

    @property
    def sites(self) -> Sites:
        """Where its parts are."""
        return self._instrument.scene.sites

    @property
    def layouts(self) -> dict[str, str]:
        """How rows go through the model, for states and, once one ran, for edits."""
        choice = self._instrument.choice
        found = {"states": f"{choice.layout}: {choice.reason}"}
        if self._open is not None:
            found["edits"] = f"{self._open[2].layout}: {self._open[2].reason}"
        return found

    def score(self, state: State, edit: Edit | None = None) -> Float[np.ndarray, " row"]:
        """Return the log-likelihood of every row, in nats.

        Args:
            state: What the adapted modules hold.
            edit: What is done to activations on the way.

        Raises:
            CheckpointError: The model gave values that are not finite.
        """
        self.mixture.hold(state)
        if edit is None:
            return self._instrument.measure().logprob_sum
        return self._edited(edit)

    @contextlib.contextmanager
    def under(self, state: State) -> Iterator[None]:
        """Hold another state for a block: for an edit's donor."""
        with self.mixture.holding(state):
            yield

    @torch.no_grad()
    def run(self, batch: Batch) -> Tensor:
        """Run one batch of `open_packer` and return all that the output map gives."""
        logits: Tensor = self.model(**batch.inputs).logits
        return logits

    def kinds(self, batch: Batch) -> Tensor:
        """Say of every slot of a batch what it is; see `slot_kinds`."""
        return slot_kinds(self.plan, batch)

    @property
    def open_packer(self) -> Packer:
        """Batches that know every slot, in the layout that is exact for this model."""
        return self._opened()[1]

    def _opened(self) -> tuple[Scene, Packer, LayoutChoice]:
        if self._open is None:
            with self.mixture.holding({}):
                self._open = self._make_open()
        return self._open

    def _make_open(self) -> tuple[Scene, Packer, LayoutChoice]:
        scene = make_scene(self.model, self.plan, self._settings)
        tokens = self._settings.batch_tokens
        naive, packed = make_packer(scene, "naive", tokens), make_packer(scene, "packed", tokens)
        check_sites(self.model, scene.sites, next(naive.alone([0])).inputs)
        choice = choose_layout(scene, packed, naive)
        return scene, packed if choice.layout == "packed" else naive, choice

    @torch.no_grad()
    def _edited(self, edit: Edit) -> Float[np.ndarray, " row"]:
        scene, packer, _ = self._opened()
        scorer = Scorer(scene.sites.unembed, self.plan.rows)

        def run(batch: Batch) -> None:
            edit.prepare(self, batch)
            scorer.start(batch)
            with attached([scorer]), edit.attached(self):
                values = scorer.read(self.run(batch))
            scorer.add(values)

        in_batches(packer, run)
        found = scorer.scores.logprob_sum
        if not np.isfinite(found).all():
            raise CheckpointError(
                "the changed model gives log-probabilities that are not numbers",
                fix="take a smaller dose",
            )
        return found
