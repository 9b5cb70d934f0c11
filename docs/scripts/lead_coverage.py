"""Print how often intervals of a lead hold it, and how often an order is claimed: docs/methods.md.

Two quantities of the same 300 questions change one after the other; their common courses wander
on their own (or together), one more than the other in some lines. `.venv/bin/python
docs/scripts/lead_coverage.py` takes about two minutes on one core. With `--family` it prints
instead how often any of 40 smooth series is called abrupt.
"""

import argparse
from dataclasses import dataclass

import numpy as np

from critical_phase.analysis.inference.bootstrap import interval, shared_weights
from critical_phase.analysis.inference.family import family_p
from critical_phase.analysis.inference.multiplicity import adjust
from critical_phase.analysis.jumps.changes import rank
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import Series, question_series
from critical_phase.analysis.settings import AnalysisSettings

QUESTIONS = 300
CHECKPOINTS = 65
HEIGHT = 3.0  # nats from the first checkpoint to the last
TAU = 26.0  # place of the reference, in steps


@dataclass(frozen=True)
class Pair:
    """Two planted changes."""

    name: str
    lead: float  # steps
    walks: tuple[float, float]  # increments of the common walks over the height
    widths: tuple[float, float] = (0.15, 0.15)  # 10-90, as shares of the series
    shared: bool = False  # one walk for both
    every: int = 1  # steps between checkpoints


PAIRS = (
    Pair("together, equally quiet", 0.0, (0.01, 0.01)),
    Pair("together, equally noisy", 0.0, (0.03, 0.03)),
    Pair("together, first quieter", 0.0, (0.01, 0.04)),
    Pair("together, first noisier", 0.0, (0.04, 0.01)),
    Pair("together, one walk", 0.0, (0.03, 0.03), shared=True),
    Pair("together, first slower", 0.0, (0.02, 0.02), (0.22, 0.1)),
    Pair("first 2.5 steps earlier", -2.5, (0.02, 0.02)),
    Pair("first 6 steps earlier, noisier", -6.0, (0.04, 0.02)),
    Pair("first 1 step earlier, checkpoints every 2", -1.0, (0.01, 0.01), every=2),
)


def series(
    name: str, tau: float, width: float, wander: np.ndarray, start: np.ndarray,
    steps: np.ndarray, rng: np.random.Generator,
) -> Series:  # fmt: skip
    """Draw one quantity with a change at tau on top of the questions' own levels."""
    course = 1 / (1 + np.exp(-(steps - tau) * 4.394 / (width * (CHECKPOINTS - 1))))
    noise = rng.normal(0, 0.15, (steps.size, QUESTIONS))
    values = HEIGHT * (course + wander)[:, None] + start + noise
    return question_series(name, "", "nats", "margin", steps, values)


def leads(pair: Pair, runs: int, rng: np.random.Generator) -> list[str]:
    """Measure one line: pairs with two places, coverage, mean error, orders claimed."""
    settings = AnalysisSettings(draws=300)
    finder = ChangeFinder(shared_weights(QUESTIONS, settings), settings)
    steps = np.arange(0, CHECKPOINTS, pair.every)
    held, bare, errors, orders, wide = [], [], [], [], []
    for _ in range(runs):
        start = rng.normal(-1.2, 1.5, QUESTIONS)
        scale = np.sqrt(pair.every)
        walks = [np.cumsum(rng.normal(0, w * scale, steps.size)) for w in pair.walks]
        if pair.shared:
            walks[1] = walks[0]
        taus = (TAU + pair.lead, TAU)
        made = [
            series(f"margin.{at}", taus[at], pair.widths[at], walks[at], start, steps, rng)
            for at in (0, 1)
        ]
        one, two = (finder.find(each) for each in made)
        if one is None or two is None or not (one.test.found and two.test.found):
            continue
        row = next(r for r in rank([one, two], two) if r.change is one)
        if row.lead is None or row.lead_interval is None:
            continue
        assert one.draws is not None
        assert two.draws is not None
        low, high = interval(one.draws - two.draws)
        bare.append(low <= pair.lead <= high)
        held.append(row.lead_interval[0] <= pair.lead <= row.lead_interval[1])
        wide.append(row.lead_interval[1] - row.lead_interval[0])
        errors.append(row.lead - pair.lead)
        orders.append(row.order)
    share = {name: orders.count(name) / max(len(orders), 1) for name in ("before", "after", "with")}
    return [
        pair.name, f"{len(held)} of {runs}", f"{np.mean(bare):.0%}", f"{np.mean(held):.0%}",
        f"{np.median(wide):.1f}", f"{np.mean(errors):+.2f} ± {np.std(errors):.2f}",
        f"{share['before']:.0%}", f"{share['after']:.0%}", f"{share['with']:.0%}",
    ]  # fmt: skip


def false_families(runs: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Share of families of 40 smooth series with any abrupt: single p, FDR, family-wise p."""
    settings = AnalysisSettings(draws=500, smooth_draws=200)
    finder = ChangeFinder(shared_weights(100, settings), settings)
    unit, steps, alarms = np.linspace(0, 1, 33), np.arange(33), np.zeros(3)
    courses = (unit, unit**2, 1 - np.exp(-unit / 0.3), 0 * unit)
    for _ in range(runs):
        common = rng.normal(-1, 1.5, 100) + np.cumsum(rng.normal(0, 0.05, (33, 100)), axis=0)
        found = []
        for at in range(40):
            wander = np.cumsum(rng.normal(0, 0.03, 33))
            course = HEIGHT * courses[at % 4] + wander
            values = course[:, None] + common + rng.normal(0, 0.15, (33, 100))
            change = finder.find(question_series(f"q{at}", "", "", "margin", steps, values))
            found += [] if change is None else [change]
        large = np.array([change.test.large for change in found])
        single = np.array([change.test.p for change in found])
        for at, p in enumerate((single, adjust(list(single)), family_p(finder, found))):
            alarms[at] += bool(np.any((p <= 0.05) & large))
    one, fdr, family = alarms / runs
    return float(one), float(fdr), float(family)


def main() -> None:
    """Print one line per pair, or the rates of families."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--family", action="store_true")
    given = parser.parse_args()
    rng = np.random.default_rng(3)
    if given.family:
        one, fdr, family = false_families(given.runs, rng)
        print(f"any of 40 abrupt: single p {one:.1%}, FDR {fdr:.1%}, family-wise {family:.1%}")
        return
    print("| pair | placed | draws hold the lead | interval holds it | steps | error | ", end="")
    print("called before | called after | called with |\n|---|---|---|---|---|---|---|---|---|")
    for pair in PAIRS:
        print("|", " | ".join(leads(pair, given.runs, rng)), "|", flush=True)


if __name__ == "__main__":
    main()
