"""A model with everything decided: sites found, layout gated, collectors built, room made."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from critical_phase.errors import CheckpointError
from critical_phase.probes.attention_gate import choose_attention
from critical_phase.probes.attention_row import own_config
from critical_phase.probes.batches import Layout, Packer
from critical_phase.probes.cached_batches import CachedPacker
from critical_phase.probes.calibration import calibrate
from critical_phase.probes.collector import (
    Arrays,
    Calibration,
    Collector,
    Coordinate,
    Scene,
    SecondPass,
)
from critical_phase.probes.collectors import COLLECTORS, build, coordinates_of
from critical_phase.probes.forward import after_stem, allocate, forward_all, read_stem
from critical_phase.probes.head_site import HEAD_READERS, prove_heads
from critical_phase.probes.last_mlp import LastMlpChoice, choose_last_mlp
from critical_phase.probes.layout import (
    LayoutChoice,
    choose_layout,
    choose_score_layout,
    gate_questions,
)
from critical_phase.probes.own_gate import check_batch_free
from critical_phase.probes.plan import Plan, check_fits
from critical_phase.probes.residual import stream_modules
from critical_phase.probes.scoring import Scorer, Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sites import check_sites, need, resolve
from critical_phase.probes.stem import WORTH, shared_start
from critical_phase.probes.transfer import transfer_for


@dataclass(frozen=True, eq=False)
class Instrument:
    """Reads every row of a plan from one model, whatever adapter it holds now."""

    scene: Scene
    packer: Packer
    choice: LayoutChoice
    collectors: tuple[Collector, ...]
    arrays: Arrays
    """One tensor per dataset, filled anew by every `measure`."""
    coordinates: dict[str, Coordinate]

    @property
    def sizes(self) -> dict[str, int]:
        """Length of each axis."""
        return {name: len(values) for name, values in self.coordinates.items()}

    def own(self, settings: CollectSettings) -> tuple[Collector, ...]:
        """Return the collectors that come from the user's own files."""
        names = {one.name for one in settings.own_collectors}
        return tuple(one for one in self.collectors if one.name in names)

    def measure(self) -> Scores:
        """Run all rows once; `arrays` then hold what the collectors read.

        Raises:
            CheckpointError: The model gave values that are not finite.
        """
        scene = self.scene
        scorer = Scorer(scene.sites.unembed, scene.plan.rows, scene.transfer, scene.last_mlp)
        for one in self.collectors:  # ours write all they hold; others may add or leave out
            if type(one) not in COLLECTORS.values():
                for dataset in one.datasets:
                    self.arrays[dataset.name].zero_()
        first = [one for one in self.collectors if not isinstance(one, SecondPass)]
        with scene.transfer:
            cuts = forward_all(scene.model, self.packer, scorer, first, self.arrays)
        scores = scorer.scores
        if not np.isfinite(scores.logprob_sum).all():
            row = int(np.argmin(np.isfinite(scores.logprob_sum)))
            raise CheckpointError(
                f"the model gives {scores.logprob_sum[row]} as the log-probability of row {row}",
                fix="training diverged, or the weights are damaged: leave this step out",
            )
        for collector in self.collectors:
            if isinstance(collector, SecondPass):
                collector.second_pass(self.packer, scores, self.arrays)
        choice = self.choice
        return replace(scores, layout=choice.layout, layout_reason=choice.reason, cuts=cuts)


@torch.no_grad()
def prepare(
    model: Any,
    plan: Plan,
    settings: CollectSettings,
    calibration: Calibration | None = None,
    residual_calibration: Calibration | None = None,
) -> Instrument:
    """Find sites, prove them, choose layout and attention way, and make room.

    Args:
        model: The base model, adapters off, in evaluation mode.
        plan: The rows.
        settings: What to collect, and how.
        calibration: What the base fixed for sparsity; worked out when it is not given.
        residual_calibration: The same for the residual stream.

    Raises:
        ConfigError: The model or the settings cannot be used for this plan.
        CheckpointError: A gate failed.
    """
    settings.check(tuple(COLLECTORS), plan.rows)
    own_config(model)
    scene = make_scene(model, plan, settings)
    naive = make_packer(scene, "naive", settings.batch_tokens)
    if not settings.collectors:
        offers = score_packers(scene, settings)
        chosen, choice = choose_score_layout(scene, offers, naive, asked=settings.layout)
        return _build(scene, chosen, choice, settings, calibration)
    inputs = next(naive.alone([0])).inputs
    proved = check_sites(model, scene.sites, inputs)
    if settings.own_collectors or HEAD_READERS & set(settings.collectors):
        proved = prove_heads(model, proved, inputs, scene.attention_heads)
    scene = replace(scene, sites=proved)
    packed = make_packer(scene, "packed", settings.batch_tokens)
    # The gate compares what the model computes, so it must not round to the storage type.
    exact = replace(scene, storage_dtype=torch.float32)
    choice = choose_layout(exact, packed, naive, asked=settings.layout)
    packer = packed if choice.layout == "packed" else naive
    scene = replace(scene, residual_calibration=residual_calibration)
    instrument = _build(scene, packer, choice, settings, calibration)
    check_batch_free(instrument.scene, instrument.own(settings), instrument.sizes, packer, naive)
    return instrument


def make_scene(model: Any, plan: Plan, settings: CollectSettings) -> Scene:
    """Find the sites of a model and note its sizes.

    Raises:
        ConfigError: The architecture is unknown, or a row does not fit the model.
    """
    config = model.config.get_text_config()
    check_fits(plan, getattr(config, "max_position_embeddings", None))
    return Scene(
        model=model,
        sites=resolve(model, dict(settings.site_paths)),
        plan=plan,
        storage_dtype=settings.storage(model.dtype),
        d_model=config.hidden_size,
        attention_heads=getattr(config, "num_attention_heads", 0),
        pattern_rows=settings.pattern_rows,
        positions=settings.read_positions,
        residual_sites=settings.read_sites,
        transfer=transfer_for(model.device),
    )


def make_packer(
    scene: Scene, layout: Layout, batch_tokens: int, *, lean: bool = False, shared: int = 0
) -> Packer:
    """Make the batches of a scene in one layout."""
    model: Any = scene.model
    return (CachedPacker if layout == "cached" else Packer)(
        scene.plan,
        layout,
        model.config.get_text_config(),
        dtype=model.dtype,
        device=model.device,
        batch_tokens=batch_tokens,
        lean=lean,
        shared=shared,
    )


def score_packers(scene: Scene, settings: CollectSettings) -> list[Packer]:
    """Make the batches of every layout that scores alone may use, the quickest first."""
    shared = shared_start(scene.plan)
    starts = (shared, 0) if shared >= WORTH else (0,)
    layouts: tuple[Layout, ...] = ("packed", "cached")
    return [
        make_packer(scene, layout, settings.batch_tokens, lean=True, shared=start)
        for start in starts
        for layout in layouts
        if settings.layout in ("auto", layout)
    ]


def _choose_last_mlp(scene: Scene, packer: Packer, settings: CollectSettings) -> Scene:
    if settings.own_collectors:
        choice = LastMlpChoice(None, "all tokens: collectors of the user's own may read any")
    else:
        model: Any = scene.model
        batch = packer.few(gate_questions(scene.plan))[0]
        stem = read_stem(model, packer)
        choice = choose_last_mlp(
            model,
            scene.sites,
            batch,
            lambda: model(**batch.inputs | after_stem(stem, batch)),
        )
    return replace(scene, last_mlp=choice.last_mlp, last_mlp_reason=choice.reason)


def _build(
    scene: Scene,
    packer: Packer,
    choice: LayoutChoice,
    settings: CollectSettings,
    calibration: Calibration | None,
) -> Instrument:
    if "attention" in settings.collectors:
        need(scene.model, scene.sites, "attention")
        scene = choose_attention(scene, packer.only(gate_questions(scene.plan)))
    if "sparsity" in settings.collectors:
        need(scene.model, scene.sites, "mlp_out")
        found = calibration or calibrate(scene, packer, scene.sites.mlp_out)
        scene = replace(scene, calibration=found)
    if "residual_sparsity" in settings.collectors and scene.residual_calibration is None:
        found = calibrate(scene, packer, stream_modules(scene))
        scene = replace(scene, residual_calibration=found)
    scene = _choose_last_mlp(scene, packer, settings)
    collectors = build(scene, settings)
    rows: dict[str, Coordinate] = {"row": np.arange(scene.plan.rows, dtype=np.int32)}
    coordinates = rows | coordinates_of(collectors)
    sizes = {name: len(values) for name, values in coordinates.items()}
    return Instrument(scene, packer, choice, collectors, allocate(collectors, sizes), coordinates)
