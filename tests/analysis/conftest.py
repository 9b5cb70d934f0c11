import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, Rows


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def quick():
    return AnalysisSettings(draws=100, permutations=40, smooth_draws=100)


def rows_of(sizes, rng):
    """Rows of questions with the given numbers of candidates and a random right one."""
    sizes = np.asarray(sizes)
    question = np.repeat(np.arange(sizes.size), sizes)
    correct = np.zeros(question.size, dtype=bool)
    correct[np.cumsum(sizes) - sizes + rng.integers(0, sizes)] = True
    count = rng.integers(1, 6, question.size)
    return Rows(
        question,
        correct,
        count * 4,
        count,
        tuple(f"q{i}" for i in range(sizes.size)),
        ("all",) * sizes.size,
        tuple(f"a{i}" for i in range(question.size)),
        count * 5,
    )


@pytest.fixture(scope="session")
def make_rows():
    return rows_of
