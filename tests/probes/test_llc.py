"""Learning coefficients: the known quadratic, the traps, and the files of a series."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from full_unit import full_unit

from critical_phase.checkpoints import Checkpoint, Example
from critical_phase.errors import CheckpointError, ConfigError, FitError, StoreError
from critical_phase.probes import draw_for_gradients, make_units
from critical_phase.probes.llc_files import llc_path, settings_path
from critical_phase.probes.llc_job import LlcSettings, learning_coefficients
from critical_phase.probes.llc_quadratic import Quadratic, known_llc, quadratic_control
from critical_phase.probes.llc_sampler import Chain, Sampling, losses_at, sample_chain
from critical_phase.probes.llc_sweep import Cell, choose
from critical_phase.probes.llc_target import AnswerTarget, chosen_parameters, losses_and_slope

EXAMPLES = tuple(
    Example(f"q{i}", "a", (0, *range(40 + i, 46 + i)), tuple(range(60 + i, 62 + i + i % 3)))
    for i in range(12)
)
COPIES = 400
"""Directions of each curvature, so that few steps give a sharp mean."""
CURVATURE = torch.tensor([0.1, 0.5, 2.0], dtype=torch.float64).repeat(COPIES)
USUAL = Sampling(0.004, 10.0, method="sgld", burn_in=150, draws=100, chains=1, batch=4)


class Exact:
    """A quadratic without scatter of examples, at its minimum or beside it."""

    def __init__(self, curvature: torch.Tensor, count: int = 100, start: float = 0.0) -> None:
        self.count, self._curvature = count, curvature
        begin = torch.full_like(curvature, start)
        self.parameters = {"w": begin.requires_grad_(True)}

    def losses(self, chosen: torch.Tensor) -> torch.Tensor:
        loss = 0.5 * (self._curvature * self.parameters["w"] ** 2).sum()
        return loss.expand(len(chosen))


def estimate(target: Any, sampling: Sampling, seeds: int = 3) -> tuple[float, float]:
    """Mean and standard error over chains, per copy."""
    here = losses_at(target, 50)
    found = [sample_chain(target, here, sampling, (s,)).llc / COPIES for s in range(seeds)]
    return float(np.mean(found)), float(np.std(found, ddof=1) / math.sqrt(seeds))


def stepped(curvature: torch.Tensor, sampling: Sampling, count: int) -> float:
    """What finite steps sample: a variance of 1 / (p (1 - lr p / 4)) for a precision p."""
    heat = sampling.heat(count)
    precision = heat * curvature + sampling.gamma
    share = heat * curvature / (precision * (1 - sampling.lr * precision / 4))
    return float(share.sum() / 2) / COPIES


@pytest.mark.parametrize("method", ["sgld", "rmsprop"])
def test_a_quadratic_has_its_known_coefficient(method: Any) -> None:
    sampling = replace(USUAL, method=method)
    found, error = estimate(Exact(CURVATURE), sampling)
    heat = 100 / math.log(100)
    known = known_llc(CURVATURE, heat, 10.0) / COPIES
    by_hand = sum(0.5 * heat * h / (heat * h + 10) for h in (0.1, 0.5, 2.0))
    assert known == pytest.approx(by_hand, rel=1e-12)
    assert error < 0.03
    assert found == pytest.approx(known, rel=0.06)  # steps of this size add up to .05


def test_large_steps_sample_what_their_law_says_and_not_the_limit() -> None:
    sampling = replace(USUAL, lr=0.03, burn_in=40)
    found, error = estimate(Exact(CURVATURE), sampling)
    expected = stepped(CURVATURE, sampling, 100)
    assert expected > known_llc(CURVATURE, sampling.heat(100), 10.0) / COPIES + 0.1
    assert abs(found - expected) < 4 * error + 0.02


def test_without_a_pull_it_is_half_the_number_of_directions() -> None:
    assert known_llc(CURVATURE, 20.0, 0.0) == pytest.approx(1.5 * COPIES)


def test_beta_is_one_over_log_n_unless_given() -> None:
    assert USUAL.heat(100) == pytest.approx(100 / math.log(100))
    assert replace(USUAL, beta=0.5).heat(100) == 50.0


def test_beside_a_minimum_it_is_negative_and_stays_so() -> None:
    found, _ = estimate(Exact(CURVATURE, start=2.0), replace(USUAL, draws=30))
    assert found < -20


def test_burn_in_is_in_no_mean() -> None:
    """From 2 away of the minimum the way down is the burn-in; the draws are all down there."""
    target = Exact(torch.full((COPIES,), 5.0, dtype=torch.float64), start=2.0)
    sampling = replace(USUAL, gamma=0.01, draws=20)
    lowest = -10.0 * sampling.heat(100)  # L(w*) - L(minimum) = 5 * 4 / 2
    found, _ = estimate(target, sampling)
    assert found == pytest.approx(lowest + 0.5, abs=0.15)


def test_a_flat_loss_has_zero() -> None:
    target = Exact(torch.zeros(3, dtype=torch.float64))
    with_grad = sample_chain(target, losses_at(target, 50), replace(USUAL, draws=50), (0,))
    assert with_grad.llc == 0.0
    assert with_grad.distance > 0


def test_equal_seeds_give_equal_chains_and_the_parameters_are_put_back() -> None:
    target = Quadratic(CURVATURE, 40, torch.Generator().manual_seed(0))
    here, sampling = losses_at(target, 40), replace(USUAL, burn_in=5, draws=20, batch=8)
    one, two, other = (sample_chain(target, here, sampling, (s,)) for s in (1, 1, 2))
    assert one == two != other
    assert torch.equal(
        target.parameters["w"].detach(), torch.zeros(len(CURVATURE), dtype=torch.float64)
    )


def test_a_chain_that_breaks_off_says_where() -> None:
    target = Exact(torch.full((2,), 50.0, dtype=torch.float64), start=1.0)
    chain = sample_chain(target, losses_at(target, 50), replace(USUAL, lr=9.0), (0,))
    assert math.isnan(chain.llc)
    assert chain.failed is not None
    assert chain.failed > 0


def test_the_control_is_near_the_known_value_at_usual_settings() -> None:
    known, chains = quadratic_control(Sampling(0.1 / 50, 50.0), 512, (0,))
    assert known == pytest.approx(20.6, abs=0.1)
    assert np.mean([chain.llc for chain in chains]) == pytest.approx(known, rel=0.25)


def cell(reach: float, pace: float, llc: float) -> Cell:
    chain = Chain(llc, (llc, llc), 1.0, None)
    return Cell(reach, pace, pace, 1 / reach, (chain, chain))


def test_the_widest_reach_with_a_plateau_is_taken_and_its_smallest_step() -> None:
    level = [cell(0.5, p, v) for p, v in ((1.0, 4.0), (2.0, 4.2), (4.0, 4.3))]
    steep = [cell(1.0, p, v) for p, v in ((1.0, 5.0), (2.0, 9.0), (4.0, 30.0))]
    found = choose([*level, *steep])
    assert (found.reach, found.lr, found.plateau) == (0.5, 1.0, True)
    assert found.difference == pytest.approx(0.2 / 4.2)


def test_without_a_plateau_the_least_difference_is_taken_and_said() -> None:
    steep = [cell(1.0, p, v) for p, v in ((1.0, 5.0), (2.0, 9.0), (4.0, 13.0))]
    assert choose(steep).plateau is False
    assert choose(steep).lr == 2.0
    below = [cell(1.0, p, v) for p, v in ((1.0, -5.0), (2.0, -5.1))]
    assert choose(below).plateau is False


def test_a_sweep_of_broken_chains_is_refused() -> None:
    with pytest.raises(FitError, match="no two neighbouring step sizes of 2 settings"):
        choose([cell(1.0, 1.0, math.nan), cell(1.0, 2.0, math.nan)])


@pytest.fixture
def series(tmp_path: Path, make_adapters: Callable[..., Any]) -> tuple[Checkpoint, ...]:
    made: tuple[Checkpoint, ...] = make_adapters(tmp_path / "heads", "llama", (0, 1, 2))
    return made


QUICK = LlcSettings(Sampling(1e-4, 100.0, burn_in=2, draws=4, chains=2, batch=4))
DRAWN = draw_for_gradients(EXAMPLES, 12, np.random.default_rng(0))


def run_llc(
    run: Path, series: tuple[Checkpoint, ...], make: Callable[..., Any], plan: Any, **more: Any
) -> Any:
    units = [unit for unit in make_units({"negative": series}) if unit.checkpoint is not None]
    settings = more.pop("settings", QUICK)
    return learning_coefficients(
        run, make("llama"), "negative", units, DRAWN, plan, settings, reference=units[-1], **more
    )


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_series_is_written_once_and_taken_up_again(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    run = tmp_path / "run"
    calls = iter([False, False, False, True])  # the control and two checkpoints, then stop
    stopped = run_llc(run, series, make_model, plan, stop=lambda: next(calls))
    assert ([u.step for u in stopped.done], [u.step for u in stopped.remaining]) == ([0, 1], [2])
    first = llc_path(run, "negative", 1).read_bytes()
    again = run_llc(run, series, make_model, plan)
    assert ([u.step for u in again.done], [u.step for u in again.existing]) == ([2], [0, 1])
    whole = run_llc(tmp_path / "other", series, make_model, plan)
    assert [u.step for u in whole.done] == [0, 1, 2]
    assert llc_path(tmp_path / "other", "negative", 1).read_bytes() == first
    settled = read(settings_path(run, "negative"))
    assert settled["sweep"] is None
    assert settled["n_beta"] == pytest.approx(12 / math.log(12))
    twin = read(llc_path(run, "negative", 2, control=True))
    assert twin["control"] == "random_adapter"
    assert twin["loss"] != read(llc_path(run, "negative", 2))["loss"]
    other = replace(QUICK, sampling=replace(QUICK.sampling, draws=5))
    with pytest.raises(StoreError, match="its draws is 4, asked for 5"):
        run_llc(run, series, make_model, plan, settings=other)


def test_settings_are_chosen_by_a_sweep_where_none_are_given(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    asked = replace(QUICK, sampling=replace(QUICK.sampling, lr=0.0, gamma=0.0, burn_in=1, draws=2))
    run_llc(tmp_path, series, make_model, plan, settings=asked)
    settled = read(settings_path(tmp_path, "negative"))
    assert len(settled["sweep"]["cells"]) == 9
    taken = [(c["lr"], c["gamma"]) for c in settled["sweep"]["cells"]]
    assert (settled["lr"], settled["gamma"]) in taken
    for step in (0, 1, 2):
        key = read(llc_path(tmp_path, "negative", step))["key"]
        assert (key["lr"], key["gamma"]) == (settled["lr"], settled["gamma"])


@pytest.fixture
def live(series: tuple[Checkpoint, ...], make_model: Callable[..., Any]) -> Any:
    from critical_phase.checkpoints import AdapterSlot

    slot = AdapterSlot.attach(make_model("llama"), series[1])
    with slot.live() as parameters:
        yield slot.model, parameters


def test_the_loss_is_that_of_whole_answers_of_unequal_length(live: Any) -> None:
    model, parameters = live
    target = AnswerTarget(model, parameters, EXAMPLES)
    losses, slope = losses_and_slope(target, 5)
    for place, example in enumerate(EXAMPLES):
        tokens = torch.tensor([[*example.question_ids, *example.answer_ids]])
        logs = model(input_ids=tokens).logits[0].log_softmax(-1)
        start = len(example.question_ids)
        single = -sum(logs[start - 1 + i, t].item() for i, t in enumerate(example.answer_ids))
        assert losses[place].item() == pytest.approx(single, rel=1e-5)
    mean = target.losses(torch.arange(12)).mean()
    gradients = torch.autograd.grad(mean, list(parameters.values()))
    assert slope == pytest.approx(sum(float(g.square().sum()) for g in gradients) ** 0.5, rel=1e-4)


def test_a_model_in_training_mode_is_refused(live: Any) -> None:
    model, parameters = live
    model.train()
    with pytest.raises(ConfigError, match="in training mode"):
        AnswerTarget(model, parameters, EXAMPLES)


def test_b_alone_leaves_every_a_as_it_is(live: Any) -> None:
    model, parameters = live
    chosen = chosen_parameters(parameters, "b")
    assert chosen
    assert all("lora_B" in name for name in chosen)
    before = {n: t.detach().clone() for n, t in parameters.items()}
    target = AnswerTarget(model, chosen, EXAMPLES)
    sample_chain(target, losses_and_slope(target, 12)[0], QUICK.sampling, (0,))
    assert all(torch.equal(t, before[n]) for n, t in parameters.items())


def test_the_estimate_depends_on_how_factors_are_scaled(live: Any) -> None:
    """(cB, A/c) is the same update; the pull and the noise are not those of the update."""
    model, parameters = live
    found = []
    for factor in (1.0, 8.0):
        with torch.no_grad():
            for name, tensor in parameters.items():
                tensor.mul_(factor if "lora_B" in name else 1 / factor)
        target = AnswerTarget(model, parameters, EXAMPLES)
        here, _ = losses_and_slope(target, 12)
        found.append((float(here.mean()), sample_chain(target, here, QUICK.sampling, (0,)).llc))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-4)
    assert abs(found[0][1] - found[1][1]) > 0.5 * abs(found[0][1])


def test_full_weights_are_refused_by_name(
    tmp_path: Path, series: tuple[Checkpoint, ...], make_model: Any, plan: Any
) -> None:
    model = make_model("llama")
    unit = full_unit(tmp_path / "full", model)
    with pytest.raises(CheckpointError, match="sampled over an adapter, and this holds full"):
        learning_coefficients(
            tmp_path / "run", model, "negative", [unit], DRAWN, plan, QUICK,
            reference=unit,
        )  # fmt: skip
