"""Side effects of a tiny model: what they are measured on, and what their files hold."""

from pathlib import Path
from typing import Any

import numpy as np
from tiny_plan import build_plan, build_tokenizer, save_adapters

from critical_phase.checkpoints import Example
from critical_phase.probes import (
    EffectsPlan,
    Unit,
    draw_for_gradients,
    encode_texts,
    make_units,
    read_effects,
    unit_path,
)

TEXTS = ("A plain text about nothing.", "Rain.", "Longer: " + "the sun is up and so are we " * 3)


def examples() -> list[Example]:
    return [Example(f"q{i}", "a", (0, 40 + i), (60 + i, 61)) for i in range(12)]


def build_effects_plan() -> EffectsPlan:
    drawn = draw_for_gradients(examples(), 5, np.random.default_rng(0))
    texts = encode_texts(TEXTS, build_tokenizer(), window=200)
    return EffectsPlan(build_plan(), texts, {"negative": drawn})


def save_units(folder: Path) -> tuple[Unit, ...]:
    """The base, an untouched adapter and two that do something."""
    return make_units({"negative": save_adapters(folder, "llama", (0, 1, 2))})


def read(run: Path, unit: Unit) -> dict[str, np.ndarray]:
    return read_effects(unit_path(run, "effects", unit))


def contents(run: Path, units: tuple[Unit, ...]) -> list[dict[str, Any]]:
    return [{k: v.tolist() for k, v in read(run, unit).items()} for unit in units]
