"""CKA of all pairs of 65 checkpoints: one matrix product of Grams against pair by pair.

ours    every Gram once, all pairs as one product: `block_cka_matrix`, `debiased_cka_matrix`
pair    a function of two tables in feature space: ||X'Y||_F^2, ||X'X||_F^2, ||Y'Y||_F^2
cross   the same with centred tables and own terms made beforehand and not counted, so only
        ||X'Y||_F^2 and its correction are timed: the least a feature space can do per pair

Each layer is a matter of its own: 32 layers take 32 times as long on every side, so one is run.
Ours does all 2,080 pairs; the others do a random sample and are scaled up. Sides take turns in
one process; process CPU time, medians over rounds. Every sampled value must agree with ours to
1e-10 in float64. `vs_feature_space` is the smaller ratio to `cross`, the stronger peer, of both
forms at the size of a real run (2,000 rows, width 4,096); the other sizes are given by name.
"""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from timing import about_machine, paired, parser, report, settle, take_turns

from critical_phase.analysis.inputs import Rows
from critical_phase.analysis.planted.planted_arrays import rows_of
from critical_phase.analysis.states.cka_pairs import block_cka_matrix, debiased_cka_matrix

CHECKPOINTS, LAYERS, CANDIDATES = 65, 32, 4
PAIRS = CHECKPOINTS * (CHECKPOINTS - 1) // 2
TOLERANCE = 1e-10
FORMS = ("block", "debiased")
SIZES = ((2000, 4096), (2000, 512), (1000, 512))
QUICK = ((600, 1024),)
"""Rows and width; the first is the one that counts."""


def main() -> None:
    asked = parser(__doc__)
    asked.add_argument("--pairs", type=int, default=3, help="sampled pairs of each round")
    arguments = asked.parse_args()
    settle()
    result = measure(quick=arguments.quick, rounds=arguments.rounds or 3, sampled=arguments.pairs)
    report(result, line, as_json=arguments.json)


def line(row: dict[str, Any]) -> str:
    size = f"{row['rows']} x {row['width']}"
    return f"{size:12} {row['form']:9} {row['side']:6} {row['layer_cpu_s']:10.2f} s CPU a layer"


def measure(*, quick: bool, rounds: int, sampled: int) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    ratios: dict[str, float] = {}
    for n, p in QUICK if quick else SIZES:
        for form in FORMS:
            found = compare(Path65(n, p), form, rounds, sampled)
            rows += [{"rows": n, "width": p, "form": form, **row} for row in found.rows]
            for peer, ratio in found.ratios.items():
                ratios[f"vs_{peer}_{form}_{n}x{p}"] = ratio
            ratios[f"largest_difference_{form}_{n}x{p}"] = found.difference
    n, p = (QUICK if quick else SIZES)[0]
    return {
        "schema_version": 1,
        "name": "cka",
        "ratios": {
            "vs_feature_space": min(ratios[f"vs_cross_{form}_{n}x{p}"] for form in FORMS),
            **ratios,
        },
        "rows": rows,
        "checkpoints": CHECKPOINTS,
        "pairs": PAIRS,
        "layers": LAYERS,
        "sampled_pairs_per_round": sampled,
        "dtype": "float64 from float32 tables",
        **about_machine(),
        "quick": quick,
        "rounds": rounds,
    }


class Path65:
    """Hidden states of 65 checkpoints that drift, made when asked for, so none are kept."""

    def __init__(self, n: int, p: int) -> None:
        rng = np.random.default_rng(0)
        self.rows: Rows = rows_of(n // CANDIDATES, CANDIDATES, rng)
        topic = rng.standard_normal((n // CANDIDATES, p), dtype=np.float32)
        self._base = topic[self.rows.question] + rng.standard_normal((n, p), dtype=np.float32)
        self._noise = rng.standard_normal((n + CHECKPOINTS, p), dtype=np.float32)

    def table(self, t: int) -> np.ndarray:
        """One checkpoint, in float32 as it would be read from a file."""
        found: np.ndarray = (
            self._base + np.float32(0.2 * t / CHECKPOINTS) * self._noise[t:][: self._base.shape[0]]
        )
        return found

    def tables(self) -> Iterator[np.ndarray]:
        """All checkpoints, one at a time."""
        return (self.table(t) for t in range(CHECKPOINTS))


@dataclass
class Found:
    """What one size and form gave."""

    rows: list[dict[str, Any]]
    ratios: dict[str, float]
    difference: float


def compare(path: Path65, form: str, rounds: int, sampled: int) -> Found:
    rng = np.random.default_rng(1)
    chosen = [sorted(rng.choice(CHECKPOINTS, 2, replace=False).tolist()) for _ in range(sampled)]
    peer = PEERS[form](path.rows)
    ready = {t: peer.prepare(path.table(t)) for pair in chosen for t in pair}
    results: dict[str, Any] = {}

    def ours(_: int) -> None:
        results["ours"] = all_pairs(path, form)

    def pair(_: int) -> None:
        results["pair"] = [
            peer.cka(*(peer.prepare(path.table(t)) for t in both)) for both in chosen
        ]

    def cross(_: int) -> None:
        results["cross"] = [peer.cka(*(ready[t] for t in both)) for both in chosen]

    times, peaks = take_turns({"ours": ours, "pair": pair, "cross": cross}, rounds)
    mine = np.array([results["ours"][i, j] for i, j in chosen])
    difference = max(float(np.abs(mine - results[side]).max()) for side in ("pair", "cross"))
    if not difference < TOLERANCE:
        raise SystemExit(f"the sides differ by {difference}: nothing to compare")
    for side in ("pair", "cross"):
        times[side] = [seconds / sampled * PAIRS for seconds in times[side]]
    rows = [
        {
            "side": side,
            "layer_cpu_s": statistics.median(found),
            "all_layers_cpu_s": statistics.median(found) * LAYERS,
            "peak_mib": statistics.median(peaks[side]),
            "how": "all pairs" if side == "ours" else f"{sampled} sampled pairs, scaled up",
        }
        for side, found in times.items()
    ]
    return Found(rows, {one: paired(times, one, "ours") for one in ("pair", "cross")}, difference)


def all_pairs(path: Path65, form: str) -> np.ndarray:
    if form == "block":
        return block_cka_matrix(path.rows, path.tables(), CHECKPOINTS)
    return debiased_cka_matrix(path.tables(), CHECKPOINTS, path.rows.question.size)


@dataclass
class Ready:
    """A centred table with what a feature space can keep of it."""

    x: np.ndarray
    kept: np.ndarray
    """Squared row norms, or inner products of siblings."""
    own: float


class Debiased:
    """Unbiased HSIC from features."""

    def __init__(self, _: Rows) -> None:
        pass

    def prepare(self, table: np.ndarray) -> Ready:
        x = np.array(table, dtype=np.float64)
        x -= x.mean(axis=0)
        bare = Ready(x, (x**2).sum(axis=1), 0.0)
        return Ready(x, bare.kept, self.product(bare, bare))

    def product(self, one: Ready, two: Ready) -> float:
        n, cross = one.x.shape[0], float(np.sum((one.x.T @ two.x) ** 2))
        corner = one.kept.sum() * two.kept.sum() / ((n - 1) * (n - 2))
        return cross - n / (n - 2) * float(one.kept @ two.kept) + float(corner)

    def cka(self, one: Ready, two: Ready) -> float:
        return self.product(one, two) / float(np.sqrt(one.own * two.own))


class Block(Debiased):
    """Pairs of rows of different questions, from features."""

    def prepare(self, table: np.ndarray) -> Ready:
        grouped = np.array(table, dtype=np.float64).reshape(-1, CANDIDATES, table.shape[1])
        grouped -= grouped.mean(axis=1, keepdims=True)
        bare = Ready(grouped.reshape(table.shape), grouped @ grouped.swapaxes(1, 2), 0.0)
        return Ready(bare.x, bare.kept, self.product(bare, bare))

    def product(self, one: Ready, two: Ready) -> float:
        return float(np.sum((one.x.T @ two.x) ** 2)) - float(np.vdot(one.kept, two.kept))


PEERS: dict[str, type[Debiased]] = {"debiased": Debiased, "block": Block}
"""Per-pair feature-space implementations."""


if __name__ == "__main__":
    main()
