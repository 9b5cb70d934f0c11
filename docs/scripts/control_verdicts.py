"""How often control runs settle H2 and H8 as planted: python docs/scripts/control_verdicts.py."""

import argparse
from collections import Counter
from dataclasses import replace

import numpy as np

from critical_phase.analysis import AnalysisSettings, PlantedRun, analyze
from critical_phase.analysis.planted.planted_controls import control_of, with_prior, with_spike
from critical_phase.analysis.planted.planted_runs import switch
from critical_phase.analysis.planted.planted_truth import EVERY
from critical_phase.analysis.scores.control_run import ControlKind

MEASURES = (*EVERY, "baselines", "instability", "control_runs")
LINES: tuple[tuple[str, str, ControlKind, float, bool], ...] = (
    ("H2", "irrelevant negatives reach all, changes follow the prior", "irrelevant", 1.0, True),
    ("H2", "irrelevant negatives reach all, answers alone not scored", "irrelevant", 1.0, False),
    ("H2", "irrelevant negatives reach half", "irrelevant", 0.5, True),
    ("H2", "irrelevant negatives reach nothing", "irrelevant", 0.0, False),
    ("H8", "a quarter of the rate reaches all", "slow", 1.0, True),
    ("H8", "a quarter of the rate reaches half, spike on the jump", "slow", 0.5, True),
    ("H8", "a quarter of the rate reaches nothing, spike on the jump", "slow", 0.0, True),
    ("H8", "a quarter of the rate reaches nothing, no spike", "slow", 0.0, False),
)
"""Hypothesis, what is planted, the control, its share, and whether the other evidence is there."""


def planted(kind: ControlKind, share: float, more: bool, rng: np.random.Generator) -> PlantedRun:
    """Draw a run whose margins switch, with one control."""
    world = switch(rng)
    run = world.run
    if more and kind == "slow":
        run = with_spike(run, round(world.tau or 0), times=6.0)
    elif more:
        run = with_prior(run, rng)
    return replace(run, controls=(control_of(run, kind, share, rng),))


def main() -> None:
    """Print one line per planted truth."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=40)
    draws = parser.parse_args().draws
    print("| | planted | verdicts |\n|---|---|---|")
    for number, (hypothesis, about, kind, share, more) in enumerate(LINES):
        counts: Counter[str] = Counter()
        for draw in range(draws):
            rng = np.random.default_rng([7, number, draw])
            settings = AnalysisSettings(seed=draw, draws=200, permutations=40, smooth_draws=100)
            run = planted(kind, share, more, rng)
            found = analyze(run, settings, measures=MEASURES).findings["verdicts"]
            counts.update(v["verdict"] for v in found if v["hypothesis"] == hypothesis)
        said = ", ".join(f"{verdict} {count}" for verdict, count in counts.most_common())
        print(f"| {hypothesis} | {about} | {said} |", flush=True)


if __name__ == "__main__":
    main()
