"""Files of learning coefficients: one small JSON object per checkpoint, and one of settings."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from critical_phase.probes.keyed_files import number, step_path
from critical_phase.probes.llc_sampler import Chain
from critical_phase.probes.llc_sweep import Choice

FOLDER = "llc"
SETTINGS = "settings.json"


def llc_path(run: Path, head: str, step: int, *, control: bool = False) -> Path:
    """Return where the estimate of a checkpoint, or of its random twin, belongs."""
    return step_path(run, FOLDER, head, step, control=control)


def settings_path(run: Path, head: str) -> Path:
    """Return where the settings of a series belong."""
    return run / FOLDER / head / SETTINGS


def chains_json(chains: Sequence[Chain]) -> list[dict[str, Any]]:
    """Write chains down; a chain that broke off has nulls and the step at which it did."""
    return [
        {
            "llc": number(chain.llc),
            "first_half": number(chain.halves[0]),
            "second_half": number(chain.halves[1]),
            "distance": number(chain.distance),
            "failed_at": chain.failed,
        }
        for chain in chains
    ]


def choice_json(choice: Choice) -> dict[str, Any]:
    """Write a sweep down."""
    return {
        "plateau": choice.plateau,
        "difference": number(choice.difference),
        "cells": [
            {
                "reach": cell.reach,
                "pace": cell.pace,
                "lr": cell.lr,
                "gamma": cell.gamma,
                "llc": number(cell.llc),
                "chains": chains_json(cell.chains),
            }
            for cell in choice.cells
        ],
    }
