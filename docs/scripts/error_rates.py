"""Print the error rates of the change-point test and of its intervals: docs/methods.md.

Margins of 300 questions follow one common course plus a common random walk plus noise of
their own; accuracy counts margins above zero. `.venv/bin/python docs/scripts/error_rates.py`
takes about two minutes on one core.
"""

import argparse

import numpy as np

from critical_phase.analysis.inference.bootstrap import shared_weights
from critical_phase.analysis.jumps.change_point import AbruptTest
from critical_phase.analysis.jumps.series_change import ChangeFinder
from critical_phase.analysis.series import question_series
from critical_phase.analysis.settings import AnalysisSettings

QUESTIONS = 300
HEIGHT = 3.0  # nats from the first checkpoint to the last
WALK = 0.005  # increment of the common walk over the height


def logistic(unit: np.ndarray, width: float) -> np.ndarray:
    """A sigmoid around .4 whose 10-90 width is a share of the series."""
    return 1 / (1 + np.exp(-(unit - 0.4) * 4.394 / width))


def courses(unit: np.ndarray) -> dict[str, np.ndarray]:
    """Common courses by name, from 0 to about 1."""
    return {
        "flat": 0 * unit,
        "line": unit,
        "1 - exp(-t/.1)": 1 - np.exp(-unit / 0.1),
        "1 - exp(-t/.3)": 1 - np.exp(-unit / 0.3),
        "square": unit**2,
        "sigmoid, width .65": logistic(unit, 0.65),
        "sigmoid, width .5": logistic(unit, 0.5),
        "sigmoid, width .35": logistic(unit, 0.35),
        "sigmoid, width .25": logistic(unit, 0.25),
        "sigmoid, width .15": logistic(unit, 0.15),
        "sigmoid, width .2": logistic(unit, 0.2),
        "step": (unit > 0.4).astype(float),
    }


def rises_and_falls(unit: np.ndarray) -> dict[str, np.ndarray]:
    """Smooth courses that are not monotone or bend late, with a range of 1."""
    pulse = unit / 0.2 * np.exp(1 - unit / 0.2)
    return {
        "rise to .3, then fall": np.minimum(unit / 0.3, 1 - (unit - 0.3) / 0.7),
        "t exp(-t/.2)": pulse,
        "hinge at .7": np.maximum(0, (unit - 0.7) / 0.3),
        "Gaussian bump, sd .15": np.exp(-0.5 * ((unit - 0.45) / 0.15) ** 2),
        "Gaussian bump, sd .25": np.exp(-0.5 * ((unit - 0.45) / 0.25) ** 2),
    }


def rates(
    test: AbruptTest, course: np.ndarray, walk: float, draws: int, rng: np.random.Generator
) -> tuple[float, float]:
    """Share of simulated runs called abrupt: accuracy, mean margin."""
    found = np.zeros(2)
    for _ in range(draws):
        start = rng.normal(-1.2, 1.5, QUESTIONS)
        common = HEIGHT * (course + np.cumsum(rng.normal(0, walk, course.size)))
        margin = common[:, None] + start + rng.normal(0, 0.15, (course.size, QUESTIONS))
        right = (margin > 0).astype(float)
        found += [test.run(each.mean(axis=1), each).found for each in (right, margin)]
    accuracy, mean = found / draws
    return float(accuracy), float(mean)


def coverage(
    course: np.ndarray, walk: float, draws: int, rng: np.random.Generator
) -> tuple[float, float, float]:
    """Share of runs found, share of 95 % intervals of tau that hold it, their median width."""
    settings = AnalysisSettings(draws=300)
    finder = ChangeFinder(shared_weights(QUESTIONS, settings), settings)
    steps, truth = np.arange(course.size), 0.4 * (course.size - 1)
    held, widths = [], []
    for _ in range(draws):
        common = HEIGHT * (course + np.cumsum(rng.normal(0, walk, course.size)))
        noise = rng.normal(0, 0.15, (course.size, QUESTIONS))
        margin = common[:, None] + rng.normal(-1.2, 1.5, QUESTIONS) + noise
        change = finder.find(question_series("margin.x", "", "nats", "margin", steps, margin))
        if change is not None and change.test.found and change.placed:
            held.append(change.interval[0] <= truth <= change.interval[1])
            widths.append(change.interval[1] - change.interval[0])
    if not held:
        return 0.0, float("nan"), float("nan")
    return len(held) / draws, float(np.mean(held)), float(np.median(widths))


def main() -> None:
    """Print one line per course."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=200)
    parser.add_argument("--intervals", type=int, default=80)
    parser.add_argument("--checkpoints", type=int, default=65)
    given = parser.parse_args()
    unit = np.linspace(0, 1, given.checkpoints)
    test = AbruptTest(unit * (given.checkpoints - 1), 400, np.random.default_rng(0))
    rng = np.random.default_rng(1)
    print("| common course of the margins | accuracy called abrupt | margin called abrupt |")
    print("|---|---|---|")
    for name, course in courses(unit).items():
        accuracy, margin = rates(test, course, WALK, given.draws, rng)
        print(f"| {name} | {accuracy:.1%} | {margin:.1%} |", flush=True)
    for name, course in rises_and_falls(unit).items():
        accuracy, margin = rates(test, course, 0.01, given.draws, rng)
        print(f"| {name} (walk .01) | {accuracy:.1%} | {margin:.1%} |", flush=True)
    accuracy, margin = rates(test, 0 * unit, 0.02, given.draws, rng)
    print(f"| random walk, increments .02 | {accuracy:.1%} | {margin:.1%} |")
    print("\n| margin | walk | found and placed | interval holds tau | interval, steps |")
    print("|---|---|---|---|---|")
    for name in ("sigmoid, width .15", "step"):
        for walk in (0.01, 0.02, 0.04):
            found, held, width = coverage(courses(unit)[name], walk, given.intervals, rng)
            print(f"| {name} | {walk} | {found:.0%} | {held:.0%} | {width:.1f} |", flush=True)


if __name__ == "__main__":
    main()
