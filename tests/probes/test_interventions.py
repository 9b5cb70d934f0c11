"""States, places, edits and searches of interventions on tiny models."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_families import build_model
from tiny_interventions import TOLERANCE, Tiny, gap, tiny_bench, tiny_lab
from tiny_plan import build_plan, save_adapters, save_lora

from critical_phase.errors import CheckpointError, ConfigError, StoreError
from critical_phase.probes.interventions import (
    Bench,
    CellsFile,
    Mixture,
    Patterns,
    Place,
    Site,
    Sources,
    State,
    Transplant,
    find_places,
    grafted,
    head_places,
    mixed,
    read_patterns,
    scaled,
    smallest,
    whole,
)
from critical_phase.probes.interventions.constant_vector import Projected, Shift
from critical_phase.probes.interventions.slot_kinds import KINDS, chosen_slots
from critical_phase.probes.interventions.transplant import RandomTransplant
from critical_phase.probes.interventions.vectors import main_directions, mean_shifts

ATTENTION = {
    "llama": ["q_proj", "k_proj", "v_proj", "o_proj"],
    "gpt2": ["c_attn", "c_proj"],
    "gpt_neox": ["query_key_value", "dense"],
    "phi3": ["qkv_proj", "o_proj"],
    "opt": ["q_proj", "k_proj", "v_proj", "out_proj"],
}


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_bench(tmp_path_factory.mktemp("heads"))


def weight(tiny: Tiny, state: State, module: str) -> torch.Tensor:
    with tiny.bench.mixture.holding(state):
        return tiny.bench.model.get_submodule(module).weight.detach().clone().double()


def dense(tiny: Tiny, source: str, module: str) -> torch.Tensor:
    b, a, scaling = tiny.bench.mixture.sources.update(source, module)
    return scaling * torch.from_numpy(b).double() @ torch.from_numpy(a).double()


@pytest.mark.parametrize("alpha", [-0.5, 0.3, 0.5, 1.7])
def test_scaling_and_mixing_are_exact_on_the_update_and_not_on_factors(
    tiny: Tiny, alpha: float
) -> None:
    for place in tiny.places:
        base = weight(tiny, {}, place.module)
        one, other = (dense(tiny, f"negative@{i}", place.module) for i in (1, 2))
        line = base + (1 - alpha) * one + alpha * other
        torch.testing.assert_close(
            weight(tiny, mixed(tiny.pre, tiny.post, alpha), place.module), line, atol=1e-6, rtol=0
        )
        torch.testing.assert_close(
            weight(tiny, scaled(tiny.post, alpha), place.module),
            base + alpha * other,
            atol=1e-6,
            rtol=0,
        )
        factors = base + alpha**2 * other  # what scaling both factors would give
        assert float((factors - base - alpha * other).abs().max()) > 1e-3


def test_the_ends_of_a_mixture_are_the_two_models_bit_for_bit(tiny: Tiny) -> None:
    bench = tiny.bench
    for alpha, end in ((0.0, tiny.pre), (1.0, tiny.post)):
        assert np.array_equal(bench.score(mixed(tiny.pre, tiny.post, alpha)), bench.score(end))
    assert np.array_equal(bench.score(scaled(tiny.post, 0.0)), bench.score({}))


def test_a_state_does_not_depend_on_what_was_held_before(tiny: Tiny) -> None:
    bench = tiny.bench
    want = bench.score(tiny.pre)
    for state in (tiny.post, mixed(tiny.pre, tiny.post, 0.3), scaled(tiny.post, 3.0), {}):
        bench.score(state)
        assert np.array_equal(bench.score(tiny.pre), want)
    with pytest.raises(ZeroDivisionError), bench.under(tiny.post):
        raise ZeroDivisionError
    assert np.array_equal(bench._instrument.measure().logprob_sum, want)


@pytest.mark.parametrize("family", ATTENTION)
def test_a_head_graft_moves_the_pattern_of_that_head_alone(family: str, tmp_path: Path) -> None:
    model = build_model(family)
    saved = save_lora(
        tmp_path, model, ATTENTION[family], (1, 2), fan=family == "gpt2", lora_alpha=12
    )
    sources = Sources({f"negative@{one.step}": one for one in saved})
    modules = sources.modules("negative@1")
    bench = Bench(Mixture(build_model(family), sources, modules), build_plan())
    pre, post = (whole(f"negative@{step}", modules) for step in (1, 2))
    heads = head_places(find_places(modules, bench.sites), bench.model.config)
    groups = 2 if family in ("llama", "phi3") else 4
    assert {place.head for place in heads} == set(range(groups))
    own = [place for place in heads if place.layer == 0 and place.head == 1]
    batch = bench.open_packer.batch(0)
    with bench.under(pre):
        before = read_patterns(bench, batch, (0,))[0]
    with bench.under(grafted(pre, post, own)):
        after = read_patterns(bench, batch, (0,))[0]
    moved = (before - after).abs().amax(dim=(0, 2, 3))
    each = 4 // groups
    mine = torch.zeros(4, dtype=torch.bool)
    mine[each : 2 * each] = True
    assert bool((moved[mine] > 1e-4).all())
    assert float(moved[~mine].max()) < 1e-6
    # All heads one after another are the whole modules.
    attention = [
        p for p in find_places(modules, bench.sites) if p.module in {h.module for h in heads}
    ]
    step_by_step: State = pre
    for place in heads:
        step_by_step = grafted(step_by_step, post, [place])
    assert gap(bench.score(step_by_step), bench.score(grafted(pre, post, attention))) < TOLERANCE


def test_random_updates_have_the_norms_of_what_they_stand_for(tiny: Tiny) -> None:
    lab, sources = tiny_lab(tiny), tiny.bench.mixture.sources
    places = tiny.places[:2]
    made = lab.random_beside({}, places, 0)
    assert set(made) == {place.module for place in places}
    for place in places:
        gaps = dense(tiny, "negative@2", place.module) - dense(tiny, "negative@1", place.module)
        norm = sources.norm(made[place.module], place.module)
        assert norm == pytest.approx(float(gaps.norm()), rel=1e-5)
    again, other = lab.random_beside({}, places, 0), lab.random_beside({}, places, 1)
    assert again == made
    scores = [tiny.bench.score(state) for state in (made, other)]
    assert gap(*scores) > 100 * TOLERANCE


def test_every_direction_of_the_shift_together_is_the_residual_patch(tiny: Tiny) -> None:
    bench, every = tiny.bench, np.ones(4, dtype=np.bool_)
    directions = main_directions(bench, tiny.pre, tiny.post, 1, KINDS["all"], every)
    eye = directions.T @ directions
    torch.testing.assert_close(eye, torch.eye(len(eye)).double(), atol=1e-9, rtol=0)
    whole_patch = bench.score(tiny.pre, Transplant(tiny.post, [Site("resid", 1)]))
    full = bench.score(tiny.pre, Projected(tiny.post, 1, "all", directions))
    assert gap(full, whole_patch) < TOLERANCE
    none = bench.score(tiny.pre, Projected(tiny.post, 1, "all", directions[:, :0]))
    assert gap(none, bench.score(tiny.pre)) < TOLERANCE


def test_the_mean_shift_is_what_single_rows_show(tiny: Tiny) -> None:
    """Reference: one question, one row at a time, through plain forward passes."""
    bench, plan = tiny.bench, tiny.plan
    only = np.arange(4) == 1
    found = mean_shifts(bench, tiny.pre, tiny.post, only)
    states = []
    for state in (tiny.pre, tiny.post):
        with bench.under(state), torch.no_grad():
            rows = []
            for row in plan.rows_of[1]:
                ids = torch.tensor([plan.prompts[1] + plan.answers[row]])
                rows.append(bench.model(ids, output_hidden_states=True).hidden_states[2][0])
            states.append(rows)
    gaps = [late - early for early, late in zip(*states, strict=True)]
    end = len(plan.prompts[1])
    answers = torch.cat([one[end:] for one in gaps]).double()
    torch.testing.assert_close(found.mean(1, KINDS["answer"]), answers.mean(0), atol=1e-5, rtol=0)
    own = gaps[0][end - 1].double()
    torch.testing.assert_close(found.mean(1, KINDS["question_end"]), own, atol=1e-5, rtol=0)


def test_a_shift_of_nothing_changes_nothing_and_a_random_one_does(tiny: Tiny) -> None:
    bench, width = tiny.bench, tiny.bench.model.config.hidden_size
    own = bench.score(tiny.pre)
    nothing = Shift({1: dict.fromkeys(KINDS["all"], torch.zeros(width))})
    assert gap(bench.score(tiny.pre, nothing), own) < TOLERANCE
    moved = RandomTransplant(tiny.post, [Site("resid", 1)], "all", 3)
    assert gap(bench.score(tiny.pre, moved), own) > 100 * TOLERANCE


def test_patterns_of_one_head_leave_the_others_their_own(tiny: Tiny) -> None:
    bench = tiny.bench
    batch = bench.open_packer.batch(0)
    edit = Patterns(tiny.pre, {1: (2,)})
    edit.prepare(bench, batch)
    assert {len(p) for p in edit._patterns.values()} == {len(batch.inputs["input_ids"])}
    one, every = (
        bench.score(tiny.post, Patterns(tiny.pre, {1: heads})) for heads in ((2,), (0, 1, 2, 3))
    )
    assert gap(one, bench.score(tiny.post)) > 0
    assert gap(one, every) > 1e-5


def test_positions_cover_every_token_once(tiny: Tiny) -> None:
    packer = tiny.bench.open_packer
    for batch in packer:
        kinds = tiny.bench.kinds(batch)
        parts = [chosen_slots(kinds, name) for name in ("question", "question_end", "answer")]
        assert torch.equal(sum(part.int() for part in parts), chosen_slots(kinds, "all").int())
        questions = {int(q) for q in tiny.plan.question[batch.rows]}
        tokens = sum(len(tiny.plan.prompts[q]) for q in questions)
        answers = int(tiny.plan.tokens[batch.rows].sum())
        assert [int(part.sum()) for part in parts] == [
            tokens - len(questions),
            len(questions),
            answers,
        ]
    with pytest.raises(ConfigError, match="no position 'middle'"):
        chosen_slots(kinds, "middle")


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 24), st.data())
def test_the_search_finds_a_planted_set_and_nothing_more(count: int, data: st.DataObject) -> None:
    planted = data.draw(st.sets(st.integers(0, count - 1), min_size=1))
    asked: list[tuple[int, ...]] = []

    def enough(some: tuple[int, ...]) -> bool:
        asked.append(some)
        return planted <= set(some)

    assert set(smallest(range(count), enough)) == planted
    assert len(set(asked)) == len(asked)


def test_what_the_search_finds_is_minimal_where_many_sets_are_enough() -> None:
    """Any three of eight are enough: no single one of the found may be left out."""
    found = smallest(range(8), lambda some: len(some) >= 3)
    assert len(found) == 3
    few: list[int] = []
    smallest(range(64), lambda some: few.append(1) is None and 7 in some)
    assert len(few) <= 2 * 6


def test_measured_cells_are_kept_and_those_of_another_way_refused(tmp_path: Path) -> None:
    path = tmp_path / "cells.npz"
    one = CellsFile(path, "key")
    one.put("denoise/single/0", np.arange(3.0))
    one.flush()
    first = path.read_bytes()
    again = CellsFile(path, "key")
    assert "denoise/single/0" in again
    assert again["denoise/single/0"].tolist() == [0.0, 1.0, 2.0]
    again.flush()
    assert path.read_bytes() == first
    with pytest.raises(StoreError, match="in another way"):
        CellsFile(path, "other")
    assert "denoise/single/0" not in CellsFile(path, "other", overwrite=True)
    path.write_bytes(first[: len(first) // 2])
    with pytest.raises(StoreError, match="cannot read"):
        CellsFile(path, "key")
    assert "denoise/single/0" not in CellsFile(path, "key", overwrite=True)


def test_adapters_that_are_more_than_updates_are_refused(tmp_path: Path) -> None:
    dora = save_lora(tmp_path / "dora", build_model("llama"), ["up_proj"], use_dora=True)
    with pytest.raises(CheckpointError, match="use_dora"):
        Sources({"negative@1": dora[0]})
    saved = save_adapters(tmp_path / "plain", "llama", (1, 2))
    sources = Sources({"negative@1": saved[0]})
    shutil.copy(saved[1].path / "adapter_model.safetensors", saved[0].path)
    with pytest.raises(CheckpointError, match="was listed with"):
        sources.modules("negative@1")


def test_models_that_cannot_hold_a_state_are_refused(tmp_path: Path) -> None:
    saved = save_adapters(tmp_path, "llama", (1,))
    sources = Sources({"negative@1": saved[0]})
    modules = sources.modules("negative@1")
    with pytest.raises(ConfigError, match="bfloat16"):
        Mixture(build_model("llama").bfloat16(), sources, modules)
    with pytest.raises(CheckpointError, match="has no module"):
        Mixture(build_model("gpt2"), sources, modules)
    with pytest.raises(CheckpointError, match="lies in no block"):
        find_places(["lm_head"], tiny_sites())
    mixture = Mixture(build_model("llama"), sources, modules[:1])
    with pytest.raises(CheckpointError, match="not among the modules"):
        mixture.hold(whole("negative@1", modules))


def tiny_sites() -> Any:
    from critical_phase.probes import resolve

    return resolve(build_model("llama"))


def test_places_are_sorted_and_named_within_their_block(tiny: Tiny) -> None:
    assert [p.layer for p in tiny.places] == sorted(p.layer for p in tiny.places)
    names = {p.short for p in tiny.places}
    assert names == {"self_attn.q_proj", "mlp.down_proj", "mlp.up_proj"}
    for one, other in itertools.pairwise(tiny.places):
        assert (one.layer, one.short) < (other.layer, other.short)
    assert isinstance(tiny.places[0], Place)
