"""The collectors by name: a new one is one file and one line here."""

from collections.abc import Sequence
from typing import Any

from critical_phase.errors import ConfigError
from critical_phase.probes.attention import Attention
from critical_phase.probes.collector import Collector, Coordinate, Scene, version_of
from critical_phase.probes.collector_check import check_built
from critical_phase.probes.head_importance import HeadImportance
from critical_phase.probes.head_output import HeadOutput
from critical_phase.probes.lora_hidden import LoraHidden
from critical_phase.probes.margin_gradient import MarginGradient
from critical_phase.probes.residual import Residual
from critical_phase.probes.residual_sparsity import ResidualSparsity
from critical_phase.probes.settings import CollectSettings
from critical_phase.probes.sparsity import Sparsity

COLLECTORS: dict[str, type[Collector]] = {
    "residual": Residual,
    "attention": Attention,
    "sparsity": Sparsity,
    "residual_sparsity": ResidualSparsity,
    "lora_hidden": LoraHidden,
    "margin_gradient": MarginGradient,
    "head_output": HeadOutput,
    "head_importance": HeadImportance,
}


def chosen(settings: CollectSettings) -> dict[str, type[Any]]:
    """Return the classes that settings name, ours and those of the user's own files.

    Raises:
        ConfigError: A file of the user's cannot be loaded or changed since it was named.
    """
    known: dict[str, type[Any]] = COLLECTORS | {
        own.name: own.load() for own in settings.own_collectors
    }
    return {name: known[name] for name in settings.collectors}


def build(scene: Scene, settings: CollectSettings) -> tuple[Collector, ...]:
    """Build every collector that settings name and prove that their datasets fit together.

    Raises:
        ConfigError: A collector breaks the contract, or two of them contradict each other.
    """
    own = {one.name for one in settings.own_collectors}
    built: list[Collector] = []
    for name, kind in chosen(settings).items():
        try:
            built.append(kind(scene))
        except Exception as error:
            if name not in own:
                raise
            raise ConfigError(
                f"collector {name!r} cannot be built: {type(error).__name__}: {error}",
                fix="its __init__ gets one Scene; see docs/adding.md",
            ) from error
    check_built(built)
    return tuple(built)


def coordinates_of(collectors: Sequence[Collector]) -> dict[str, Coordinate]:
    """Join the axes of collectors, which agree once `build` has let them pass."""
    joined: dict[str, Coordinate] = {}
    for collector in collectors:
        joined |= collector.coordinates
    return joined


def versions_of(settings: CollectSettings) -> dict[str, int]:
    """Return the versions of the chosen collectors that are above 1, for the unit key."""
    versions = {name: version_of(kind) for name, kind in chosen(settings).items()}
    return {name: version for name, version in versions.items() if version > 1}
