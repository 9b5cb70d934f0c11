"""The summary of a sweep, made of planted numbers and names that must stay text."""

from typing import Any

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)> $\\frac$ \x07 {{ 7*7 }}"
EXAMPLES = [0, 8, 64, 128, 256]


def curve(mode: str, group: str, start: float, **extra: Any) -> dict[str, Any]:
    means = [None if mode == "likra" else start, *(start + 0.1 * k for k in range(4))]
    return {
        "group": group, "role": "factorial", "mode": mode, "normalisation": "sum", "weight": 1.0,
        "steps": [e // 8 for e in EXAMPLES], "examples": EXAMPLES, "mean": means,
        "standard_error": [None, *[0.02] * 4], "seeds": 3,
        "settings": {"negatives": group, "batch_size": 8}, **extra,
    }  # fmt: skip


def cell(name: str, batch: int, place: float | None) -> dict[str, Any]:
    clocks = {
        f"{key}_{clock}": place
        for key in ("half_rise", "low", "high")
        for clock in ("steps", "examples", "summed_lr")
    }
    jump = {"mode": "likra", "normalisation": "sum", "rise": 0.3, "rise_interval": [0.2, 0.4]}
    return {
        "name": name, "role": "factorial", "state": "finished", "seed": 0, "page": False,
        "settings": {"negatives": "near_miss", "batch_size": batch, "seed": 0},
        "batch_size": batch, "reused": {}, "jumps": [{**jump, **clocks}],
        "found": {"jump": None, "sentence": HOSTILE},
    }  # fmt: skip


def planted() -> dict[str, Any]:
    base = {**curve("base", "default", 0.4), "examples": [0], "steps": [0], "mean": [0.4],
            "standard_error": [None]}  # fmt: skip
    weights = [
        {"group": "near_miss", "role": "factorial", "mode": "likra", "normalisation": "sum",
         "step": 32, "examples": 256, "last": True, "weights": [0.0, 0.5, 1.0],
         "mean": [0.4, 0.5, 0.6], "standard_error": [None] * 3, "seeds": 1}
    ]  # fmt: skip
    sizes = [
        {**curve("likra", "near_miss", 0.4), "kind": kind, "label": kind}
        for kind in ("longitudinal", "cross-sectional")
    ]
    return {
        "schema_version": 1, "name": HOSTILE, "questions": 100, "chance": 0.25,
        "milestones": [0, 8, 64, 128, 256],
        "cells": [cell("b8", 8, 12.0), cell("b32", 32, 3.5)],
        "curves": [base, curve("sft", "default", 0.4), curve("likra", "near_miss", 0.45),
                   curve("likra", HOSTILE, 0.3), curve("base_likra", "near_miss", 0.35),
                   curve("pos_base", "default", 0.3)],
        "weights": weights, "sizes": sizes, "notes": ["Read from /home/someone/runs: one seed."],
    }  # fmt: skip


def with_kinds() -> dict[str, Any]:
    value = planted()
    value["cells"].append(cell("other", 8, None))
    value["cells"][-1]["settings"] = {"negatives": "irrelevant", "batch_size": 8, "seed": 0}
    return value
