"""What a control withholds: as much as the test, elsewhere."""

import re
from collections.abc import Sequence

import numpy as np

from critical_phase.checkpoints import list_series, load_adapter
from critical_phase.checkpoints.withheld import RANDOM
from critical_phase.checkpoints.withheld_places import layer_of, places_named
from critical_phase.cli.run_folder import RunFolder
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError

_BY_LAYER = re.compile(r"[\d\-:]+(?:\.(?P<name>.+))?")


def control_settings(
    run: RunFolder, test: TrainSettings, asked: Sequence[str], seed: int
) -> list[TrainSettings]:
    """Return the settings of every control.

    Args:
        run: The run, whose adapters say which layers there are and how large they are.
        test: The settings of the test.
        asked: What the controls withhold, where the user says so.
        seed: Of what is drawn otherwise: one control, a random direction, or as many other layers.

    Raises:
        ConfigError: Nothing of equal size is left to draw from, or a control is the test.
    """
    key = next(name for name in ("freeze", "only", "project_out") if getattr(test, name))
    own = str(getattr(test, key))
    if key == "project_out":
        texts = list(asked) or [f"{RANDOM}{seed}"]
    else:
        sizes = _sizes(run, test)
        for text in (own, *asked):
            places_named(text, sizes)  # before anything is trained
        texts = list(asked) or [_drawn(own, sizes, seed)]
    if own in texts or len(set(texts)) < len(texts):
        raise ConfigError(
            "a control must withhold something else than the test and other controls",
            fix="give each --control something of its own",
        )
    return [_with(test, key, text, own) for text in texts]


def _with(test: TrainSettings, key: str, text: str, own: str) -> TrainSettings:
    """Put another text into the settings; a drawn direction is taken out after the same layers."""
    changes: dict[str, object] = {key: text}
    if key == "project_out" and text.startswith(RANDOM) and test.layer is None:
        from pathlib import Path

        from critical_phase.checkpoints.directions import read_directions

        layer = read_directions(Path(own)).layer
        changes["layer"] = None if layer is None else str(layer)
    return test.model_copy(update=changes)


def _sizes(run: RunFolder, test: TrainSettings) -> dict[str, int]:
    """Return the numbers in every adapter parameter of the head that is tested."""
    head = (test.withhold_heads or ("negative",))[0]
    newest = list_series(run.head(head)).checkpoints[-1]
    return {name: tensor.numel() for name, tensor in load_adapter(newest.path).items()}


def _drawn(own: str, sizes: dict[str, int], seed: int) -> str:
    """Draw as many other layers, or refuse where places are no layers or too few are left."""
    matches = [_BY_LAYER.fullmatch(part) for part in own.split(",")]
    names = {match["name"] for match in matches if match}
    taken = {layer_of(name) for name in places_named(own, sizes)}
    rest = sorted({layer for n in sizes if (layer := layer_of(n)) is not None} - taken)
    if not all(matches) or len(names) != 1 or len(rest) < len(taken):
        raise ConfigError(
            f"no control of equal size can be drawn for {own}",
            fix="say what the control withholds: --control up_proj, or --control 0-1",
        )
    chosen = np.random.default_rng([seed, 31]).choice(rest, len(taken), replace=False)
    (name,) = names
    text = ",".join(f"{layer}.{name}" if name else str(layer) for layer in sorted(chosen))
    counts = [sum(sizes[one] for one in places_named(t, sizes)) for t in (own, text)]
    if counts[0] != counts[1]:
        raise ConfigError(
            f"the layers of the control hold {counts[1]} numbers, those of the test {counts[0]}",
            fix="say what the control withholds with --control",
        )
    return text
