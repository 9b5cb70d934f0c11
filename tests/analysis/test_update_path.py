"""The plane of an adapter's path, and what a random walk of as many steps gives there."""

import numpy as np
import pytest

from critical_phase.analysis import AnalysisSettings, planted_run
from critical_phase.analysis.updates.lora_geometry import lengths
from critical_phase.analysis.updates.update_path import main_plane, path_map, walk_gram
from critical_phase.analysis.updates.weights import weights


def gram(path):
    return path @ path.T


@pytest.mark.parametrize("count", [5, 65])
def test_an_even_walk_has_the_shares_and_the_cosines_of_the_paper(count):
    # 1806.08805: eigenvalues 1 / (2 - 2 cos(pi k / n)) of n points, projections cos(pi k t / n).
    found = main_plane(walk_gram(np.ones(count - 1)))
    k = np.arange(1, count)
    sizes = 1 / (2 - 2 * np.cos(np.pi * k / count))
    np.testing.assert_allclose(found.shares, sizes[:2] / sizes.sum(), atol=1e-12)
    for at in (1, 2):
        wave = np.cos(np.pi * at * (np.arange(count) + 0.5) / count)
        assert abs(np.corrcoef(found.points[:, at - 1], wave)[0, 1]) == pytest.approx(1, abs=1e-12)


def test_of_a_long_walk_three_quarters_lie_in_two_directions():
    np.testing.assert_allclose(main_plane(walk_gram(np.ones(500))).shares,
                               6 / np.pi**2 / np.array([1, 4]), atol=2e-3)  # fmt: skip


def test_a_drawn_walk_of_uneven_steps_has_the_shares_of_its_control(rng):
    size = np.exp(rng.normal(size=40))
    path = np.cumsum(size[:, None] * rng.normal(size=(40, 20_000)) / np.sqrt(20_000), axis=0)
    path = np.vstack([np.zeros(20_000), path])
    own, walk = main_plane(gram(path)), main_plane(walk_gram(lengths(gram(path))))
    np.testing.assert_allclose(own.shares, walk.shares, atol=0.01)
    assert abs(np.corrcoef(own.points[:, 0], walk.points[:, 0])[0, 1]) > 0.99


def test_a_straight_path_has_all_of_its_variance_in_one_direction(rng):
    found = main_plane(gram(np.outer(np.arange(9.0), rng.normal(size=30))))
    np.testing.assert_allclose(found.shares, [1, 0], atol=1e-12)
    assert (np.diff(found.points[:, 0]) > 0).all()


def test_points_are_those_of_the_dense_decomposition_and_run_to_the_right(rng):
    path = np.cumsum(rng.normal(size=(20, 7)) + 0.3, axis=0)
    found = main_plane(gram(path))
    left, size, _ = np.linalg.svd(path - path.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(found.points), np.abs(left * size)[:, :2], atol=1e-9)
    assert found.points[-1, 0] > found.points[0, 0]
    assert found.points[np.abs(found.points[:, 1]).argmax(), 1] > 0
    turned = main_plane(gram(-path @ np.linalg.qr(rng.normal(size=(7, 7))).Q))
    np.testing.assert_allclose(turned.points, found.points, atol=1e-9)


def test_what_stands_still_or_has_few_steps_has_no_plane(rng):
    assert main_plane(np.full((9, 9), 3.0)) is None
    assert main_plane(np.zeros((9, 9))) is None
    assert path_map("negative", np.arange(3), gram(rng.normal(size=(3, 5)))) is None


def test_the_measure_draws_each_head_beside_its_walk_and_says_the_shares():
    run = planted_run("switch", np.random.default_rng(0), steps=33, questions=20, width=0)
    result = weights(run, AnalysisSettings(draws=20))
    maps = [one for one in result.maps if one.row_name == "direction"]
    assert [one.id for one in maps] == [f"lora_path.{head}" for head in run.heads]
    for one in maps:
        assert len(one.values) == len(one.row_labels) == 4
        shares = [float(label.split("(")[1].split(" ")[0]) for label in one.row_labels]
        assert shares[0] > 85 > 80 > shares[2] > 50
        assert f"{shares[0]:g} %" in one.control
        assert f"{shares[2]:g} %" in one.control
    short = weights(planted_run("switch", np.random.default_rng(0), steps=3, width=0),
                    AnalysisSettings(draws=20))  # fmt: skip
    assert any("negative head" in note and "plane" in note for note in short.warnings)
