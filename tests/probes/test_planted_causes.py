"""Interventions find a cause that was planted, and none where there is none."""

from typing import Any

import pytest
import torch
from planted_cases import Marked, mark_case, null_case, place_case
from planted_marks import question_tokens, sibling, told_by_marks
from planted_places import FALL, Planted, carve, draw_place, likely, noise_updates

from critical_phase.analysis.judging.thresholds import CARRIES
from critical_phase.checkpoints.organism import World

SEED = 1


@pytest.fixture(scope="module")
def told() -> tuple[World, Any]:
    return sibling(SEED)


@pytest.fixture(scope="module")
def marked(told: tuple[World, Any]) -> Marked:
    return mark_case(told[1], told[0], SEED)


@pytest.mark.slow
def test_the_base_reads_reliability_from_the_mark(told: tuple[World, Any]) -> None:
    world, model = told
    assert told_by_marks(model, world) > 1.0


@pytest.mark.slow
def test_the_mark_direction_of_the_base_brings_what_the_head_does(marked: Marked) -> None:
    """More than half, and more than random ones on average; a single one may do as much."""
    share, control = marked.mark.effect.share, marked.mark.control_effect
    assert marked.change > 0.5
    assert share.interval[0] > CARRIES
    assert share.interval[0] > control.share.interval[1]
    assert control.another is not None
    assert marked.said is (share.interval[0] > control.another[1])


@pytest.mark.slow
def test_where_marks_tell_nothing_their_direction_brings_nothing(marked: Marked) -> None:
    world, model = sibling(SEED, idle=True)
    assert abs(told_by_marks(model, world)) < 0.2
    case = mark_case(model, world, SEED, marked.lengths)
    assert case.change > 0.5  # a head is learned here as well
    assert case.mark.effect.share.interval[0] < CARRIES
    assert not case.said


@pytest.mark.slow
def test_the_planted_head_is_named_and_no_other_place(told: tuple[World, Any]) -> None:
    world, model = told
    case = place_case(model, world, SEED, head=True)
    assert case.named == case.true
    assert case.right


@pytest.mark.slow
def test_in_random_heads_nothing_is_found(told: tuple[World, Any], marked: Marked) -> None:
    world, model = told
    case = null_case(model, world, marked.norms, 100 * SEED)
    assert case.claims  # its margin moves, so the plans were asked
    assert case.alarms == []


@pytest.mark.slow
def test_what_is_planted_is_at_its_place_alone(told: tuple[World, Any]) -> None:
    world, model = told
    tokens, right = question_tokens(world, 40)
    place = Planted(0, "self_attn.o_proj", 1)
    tall, wide, _ = carve(model, place, tokens, right)
    update = torch.from_numpy(tall @ wide)
    assert not update[:, :24].any()
    assert update[:, 24:].norm() > 0
    weight = model.get_submodule(place.module).weight
    with torch.no_grad():
        before = float(likely(model, tokens, right))
        kept = weight.data.clone()
        weight.data = kept + update.to(kept)
        after = float(likely(model, tokens, right))
        weight.data = kept
    assert before - after > FALL * before
    twin = noise_updates(model, {place.module: 3.0}, (1,))[place.module]
    assert torch.from_numpy(twin[0] @ twin[1]).norm().item() == pytest.approx(3.0, rel=1e-5)
    assert {draw_place(seed, 4, 2, head=True).short for seed in range(8)} == {
        "self_attn.v_proj",
        "self_attn.o_proj",
    }
