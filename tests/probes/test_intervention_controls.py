"""Controls are as large as what they stand beside, and what cannot be used is refused at once."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_families import SHAPE, build_model
from tiny_interventions import Tiny, gap, tiny_bench, tiny_lab
from tiny_plan import build_plan, save_lora
from transformers import AutoModelForCausalLM, Qwen3MoeConfig

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions import (
    PLANS,
    Bench,
    Lab,
    Mixture,
    Patterns,
    Site,
    Sources,
    State,
    change,
    find_places,
    read_patterns,
    scaled,
    whole,
)
from critical_phase.probes.interventions.constant_vector import turned
from critical_phase.probes.interventions.grafting import PEERS, as_many
from critical_phase.probes.interventions.random_patterns import RandomPatterns
from critical_phase.probes.interventions.update import Place, grafted


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_bench(tmp_path_factory.mktemp("heads"))


def test_turned_vectors_keep_lengths_angles_and_the_lengths_of_their_sums() -> None:
    rng = np.random.default_rng(3)
    columns = torch.from_numpy(rng.standard_normal((24, 4)))
    columns[:, 1] = 3 * columns[:, 0]  # steps of one direction add up; drawn one by one they do not
    columns[:, 3] = 0.0
    vectors = dict(enumerate(columns.T))
    made = torch.stack(list(turned(vectors, rng).values()), dim=1)
    torch.testing.assert_close(made.T @ made, columns.T @ columns, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        made.cumsum(1).norm(dim=0), columns.cumsum(1).norm(dim=0), atol=1e-9, rtol=0
    )
    apart = torch.linalg.vector_norm(made[:, 0] - columns[:, 0]) / columns[:, 0].norm()
    assert float(apart) > 0.5
    (alone,) = turned({2: columns[:, 0]}, np.random.default_rng(8)).values()
    drawn = torch.from_numpy(np.random.default_rng(8).standard_normal(24))
    torch.testing.assert_close(alone, drawn * columns[:, 0].norm() / drawn.norm())


@pytest.mark.parametrize("family", ["llama", "gpt2"])
def test_random_patterns_move_every_row_as_far_as_the_donor_s_is_away(
    family: str, tmp_path: Path
) -> None:
    tiny = tiny_bench(tmp_path, family)
    bench, blocks = tiny.bench, (0, 1, 2)
    heads = {block: (0, 1, 2, 3) for block in blocks}
    batch = bench.open_packer.batch(0)
    with bench.under(tiny.pre):
        early = read_patterns(bench, batch, blocks)
    with bench.under(tiny.post):
        late = read_patterns(bench, batch, blocks)
    edit = RandomPatterns(tiny.post, tiny.pre, heads, 5)
    edit.prepare(bench, batch)
    moved = 0.0
    for block in blocks:
        wanted = (early[block] - late[block]).abs().sum(-1) / 2
        made = edit._given(block)(early[block])
        far = (made - early[block]).abs().sum(-1) / 2
        torch.testing.assert_close(far, wanted, atol=1e-6, rtol=0)
        torch.testing.assert_close(made.sum(-1), early[block].sum(-1), atol=1e-5, rtol=0)
        assert float(made.min()) >= 0
        assert not bool((made[early[block] == 0] > 0).any())  # what is hidden stays hidden
        moved = max(moved, float(wanted.max()))
    assert moved > 1e-3
    ours, again = (bench.score(tiny.pre, RandomPatterns(tiny.post, tiny.pre, heads, 5))
                   for _ in range(2))  # fmt: skip
    assert np.array_equal(ours, again)
    for other in (RandomPatterns(tiny.post, tiny.pre, heads, 6), Patterns(tiny.post, heads)):
        assert gap(bench.score(tiny.pre, other), ours) > 1e-7
    still = bench.score(tiny.pre, RandomPatterns(tiny.pre, tiny.pre, heads, 5))
    assert gap(still, bench.score(tiny.pre)) < 2e-5  # as far as nothing is nothing


def lab_of(tiny: Tiny, name: str, **options: str) -> Lab:
    return tiny_lab(tiny, {**PLANS[name].options, **options})


@pytest.mark.parametrize(
    ("plan", "options", "match"),
    [
        ("graft", {"draws": "0"}, "not made of whole numbers from 1 on"),
        ("constant_vector", {"draws": "2.5"}, "not made of whole numbers"),
        ("constant_vector", {"ranks": "0,2"}, "option ranks is '0,2'"),
        ("constant_vector", {"doses": "1"}, "a line needs two doses or more"),
        ("interpolate", {"draws": "2,3"}, "draws takes one number"),
        ("leace", {"doses": "1,1"}, "a line needs two doses"),
        ("patch", {"draws": "-1"}, "not made of whole numbers"),
        ("scale", {"late": "1"}, "a line needs two doses"),
        ("steer", {"doses": "0"}, "a dose of 0 steers nothing"),
        ("frozen_attention", {"draws": "none"}, "not a list of numbers"),
    ],
)
def test_options_are_refused_before_anything_is_measured(
    plan: str, options: dict[str, str], match: str, tiny: Tiny
) -> None:
    lab = lab_of(tiny, plan, **options)
    with pytest.raises(ConfigError, match=match):
        PLANS[plan]().run(lab)
    assert not lab.cells


def test_the_stream_that_the_answer_is_read_from_never_speaks(tiny: Tiny) -> None:
    """All of the change is there by construction: the last block's stream is the donor's."""
    lab = lab_of(tiny, "patch", sites="resid", positions="question_end,answer", enough="1e9")
    outcome = PLANS["patch"]().run(lab)
    best = max(lab.share(c) for n, c in lab.cells.items() if n.startswith("denoise/resid/2/"))
    (head,) = outcome.headlines
    assert head.layers != (2,)
    assert lab.share(lab.cells[head.cell]) < best
    assert "denoise/resid/2/answer" in lab.cells  # measured all the same


def test_a_steered_line_has_parts_whichever_dose_is_chosen(tiny: Tiny) -> None:
    lab = lab_of(tiny, "steer", doses="1", draws="1")
    (head,) = PLANS["steer"]().run(lab).headlines
    doses = [float(lab.cells[name].axes["dose"]) for name in head.doses]
    assert doses == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert len({float(lab.cells[name].axes["alpha"]) > 0 for name in head.doses[1:]}) == 1


def test_an_early_update_of_nothing_has_no_factor(tiny: Tiny) -> None:
    lab = lab_of(tiny, "scale", late="0,1", draws="1")
    lab.pre = scaled(tiny.pre, 0.0)
    outcome = PLANS["scale"]().run(lab)
    assert not outcome.headlines
    assert "the early update is nothing" in outcome.notes[0]
    assert set(lab.cells) == {"late/0", "late/1"}


def test_one_adapted_layer_has_no_prefix_and_says_so(tiny: Tiny) -> None:
    lab = lab_of(tiny, "graft", sets="prefix", draws="1")
    lab.places = tuple(place for place in tiny.places if place.layer == 1)
    outcome = PLANS["graft"]().run(lab)
    assert not outcome.headlines
    assert "one layer is adapted" in outcome.notes[0]


def test_grafting_every_place_of_both_heads_is_the_other_model(tmp_path: Path) -> None:
    """Heads that adapt other modules: the places of the late one alone would leave some behind."""
    family = "llama"
    saved = {
        f"{head}@1": save_lora(
            tmp_path / head, build_model(family), modules, (1,), fan=False, lora_alpha=12
        )[0]
        for head, modules in (("positive", ["q_proj", "up_proj"]), ("negative", ["down_proj"]))
    }
    sources = Sources(saved)
    modules = sorted({m for name in saved for m in sources.modules(name)})
    bench = Bench(Mixture(build_model(family), sources, modules), build_plan())
    states: list[State] = [whole(name, sources.modules(name)) for name in saved]
    early, late = states
    every = find_places(modules, bench.sites)
    assert np.array_equal(bench.score(grafted(early, late, every)), bench.score(late))
    assert np.array_equal(bench.score(grafted(late, early, every)), bench.score(early))
    part = find_places(sources.modules("negative@1"), bench.sites)
    assert not np.array_equal(bench.score(grafted(early, late, part)), bench.score(late))


def test_a_mixture_of_experts_is_patched_where_it_can_be(tmp_path: Path) -> None:
    def build() -> Any:
        torch.manual_seed(0)
        config = Qwen3MoeConfig(**SHAPE, head_dim=8, moe_intermediate_size=16, num_experts=4,
                                num_experts_per_tok=2)  # fmt: skip
        return AutoModelForCausalLM.from_config(config).eval()

    saved = save_lora(tmp_path, build(), ["q_proj", "v_proj"], (1, 2), lora_alpha=12)
    sources = Sources({f"negative@{one.step}": one for one in saved})
    modules = sources.modules("negative@2")
    bench = Bench(Mixture(build(), sources, modules), build_plan())
    pre, post = (whole(f"negative@{step}", modules) for step in (1, 2))
    places = find_places(modules, bench.sites)
    tiny = Tiny(bench, places, pre, post, saved, bench.plan, "qwen3_moe")
    lab = lab_of(tiny, "patch", positions="all,answer", draws="1")
    outcome = PLANS["patch"]().run(lab)
    assert outcome.notes[0] == "mlp was left out: this model has no such site"
    assert {cell.axes.get("site") for cell in lab.cells.values()} == {"resid", "attn", None}
    for layer in tiny.layers:
        graft = bench.score(grafted(pre, post, tiny.upto(layer)))
        assert gap(lab.scores(f"denoise/resid/{layer}/all"), graft) < 2e-5
    with pytest.raises(ConfigError, match="no site 'mlp'") as caught:
        change(bench.sites, {Site("mlp", 0): lambda x: None})
    assert "choose from resid, attn and" in str(caught.value.fix)


def test_sets_of_as_many_places_are_drawn_once_each_and_never_the_chosen_one() -> None:
    every = [Place(i, f"m{i}", "q") for i in range(6)]
    chosen = every[1:4]
    drawn = as_many(every, chosen, 0)
    assert len(drawn) == len({frozenset(one) for one in drawn}) == PEERS
    assert all(len(one) == 3 and set(one) <= set(every) for one in drawn)
    assert frozenset(chosen) not in map(frozenset, drawn)
    assert drawn == as_many(every, chosen, 0) != as_many(every, chosen, 1)


def test_where_few_sets_are_as_large_all_of_them_are_held_beside() -> None:
    every = [Place(i, f"m{i}", "q") for i in range(4)]
    others = as_many(every, every[:1], 0)
    assert sorted(one[0].layer for one in others) == [1, 2, 3]
    assert as_many(every, every, 0) == []
