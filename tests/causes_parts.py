"""Files of planted interventions, as `probe intervene` and its neighbours write them."""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]
LAYERS, MODULES = (0, 1, 2), ("mlp.down_proj", "mlp.up_proj")
STRONG = (1, "mlp.up_proj")
"""The place that brings most."""
ASKS = ("both ways", "specific", "dose", "seeds", "in time", "in training", "size")


def number(value: float, half: float = 0.05) -> Json:
    return {"share": value, "interval": [value - half, value + half]}


def cell(name: str, value: float, **axes: Any) -> Json:
    return {"name": name, "about": f"doing {name}", "axes": axes, **number(value),
            "share_exploratory": value + 0.01, "accuracy": 0.7,
            "accuracy_interval": [0.6, 0.8]}  # fmt: skip


def brings(layer: int, module: str) -> float:
    return 0.6 if (layer, module) == STRONG else 0.03 + 0.01 * layer


def cells() -> list[Json]:
    made = []
    for way in ("denoise", "noise"):
        for layer in LAYERS:
            for module in MODULES:
                share = brings(layer, module)
                there = share if way == "denoise" else 1 - share
                made.append(cell(f"{way}/module/{layer}/{module}", there, set="module",
                                 direction=way, layer=layer, module=module))  # fmt: skip
    for kind in ("prefix", "suffix", "single"):
        for layer in LAYERS:
            share = {"prefix": 0.3 * (layer + 1), "suffix": 0.9 - 0.3 * layer, "single": 0.3}[kind]
            made.append(cell(f"denoise/{kind}/{layer}", share, set=kind, direction="denoise",
                             layer=layer, label=str(layer)))  # fmt: skip
    return made


def donor_cells(steps: tuple[int, ...] = (16, 8, 32)) -> list[Json]:
    return [
        cell(f"map/negative@{step}/{layer}/{module}", brings(layer, module) * step / 32,
             set="map", direction="denoise", donor=f"negative@{step}", layer=layer, module=module)
        for step in steps for layer in LAYERS for module in MODULES
    ]  # fmt: skip


def points(states: str = "+++?+?-") -> list[Json]:
    met = {"+": True, "-": False, "?": None}
    return [{"number": k + 1, "asks": ASKS[k], "met": met[state], "found": f"found {k + 1}"}
            for k, state in enumerate(states)]  # fmt: skip


def answer(plan: str = "graft", **changes: Any) -> Json:
    doses = (0.0, 0.5, 1.0)
    return {
        "schema_version": 1, "plan": plan, "intervention": plan, "for_verdicts": False,
        "about": f"the planted {plan}", **number(0.6), "lost": False, "control": "random updates",
        "control_share": 0.01, "control_interval": [-0.02, 0.04], "questions": 150,
        "questions_exploratory": 150, "opposite": number(0.3), "effect": {"accuracy": 0.8},
        "exploratory": number(0.62), "elsewhere": [{"name": "rest", **number(0.2)}],
        "doses": {"dose": list(doses), "monotone": True,
                  "share": [{"value": 0.6 * d, "interval": [0.6 * d - 0.05, 0.6 * d + 0.05]}
                            for d in doses]},
        "drift": {"cell": {"mean": 0.004}, "late": {"mean": 0.02}}, "second": None,
        "points": points(), "causes": False, "sentence": "said by the file", "notes": ["a note"],
        "head": "negative", "mode": "likra", "weight": 1.0, "normalisation": "sum",
        "other_term": "positive@32", "from": "negative@8", "to": "negative@32",
        "ends_chosen": "outside the jump", "cells": cells(),
        "ends": {"early": {"margin": 0.02, "margin_interval": [-0.1, 0.2], "accuracy": 0.6},
                 "late": {"margin": 0.97, "margin_interval": [0.8, 1.1], "accuracy": 0.83}},
        **changes,
    }  # fmt: skip


def training(**changes: Any) -> Json:
    def arm(kind: str, step: float | None) -> Json:
        ends = [step and step - 2, step and step + 2]
        return {"kind": kind, "tau": {"steps": step, "interval_steps": ends}}

    return {
        "schema_version": 1, "plan": "training_time", "intervention": "training_time",
        "about": "layer 1 frozen", **number(0.9), "control": "layer 0 frozen",
        "control_share": 0.1, "control_interval": [0.0, 0.2], "heads": ["negative"],
        "layers": [1], "sentence": "without layer 1 the jump is not made",
        "training": {"met": True, "why": "it vanishes", "test": arm("vanishes", None),
                     "controls": [arm("stays", 15.0)]},
        **changes,
    }  # fmt: skip


def generation(**changes: Any) -> Json:
    def way(name: str, right: float, **more: Any) -> Json:
        share = {"value": right, "interval": [right - 0.1, right + 0.1]}
        return {"name": name, "alpha": None, "chosen": False, "at_limit": share,
                "shares": {"right": share, "wrong": share}, **more}  # fmt: skip

    ways = [way("base", 0.2), way("contrast-a1", 0.4, alpha=1.0, chosen=True)]
    return {"schema_version": 1, "step": 32, "ways": ways, "sentences": ["contrast helps"],
            **changes}  # fmt: skip


def write_causes(run: Path, **files: Json) -> Path:
    """Write files of interventions into a run; `summary` goes to generation."""
    for name, value in files.items():
        folder, stem = (
            ("generation", "summary-32-x") if name == "summary" else ("interventions", name)
        )
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / f"{stem}.json").write_text(json.dumps(value))
    return run
