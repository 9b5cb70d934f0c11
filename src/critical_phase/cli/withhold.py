"""From options to what a training withholds: window, places, direction, heads."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from critical_phase.atomic import new_file
from critical_phase.checkpoints import Recipe
from critical_phase.checkpoints.directions import Directions, read_directions
from critical_phase.checkpoints.withheld import RANDOM, Withheld
from critical_phase.cli.run_folder import HEADS, RunFolder
from critical_phase.cli.settings import TrainSettings
from critical_phase.errors import ConfigError

COPY = "withheld.npz"
"""The run's own copy of a direction that it was trained without."""
_WINDOW = re.compile(r"(examples:)?(\d*):(\d*)")


def withheld_heads(settings: TrainSettings) -> tuple[str, ...]:
    """Return the heads that something is withheld from."""
    return HEADS if settings.withhold_heads is None else tuple(settings.withhold_heads)


def with_withheld(
    recipe: Recipe, withheld: Withheld | None, settings: TrainSettings, head: str
) -> Recipe:
    """Return the recipe of one head: with the test, or without where it is not for this head."""
    return replace(recipe, withheld=withheld if head in withheld_heads(settings) else None)


def withheld_of(
    settings: TrainSettings, recipe: Recipe, places: int, run: RunFolder
) -> Withheld | None:
    """Read what the settings withhold; None for ordinary training.

    Args:
        settings: Of the training.
        recipe: Its steps and batch size decide what a window is.
        places: Answers seen in all.
        run: Where a copy of the direction is, should the file that was named be gone.

    Raises:
        ConfigError: Several tests at once, or parts of one without the rest.
        InputError: The direction cannot be read.
    """
    asked = [name for name in ("freeze", "only", "project_out") if getattr(settings, name)]
    if len(asked) > 1:
        raise ConfigError(
            f"asked for {' and '.join(map(_option, asked))}, but one test is made at a time",
            fix="train one run for each",
        )
    if not asked:
        _refuse_parts(settings, ("window", "withhold_heads", "project_mode", "layer"))
        return None
    window = read_window(settings.window, recipe, places)
    if asked[0] == "project_out":
        return _projection(settings, window, run)
    _refuse_parts(settings, ("project_mode", "layer"))
    places_text = re.sub(r"\s", "", settings.freeze or settings.only or "")
    return Withheld("freeze" if settings.freeze else "only", places_text, window)


def read_window(text: str | None, recipe: Recipe, places: int) -> tuple[int, int]:
    """Read a window as two checkpoints, in steps or after `examples:` in examples.

    Raises:
        ConfigError: It cannot be read, or no checkpoint lies at so many examples.
    """
    match = _WINDOW.fullmatch((text or ":").strip())
    if match is None:
        raise ConfigError(
            f"cannot read the window {text!r}", fix="write 8:32 in steps, or examples:64:256"
        )
    size = recipe.batch_size if match[1] else 1
    ends = []
    for given, open_end in ((match[2], 0), (match[3], recipe.steps)):
        value = int(given) if given else open_end * size
        if value % size and value != places:
            near = value // size * size
            raise ConfigError(
                f"no checkpoint lies at {value} examples with batches of {size}",
                fix=f"give {near} or {near + size}",
            )
        ends.append(-(-value // size))
    return ends[0], ends[1]


def noted_values(withheld: Withheld, settings: TrainSettings) -> dict[str, Any]:
    """Return what run.json says of a test: its values, the source of a direction, and heads."""
    extra = {"source": withheld.source} if withheld.projects else {}
    return {**withheld.values(), **extra, "heads": list(withheld_heads(settings))}


def in_words(noted: Mapping[str, Any]) -> str:
    """Say what is withheld, in one clause, from what run.json says of it."""
    low, high = noted["window"]
    when = f"from step {low} to {high}"
    if noted["kind"] == "freeze":
        return f"updates of {noted['places']} {when}"
    if noted["kind"] == "only":
        return f"updates of all but {noted['places']} {when}"
    side = "what is written in" if noted["kind"] == "project_write" else "the states after"
    return f"the direction {noted['source']} in {side} layers {noted['places']} {when}"


def noted_withheld(
    run: RunFolder, withheld: Withheld | None, settings: TrainSettings
) -> dict[str, Any]:
    """Keep a copy of the direction, and return what run.json says beside the recipe."""
    if withheld is None:
        return {}
    if withheld.vectors is not None:
        import numpy as np

        with new_file(run.path / COPY) as temporary, temporary.open("wb") as file:
            np.savez(file, **_arrays(withheld))
    return {"withheld": noted_values(withheld, settings)}


def _arrays(withheld: Withheld) -> dict[str, Any]:
    found: dict[str, Any] = {"directions": withheld.vectors}
    return found | ({"layer": int(withheld.places)} if withheld.places.isdecimal() else {})


def _projection(settings: TrainSettings, window: tuple[int, int], run: RunFolder) -> Withheld:
    asked = settings.project_out or ""
    mode = f"project_{settings.project_mode or 'state'}"
    layer = None if settings.layer is None else re.sub(r"\s", "", settings.layer)
    if asked.startswith(RANDOM):
        return Withheld(mode, _needed(layer), window, asked)  # type: ignore[arg-type]
    found = _directions(Path(asked), run)
    noted = None if found.layer is None else str(found.layer)
    name = Path(asked).name
    return Withheld(mode, _needed(layer or noted), window, name, found.vectors)  # type: ignore[arg-type]


def _directions(path: Path, run: RunFolder) -> Directions:
    """Read a direction; the run's copy where the file is gone (the heads' notes have its hash)."""
    copy = run.path / COPY
    return read_directions(copy if not path.is_file() and copy.is_file() else path)


def _needed(layer: str | None) -> str:
    if layer is None:
        raise ConfigError(
            "after which layer shall the direction be taken out?",
            fix="give --layer 2, --layer 0-1 or --layer all",
        )
    return layer


def _refuse_parts(settings: TrainSettings, names: tuple[str, ...]) -> None:
    if odd := [name for name in names if getattr(settings, name) is not None]:
        owner = "--project-out" if odd[0] in ("project_mode", "layer") else "a training-time test"
        raise ConfigError(
            f"{_option(odd[0])} belongs to {owner}",
            fix="give --freeze, --only or --project-out with it, or leave it out",
        )


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"
