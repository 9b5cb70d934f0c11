"""The tables of several seeds: every seed, what holds over them, and two kinds of outcome."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import binomtest

from critical_phase.analysis.judging.thresholds import LEVEL
from critical_phase.analysis.jumps.change_point import ABRUPT, word_of
from critical_phase.analysis.jumps.series_change import SeriesChange
from critical_phase.analysis.many_runs.seed_groups import TwoGroups
from critical_phase.analysis.many_runs.seed_spread import Spread
from critical_phase.analysis.results import Table, column


@dataclass(frozen=True, slots=True)
class SeedChange:
    """The change of one quantity in one run."""

    run: str
    quantity: str
    change: SeriesChange
    p_adjusted: float
    """Benjamini-Hochberg over all runs and both quantities."""

    @property
    def abrupt(self) -> bool:
        """Say whether the change is abrupt after adjusting for all runs, and has a place."""
        return self.p_adjusted <= LEVEL and self.change.test.found and self.change.placed


def _word(found: SeedChange) -> str:
    """Name what the test of one run says; an abrupt change without a place says so."""
    word = word_of(found.p_adjusted, found.change.test.share)
    return f"{word}, not placed" if word == ABRUPT and not found.abrupt else word


def seeds_table(found: Sequence[SeedChange], batch_size: int) -> Table:
    """List every run and quantity."""
    rows = []
    for f in found:
        c, value = f.change, f.change.series.value
        place = [c.tau, *c.interval, c.tau * batch_size, c.width] if f.abrupt else [None] * 5
        rows.append(
            [f.run, f.quantity, _word(f), *place, float(value[0]),
             float(value[-1]), c.test.share, c.test.p, f.p_adjusted, c.resolution]
        )  # fmt: skip
    columns = [
        column("run", "run", kind="text"),
        column("quantity", "quantity", kind="text"),
        column("verdict", "verdict", kind="text"),
        column("tau_step", "tau", "step"),
        column("low", "low", "step"),
        column("high", "high", "step"),
        column("tau_examples", "tau", "examples"),
        column("width", "10-90 width", "steps"),
        column("first", "first"),
        column("last", "last"),
        column("share", "share of the range"),
        column("p", "p", kind="p"),
        column("p_adjusted", "adjusted p (FDR)", kind="p"),
        column("resolution", "gap between checkpoints", "steps"),
    ]
    caption = (
        "Each run against smooth curves with its own noise; p is adjusted over all rows. Only an"
        " abrupt change that could be placed has a tau. Its interval is for that run alone"
        " (question bootstrap plus training noise) and no finer than the checkpoints."
    )
    return Table("seeds", "Every seed", caption, columns, rows)


def together_table(
    spreads: Mapping[str, Spread], abrupt: Mapping[str, list[str]], runs: int
) -> Table:
    """List what holds over seeds."""
    rows = []
    for quantity, s in spreads.items():
        count = len(abrupt[quantity])
        share = binomtest(count, runs).proportion_ci(method="exact")
        rows.append(
            [quantity, count, runs, share.low, share.high, s.mean,
             *(s.mean_interval or (None,) * 2), s.deviation,
             *(s.deviation_interval or (None,) * 2), s.located, s.p]
        )  # fmt: skip
    columns = [
        column("quantity", "quantity", kind="text"),
        column("abrupt", "seeds called abrupt"),
        column("seeds", "seeds"),
        column("share_low", "their share, low"),
        column("share_high", "their share, high"),
        column("tau_mean", "mean tau", "step"),
        column("low", "low", "step"),
        column("high", "high", "step"),
        column("deviation", "spread of tau (standard deviation)", "steps"),
        column("deviation_low", "spread, low", "steps"),
        column("deviation_high", "spread, high", "steps"),
        column("located", "spread by location error alone", "steps"),
        column("p", "p of no spread beyond it", kind="p"),
    ]
    caption = (
        "Mean and spread are of the seeds that are called abrupt; the others have no place. Share:"
        " exact binomial interval. Mean: seeds resampled and widened to Student's t, questions"
        " resampled together, no finer than the checkpoints. Spread: chi-square interval, which"
        " takes places for normal over seeds."
    )
    return Table("together", "Over seeds", caption, columns, rows)


def groups_table(groups: TwoGroups) -> Table:
    """Show the split of the last accuracies."""

    def mean(values: Sequence[float]) -> float | None:
        return float(np.mean(values)) if values else None

    row = [groups.verdict, groups.statistic, groups.p, len(groups.low), mean(groups.low),
           len(groups.high), mean(groups.high)]  # fmt: skip
    columns = [
        column("verdict", "verdict", kind="text"),
        column("statistic", "share of squares between groups"),
        column("p", "p", kind="p"),
        column("low_count", "seeds, lower"),
        column("low_mean", "mean, lower"),
        column("high_count", "seeds, upper"),
        column("high_mean", "mean, upper"),
    ]
    caption = (
        "Best split of the last accuracies into two groups of at least two. p is the largest chance"
        " of such a split among four one-humped distributions (normal, uniform, exponential, t3)."
        " Undecided is the usual answer with few seeds and does not mean that there is one group."
    )
    return Table("two_groups", "Two kinds of outcome?", caption, columns, [row])
