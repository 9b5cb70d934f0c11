"""Names of cells: readable, stable, and safe as a folder."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

PREFIX = {
    "negatives": "",
    "prompt": "",
    "stratum": "",
    "lr_schedule": "",
    "dtype": "",
    "heads": "",
    "targets": "",
    "model": "",
    "questions": "",
    "seed": "s",
    "lr": "lr",
    "batch_size": "b",
    "steps": "steps",
    "train_size": "n",
    "epochs": "e",
    "rank": "r",
    "alpha": "a",
    "contamination": "c",
    "repeat_first": "repeat",
    "warmup": "warmup",
    "weight_decay": "wd",
    "accumulate": "acc",
}
"""Setting -> what stands before its value in a name; others have their own name there."""

LAST = ("lr", "batch_size", "epochs", "train_size", "steps", "seed")
"""Settings that stand at the end of a name, in this order."""

LONGEST = 80
"""Characters of a name above which its end becomes a hash."""

ONLY = "default"
"""Name where nothing varies."""


def cell_name(values: Mapping[str, Any]) -> str:
    """Name a cell after the settings that tell it from the others.

    Args:
        values: Varied setting -> its value; None stands for the setting's own default and
            is left out.
    """
    order = sorted(values, key=lambda key: (LAST.index(key) if key in LAST else -1, key))
    order.sort(key=lambda key: key != "negatives")
    parts = [value_name(key, values[key]) for key in order if values[key] is not None]
    name = "-".join(part for part in parts if part) or ONLY
    return name if len(name) <= LONGEST else f"{name[: LONGEST - 9]}-{digest(name)}"


def value_name(key: str, value: Any) -> str:
    """Write one setting as part of a name, such as `lr0.006`."""
    safe = re.sub(r"[^A-Za-z0-9_.+=-]+", "_", _text(value)).strip("._")
    return f"{PREFIX.get(key, f'{key}_')}{safe}"


def digest(value: Any) -> str:
    """Shorten plain values to eight characters."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:8]


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.15g}"
    if isinstance(value, list | tuple):
        return "+".join(_text(item) for item in value)
    if isinstance(value, dict):
        return "+".join(f"{key}={_text(value[key])}" for key in sorted(value)) or "none"
    if isinstance(value, str):
        return PurePath(value).stem if "/" in value else value
    return json.dumps(value)
