"""Directions, erasing and lenses on a tiny model: what the edits do to the stream, exactly."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny_interventions import TOLERANCE, Tiny, gap, tiny_bench, tiny_lab

from critical_phase.errors import ConfigError
from critical_phase.probes.interventions import PLANS, Lab, Site, Transplant, record
from critical_phase.probes.interventions.answer_states import answer_states, means_by_kind
from critical_phase.probes.interventions.erasers import Erased, Eraser, Given
from critical_phase.probes.interventions.leace import as_eraser, concept
from critical_phase.probes.interventions.leace_fit import cross_covariance, fit_leace
from critical_phase.probes.interventions.lens_edit import Lens
from critical_phase.probes.interventions.slot_kinds import ANSWER, KINDS, QUESTION, QUESTION_END
from critical_phase.probes.interventions.tuned_lens import Translator, train_lens
from critical_phase.probes.positions import ANSWER_MEAN, Positions

EVERY = np.ones(4, dtype=np.bool_)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_bench(tmp_path_factory.mktemp("heads"))


def unit(tiny: Tiny, seed: int = 0) -> torch.Tensor:
    width = tiny.bench.model.config.hidden_size
    v = torch.from_numpy(np.random.default_rng(seed).standard_normal(width))
    return v / v.norm()


def along(v: torch.Tensor) -> Eraser:
    return Eraser(v[:, None], v[:, None])


def stream(tiny: Tiny, edit: Any, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return what the late model holds after a block under an edit, and the kinds of slots."""
    bench, held = tiny.bench, {}
    batch = bench.open_packer.batch(0)
    with bench.under(tiny.post), torch.no_grad():
        edit.prepare(bench, batch)
        with edit.attached(bench), record(bench.sites, [Site("resid", layer)], held):
            bench.run(batch)
    return held[Site("resid", layer)], bench.kinds(batch)


def test_states_of_candidates_are_what_single_rows_show(tiny: Tiny) -> None:
    bench, plan = tiny.bench, tiny.plan
    found = answer_states(bench, tiny.post, np.arange(4) == 1)
    assert found.values.shape[:2] == (bench.sites.layers, len(plan.rows_of[1]))
    assert found.right.tolist() == [True, False]
    end = len(plan.prompts[1])
    with bench.under(tiny.post), torch.no_grad():
        for at, row in enumerate(plan.rows_of[1]):
            ids = torch.tensor([plan.prompts[1] + plan.answers[row]])
            states = bench.model(ids, output_hidden_states=True).hidden_states[1][0]
            np.testing.assert_allclose(found.values[0, at], states[end:].mean(0), atol=1e-5)
    means = means_by_kind(found, 0, "all")
    torch.testing.assert_close(means[QUESTION_END], states[end - 1].double(), atol=1e-5, rtol=0)
    torch.testing.assert_close(means[QUESTION], states[: end - 1].double().mean(0), atol=1e-5,
                               rtol=0)  # fmt: skip
    np.testing.assert_allclose(means[ANSWER], found.values[0].mean(0), atol=1e-5)


def test_a_direction_that_is_erased_is_gone_there_and_nowhere_else(tiny: Tiny) -> None:
    v = unit(tiny)
    nothing, kinds = stream(tiny, Erased({1: along(v)}, "answer", 0.0), 1)
    gone, _ = stream(tiny, Erased({1: along(v)}, "answer"), 1)
    at = kinds == ANSWER
    assert float((gone[at].double() @ v).abs().max()) < 1e-6
    assert torch.equal(gone[~at], nothing[~at])
    want = nothing[at].double() - torch.outer(nothing[at].double() @ v, v)
    torch.testing.assert_close(gone[at].double(), want, atol=1e-6, rtol=0)
    half, _ = stream(tiny, Erased({1: along(v)}, "answer", 0.5), 1)
    torch.testing.assert_close((nothing + gone) / 2, half, atol=1e-6, rtol=0)


def test_the_control_moves_every_position_as_far_along_another_direction(tiny: Tiny) -> None:
    v = unit(tiny)
    other = along(v).elsewhere([0, 1])
    plain, kinds = stream(tiny, Erased({1: along(v)}, "all", 0.0), 1)
    moved, turned = (
        stream(tiny, Erased({1: one}, "all"), 1)[0] - plain for one in (along(v), other)
    )
    at = kinds > 0
    torch.testing.assert_close(moved[at].norm(dim=-1), turned[at].norm(dim=-1), atol=1e-5, rtol=0)
    assert float(torch.cosine_similarity(moved[at], turned[at], dim=-1).abs().max()) < 0.95
    assert torch.equal(along(v).elsewhere([0, 1]).writes, other.writes)


def test_giving_every_direction_is_the_patch_and_giving_none_nothing(tiny: Tiny) -> None:
    bench, width = tiny.bench, tiny.bench.model.config.hidden_size
    eye = torch.eye(width).double()
    for scope in ("all", "answer"):
        patch = bench.score(tiny.pre, Transplant(tiny.post, [Site("resid", 1)], scope))
        given = bench.score(tiny.pre, Given(tiny.post, {1: Eraser(eye, eye)}, scope))
        assert gap(given, patch) < TOLERANCE
    none = Given(tiny.post, {1: Eraser(eye[:, :0], eye[:, :0])}, "all")
    assert gap(bench.score(tiny.pre, none), bench.score(tiny.pre)) < TOLERANCE


def test_the_model_itself_holds_nothing_of_the_concept_after_leace(tiny: Tiny) -> None:
    """In float32 and inside the model, over the rows it was fitted on."""
    bench = tiny.bench
    states = answer_states(bench, {}, EVERY)
    fit = fit_leace(states.values[1].astype(np.float64), concept(states), 0.1)
    edit = Erased({1: as_eraser(fit, states, 1, "all")}, "all")
    rows, order = [], []
    for batch in bench.open_packer:
        held: dict[Site, torch.Tensor] = {}
        with bench.under({}), torch.no_grad():
            edit.prepare(bench, batch)
            with edit.attached(bench), record(bench.sites, [Site("resid", 1)], held):
                bench.run(batch)
        read = Positions(bench.plan, batch, (ANSWER_MEAN,)).read(held[Site("resid", 1)])
        rows.append(read[:, 0].double().numpy())
        order.append(batch.rows)
    after = np.concatenate(rows)[np.argsort(np.concatenate(order))]
    z = concept(states)
    before = cross_covariance(states.values[1].astype(np.float64), z)
    assert np.linalg.norm(cross_covariance(after, z)) < 1e-6 * np.linalg.norm(before)
    assert np.linalg.norm(after - states.values[1]) > 1e-3


def planted_lab(tiny: Tiny, tmp_path: Path, options: dict[str, str]) -> Lab:
    """A late model that differs from the base by one vector's worth, written by the last block."""
    place = [one for one in tiny.places if one.short == "mlp.down_proj"][-1]
    module = tiny.bench.model.get_submodule(place.module)
    rng = np.random.default_rng(3)
    v = unit(tiny).numpy()
    reads = rng.standard_normal((1, module.weight.shape[1])).astype(np.float32)
    sources = tiny.bench.mixture.sources
    sources.add("nothing", {})
    sources.add("planted", {place.module: (8 * v[:, None].astype(np.float32), reads, 1.0)})
    np.savez(tmp_path / "v.npz", direction=v)
    early, late = (
        float(tiny.bench.score(state).sum())
        for state in ({}, {place.module: tiny_lab(tiny).state("planted")[place.module]})
    )
    options = {"direction": str(tmp_path / "v.npz"), **options}
    lab = tiny_lab(tiny, options)
    return Lab(
        tiny.bench, tiny.places, ("nothing", "planted"), lab._kept,
        lambda s: (float(s.sum()) - early) / (late - early),
        options=options, exploratory=np.arange(4) % 2 == 0,
    )  # fmt: skip


def test_a_planted_direction_carries_all_and_another_nothing(tiny: Tiny, tmp_path: Path) -> None:
    """The last block writes along v: with v erased there early and late are one model."""
    options = {**PLANS["ablate"].options, "scope": "all", "draws": "1", "doses": "0,1"}
    lab = planted_lab(tiny, tmp_path, {k: v for k, v in options.items() if k != "direction"})
    PLANS["ablate"]().run(lab)
    last, first = tiny.bench.sites.layers - 1, 0
    late, early = (lab.scores(f"{end}/{last}") for end in ("late", "early"))
    assert gap(late, early) < TOLERANCE
    assert gap(lab.scores("late/-1"), lab.scores("early/-1")) < TOLERANCE
    assert gap(lab.scores(f"late/{first}"), lab.scores(f"early/{first}")) > 100 * TOLERANCE
    given = lab.cells.get(f"given/{last}")
    if given is not None:
        assert lab.share(given) == pytest.approx(1.0, abs=1e-3)
    other = along(unit(tiny, 9))
    pair = [tiny.bench.score(state, Erased({last: other}, "all")) for state in (lab.post, lab.pre)]
    assert gap(*pair) > 100 * TOLERANCE


def test_the_planted_direction_given_to_the_early_model_makes_it_the_late_one(
    tiny: Tiny, tmp_path: Path
) -> None:
    lab = planted_lab(tiny, tmp_path, {})
    last = tiny.bench.sites.layers - 1
    given = tiny.bench.score(lab.pre, Given(lab.post, {last: along(unit(tiny))}, "all"))
    assert gap(given, tiny.bench.score(lab.post)) < TOLERANCE


@pytest.mark.parametrize("layer", [-1, 0, 1])
def test_the_lens_is_the_final_norm_once_and_the_output_map(
    tiny: Tiny, layer: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reference: single rows through transformers; the last hidden state there is normed already,
    so the norm is applied to those before it alone. With weights of its own, twice is not once."""
    bench, plan, model = tiny.bench, tiny.plan, tiny.bench.model
    weights = model.model.norm.weight.data * torch.linspace(0.5, 2.0, model.config.hidden_size)
    monkeypatch.setattr(model.model.norm.weight, "data", weights)
    seen = bench.score(tiny.post, Lens(layer))
    wanted, twice = [], []
    with bench.under(tiny.post), torch.no_grad():
        for row in range(plan.rows):
            prompt = plan.prompts[int(plan.question[row])]
            ids = torch.tensor([prompt + plan.answers[row]])
            state = model(ids, output_hidden_states=True).hidden_states[layer + 1]
            once = model.model.norm(state)
            for into, one in ((wanted, once), (twice, model.model.norm(once))):
                logs = model.lm_head(one)[0].log_softmax(-1)[len(prompt) - 1 : -1]
                into.append(float(logs.gather(1, ids[0, len(prompt) :, None]).sum()))
    assert gap(seen, np.array(wanted)) < TOLERANCE
    assert gap(seen, np.array(twice)) > 10 * TOLERANCE


def test_after_the_last_block_the_lens_is_the_model_and_before_the_first_nothing(
    tiny: Tiny,
) -> None:
    bench, last = tiny.bench, tiny.bench.sites.layers - 1
    assert gap(bench.score(tiny.post, Lens(last)), bench.score(tiny.post)) < TOLERANCE
    early, late = (bench.score(state, Lens(-1)) for state in (tiny.pre, tiny.post))
    assert np.array_equal(early, late)


def test_a_tuned_lens_is_nearer_to_the_base_on_questions_it_never_saw(tiny: Tiny) -> None:
    bench = tiny.bench
    found = train_lens(bench, np.arange(4) % 2 == 0, steps=60, rate=0.01, seed=1)
    assert len(found.translators) == bench.sites.layers - 1
    assert all(after < before for before, after in zip(found.before, found.after, strict=True))
    again = train_lens(bench, np.arange(4) % 2 == 0, steps=60, rate=0.01, seed=1)
    assert again.after == found.after
    assert bench.score(tiny.post, Lens(0, found.translators[0])).shape == (tiny.plan.rows,)
    width = bench.model.config.hidden_size
    plain = Translator(torch.zeros(width, width), torch.zeros(width))
    assert np.array_equal(bench.score(tiny.post, Lens(0, plain)), bench.score(tiny.post, Lens(0)))


@pytest.mark.parametrize(
    ("plan", "options", "match"),
    [
        ("ablate", {"direction": "nowhere.npz"}, "no direction 'nowhere.npz'"),
        ("ablate", {"direction": "wide"}, "of width 3, the model has"),
        ("ablate", {"scope": "all,answer"}, "takes one name, not 2"),
        ("leace", {"fit": "late"}, "names 'late'"),
        ("lens", {"lenses": "tuned", "steps": "0"}, "cannot be trained for 0 steps"),
    ],
)
def test_what_cannot_be_used_is_refused(
    plan: str, options: dict[str, str], match: str, tiny: Tiny, tmp_path: Path
) -> None:
    if options.get("direction") == "wide":
        np.savez(tmp_path / "wide.npz", direction=np.ones(3))
        options = {"direction": str(tmp_path / "wide.npz")}
    lab = tiny_lab(tiny, {**PLANS[plan].options, **options})
    with pytest.raises(ConfigError, match=match):
        PLANS[plan]().run(lab)


def test_positions_of_an_eraser_are_those_of_its_name(tiny: Tiny) -> None:
    moved = {}
    for scope in KINDS:
        plain, kinds = stream(tiny, Erased({0: along(unit(tiny))}, scope, 0.0), 0)
        gone, _ = stream(tiny, Erased({0: along(unit(tiny))}, scope), 0)
        moved[scope] = {int(k) for k in kinds[(gone != plain).any(-1)].unique()}
    assert moved == {scope: set(kinds) for scope, kinds in KINDS.items()}
