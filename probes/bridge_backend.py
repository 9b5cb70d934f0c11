"""Collect through TransformerLens' bridge instead of plain hooks, once both agree.

The same collectors hang on the bridge's hook points in place of the model's modules, so
the datasets are the same. What differs is who computes: the bridge works attention out
step by step. It is compared with plain hooks before it is used, with the adapter in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from critical_phase.errors import CheckpointError, ConfigError
from critical_phase.probes.attention import Attention
from critical_phase.probes.batches import Batch, Packer
from critical_phase.probes.bridge_twin import FIX, Twin, lost_adapters
from critical_phase.probes.collector import Collector, Scene
from critical_phase.probes.collectors import build
from critical_phase.probes.forward import allocate, attached, one_pass
from critical_phase.probes.hooks import Hooks
from critical_phase.probes.instrument import Instrument, make_packer
from critical_phase.probes.landing import is_neutral, is_whole
from critical_phase.probes.layout import TOLERANCES, LayoutChoice, gate_questions
from critical_phase.probes.plan import POSITIONS
from critical_phase.probes.residual import Residual
from critical_phase.probes.scoring import Scorer, Scores
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.slots import ModelSlot
from critical_phase.probes.sparsity import answer_ends, post_hooks
from critical_phase.probes.units import Unit

COLLECTORS_OF_BRIDGE = ("residual", "attention", "sparsity", "residual_sparsity")
_REFUSALS = (RuntimeError, ValueError, IndexError, TypeError, KeyError, AttributeError)
"""What bridges raise on masks or positions that they do not know."""


@dataclass(frozen=True, eq=False)
class BridgeInstrument(Instrument):
    """An instrument whose rows go through a bridge."""

    plain: Instrument
    """The instrument of plain hooks that it was compared with."""
    settings: CollectSettings
    reboots: bool
    """Whether the bridge holds weights of its own and is built anew for every unit."""

    def measure(self) -> Scores:
        """Run all rows once under what the model holds now; see `Instrument.measure`."""
        if not self.reboots:
            return super().measure()
        scene = bridge_scene(self.plain.scene, self.settings, Twin.boot(self.plain.scene.model))
        return Instrument(**_fields(self, scene, self.settings)).measure()


@torch.no_grad()
def bridge_instrument(
    plain: Instrument, slot: ModelSlot, units: Sequence[Unit], settings: CollectSettings
) -> BridgeInstrument:
    """Put a bridge in place of plain hooks and prove that both read the same.

    Compared are residual stream, attention row and MLP activations of every layer and the
    log-probabilities, on the longest and the shortest question, for the base model and
    for one checkpoint that changes something.

    Args:
        plain: Gated, with its arrays.
        slot: Holds one unit at a time.
        units: What will be collected.
        settings: What is read.

    Raises:
        ConfigError: A collector or the family does not work with a bridge, or the
            values differ.
        CheckpointError: The bridge leaves adapter layers out.
    """
    _check_collectors(settings)
    states = [unit for unit in (_base(units), _moving(units)) if unit is not None]
    reasons, packer, splits = [], plain.packer, False
    for unit in states:
        with slot.holding(unit):
            twin = Twin.boot(plain.scene.model)
            splits = splits or twin.splits
            _refuse_lost(plain, twin, slot, unit)
            scene = bridge_scene(plain.scene, settings, twin)
            packer, gap = _exact_packer(plain.scene, scene, packer, settings)
        reasons.append(f"{unit.name} by {gap:.1e}")
    limit = f"(limit {_limit(plain.scene):.0e})"
    said = f"bridge and plain hooks differ at {', '.join(reasons)} {limit}"
    choice = LayoutChoice(packer.layout, f"{plain.choice.reason}; {said}", plain.choice.difference)
    parts = _fields(plain, scene, settings) | {"packer": packer, "choice": choice}
    return BridgeInstrument(**parts, plain=plain, settings=settings, reboots=splits)


def bridge_scene(plain: Scene, settings: CollectSettings, twin: Twin) -> Scene:
    """Return a scene whose model is the bridge and whose sites are its hook points.

    Raises:
        ConfigError: The bridge lacks a point that is to be read.
    """
    names = settings.collectors
    wanted = {
        "attention": "attention" in names,
        "mid": "residual" in names and "mid" in plain.residual_sites,
        "mlp_out": "sparsity" in names,
    }
    sites = twin.sites(plain.sites, [part for part, asked in wanted.items() if asked])
    said = "all tokens: the bridge runs its own modules"
    return replace(
        plain,
        model=twin.model,
        sites=sites,
        attention_way="bridge",
        last_mlp=None,
        last_mlp_reason=said,
    )


def _fields(like: Instrument, scene: Scene, settings: CollectSettings) -> dict[str, Any]:
    """Take over an instrument's parts, but for the scene and the collectors on it."""
    parts = {field.name: getattr(like, field.name) for field in fields(Instrument)}
    return parts | {"scene": scene, "collectors": build(scene, settings)}


def _check_collectors(settings: CollectSettings) -> None:
    known = ", ".join(COLLECTORS_OF_BRIDGE)
    if odd := [name for name in settings.collectors if name not in COLLECTORS_OF_BRIDGE]:
        raise ConfigError(f"the bridge does not read {odd[0]}; it reads {known}", fix=FIX)
    if not settings.collectors:
        raise ConfigError("scores alone need no bridge", fix=FIX)


def _base(units: Sequence[Unit]) -> Unit | None:
    return next((unit for unit in units if unit.checkpoint is None), None)


def _moving(units: Sequence[Unit]) -> Unit | None:
    """Choose the last checkpoint that changes something."""
    for unit in reversed(units):
        point = unit.checkpoint
        if point is not None and is_whole(point) and not is_neutral(point):
            return unit
    return next((unit for unit in reversed(units) if unit.checkpoint is not None), None)


def _refuse_lost(plain: Instrument, twin: Twin, slot: ModelSlot, unit: Unit) -> None:
    """Refuse a bridge without the adapter; one that was merged first is in its weights."""
    if unit.checkpoint is None or slot.merged:
        return
    inputs = plain.packer.only(gate_questions(plain.scene.plan)[:1]).inputs
    if lost := lost_adapters(plain.scene.model, twin, inputs):
        kind = type(plain.scene.model).__name__
        raise CheckpointError(
            f"the bridge of a {kind} leaves {len(lost)} adapted modules out, as it splits their "
            f"fused weights at boot: {', '.join(lost[:3])}{', ...' if len(lost) > 3 else ''}",
            where=str(unit.checkpoint.path),
            fix=f"{FIX}; a plain LoRA on a float32 base is merged first and works here too",
        )


def _exact_packer(
    plain: Scene, bridge: Scene, packer: Packer, settings: CollectSettings
) -> tuple[Packer, float]:
    """Take the packer if bridge and hooks agree on its rows, else single rows if they do there.

    Raises:
        ConfigError: They agree in neither.
    """
    naive = make_packer(plain, "naive", settings.batch_tokens)
    said: list[str] = []
    for one in (packer, naive)[: 2 if packer.layout == "packed" else 1]:
        try:
            gap = _difference(plain, bridge, one.only(gate_questions(plain.plan)))
        except _REFUSALS as error:
            said.append(f"{one.layout} rows raise {type(error).__name__}: {error}".splitlines()[0])
            continue
        if gap <= _limit(plain):
            return one, gap
        said.append(f"{one.layout} rows differ by {gap:.1e} (limit {_limit(plain):.0e})")
    raise ConfigError(
        f"the bridge of a {type(plain.model).__name__} does not read what plain hooks read: "
        + "; ".join(said),
        fix=FIX,
    )


def _limit(scene: Scene) -> float:
    model: Any = scene.model
    return TOLERANCES.get(model.dtype, 1e-4)


def _difference(plain: Scene, bridge: Scene, batch: Batch) -> float:
    """Return the largest difference over the largest value of any kind of reading."""
    worst = 0.0
    for ours, theirs in zip(_read(plain, bridge, batch), _read(bridge, bridge, batch), strict=True):
        gap = float((ours - theirs).abs().max() / ours.abs().max().clamp(min=1e-6))
        worst = max(worst, gap if gap == gap else float("inf"))
    return worst


def _read(scene: Scene, wanted: Scene, batch: Batch) -> list[Tensor]:
    """Read one batch: residuals, and what of attention and MLPs the other scene reads too."""
    scene = replace(
        scene,
        storage_dtype=torch.float32,
        positions=POSITIONS,
        residual_sites=("pre", "post"),
        pattern_rows=(),
    )
    collectors: list[Collector] = [Residual(scene)]
    if wanted.sites.attention:
        collectors.append(Attention(scene))
    posts: list[Tensor] = []
    hooks = post_hooks(scene, lambda _, x: posts.append(answer_ends(x, batch).float().cpu()))
    scorer = Scorer(scene.sites.unembed, scene.plan.rows)
    sizes: dict[str, Any] = {"row": scene.plan.rows}
    for collector in collectors:
        sizes |= {name: len(values) for name, values in collector.coordinates.items()}
    arrays = allocate(collectors, sizes)
    with Hooks(hooks if wanted.sites.mlp_out else []), attached([scorer, *collectors]):
        one_pass(scene.model, batch, scorer, collectors, arrays)
    rows = torch.from_numpy(batch.rows)
    made = [arrays["residual"][:, rows], torch.from_numpy(scorer.scores.logprob_sum)[rows]]
    made += [arrays["attention_row"][:, rows]] if wanted.sites.attention else []
    return made + ([torch.stack(posts)] if posts else [])
