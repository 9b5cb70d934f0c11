"""Identities that interventions must meet on every family: grafts, patches, scaling, patterns."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tiny_families import CONFIGS, build_model
from tiny_interventions import TOLERANCE, Tiny, gap, tiny_bench

from critical_phase.errors import CheckpointError
from critical_phase.probes import score
from critical_phase.probes.hooks import count_hooks
from critical_phase.probes.interventions import (
    Patterns,
    Site,
    Transplant,
    check_arrival,
    grafted,
)
from critical_phase.probes.interventions.erasers import Erased, Eraser
from critical_phase.probes.interventions.lens_edit import Lens


@pytest.fixture(scope="module", params=CONFIGS)
def tiny(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return tiny_bench(tmp_path_factory.mktemp("heads"), str(request.param))


def test_a_prefix_graft_is_the_residual_patch_at_all_positions(tiny: Tiny) -> None:
    bench = tiny.bench
    for layer in (tiny.layers[0], tiny.layers[-1]):
        graft = bench.score(grafted(tiny.pre, tiny.post, tiny.upto(layer)))
        patch = bench.score(tiny.pre, Transplant(tiny.post, [Site("resid", layer)]))
        assert gap(patch, graft) < TOLERANCE
    late = bench.score(tiny.post)
    assert gap(graft, late) == 0.0  # donor at the last layer: the donor, bit for bit
    assert gap(patch, late) < TOLERANCE


def test_the_identity_is_not_met_by_another_patch(tiny: Tiny) -> None:
    """The control: a patch at one position, and a graft of one layer less, are something else."""
    bench, last = tiny.bench, tiny.layers[-1]
    graft = bench.score(grafted(tiny.pre, tiny.post, tiny.upto(last - 1)))
    part = bench.score(tiny.pre, Transplant(tiny.post, [Site("resid", last - 1)], "question"))
    assert gap(part, graft) > 100 * TOLERANCE
    assert gap(bench.score(tiny.post), graft) > 100 * TOLERANCE


def test_a_model_patched_with_itself_is_itself(tiny: Tiny) -> None:
    bench = tiny.bench
    sites = [Site(name, layer) for name in ("resid", "attn", "mlp") for layer in tiny.layers]
    edit = Transplant(tiny.post, sites)
    assert gap(bench.score(tiny.post, edit), bench.score(tiny.post)) < TOLERANCE


def test_erasing_nothing_and_the_lens_after_the_last_block_are_the_model(tiny: Tiny) -> None:
    bench, last = tiny.bench, tiny.layers[-1]
    late, width = bench.score(tiny.post), bench.model.config.get_text_config().hidden_size
    v = torch.linspace(-1, 1, width).double()[:, None]
    one = Eraser(v / v.norm(), v / v.norm())
    assert gap(bench.score(tiny.post, Erased({0: one}, "all", 0.0)), late) < TOLERANCE
    assert gap(bench.score(tiny.post, Lens(last)), late) < TOLERANCE
    assert gap(bench.score(tiny.post, Erased({0: one}, "all")), late) > 10 * TOLERANCE
    early, seen = (bench.score(state, Lens(-1)) for state in (tiny.pre, tiny.post))
    assert gap(early, seen) == 0.0  # before the first block nothing differs
    assert gap(seen, late) > 10 * TOLERANCE


def test_patterns_of_the_model_itself_change_nothing_and_others_do(tiny: Tiny) -> None:
    bench = tiny.bench
    heads = dict.fromkeys(range(bench.sites.layers), (0, 1, 2, 3))
    if tiny.plan.rows and type(bench.model).__name__.startswith("GPTNeoFor"):
        with pytest.raises(CheckpointError, match=r"cannot change its attention|not read"):
            bench.score(tiny.post, Patterns(tiny.post, heads))
        return
    own = bench.score(tiny.post)
    assert gap(bench.score(tiny.post, Patterns(tiny.post, heads)), own) < TOLERANCE
    assert gap(bench.score(tiny.post, Patterns(tiny.pre, heads)), own) > 10 * TOLERANCE
    assert gap(bench.score(tiny.post), own) == 0.0


@pytest.mark.parametrize("family", ["llama", "gpt2", "gpt_neox", "phi3"])
def test_states_are_what_peft_makes_of_the_files(family: str, tmp_path: Path) -> None:
    """Plain, transposed and fused maps; a state of another step is seen."""
    tiny = tiny_bench(tmp_path, family)
    ids = torch.tensor([tiny.plan.prompts[0] + tiny.plan.answers[0]])
    for state, checkpoint in zip((tiny.pre, tiny.post), tiny.checkpoints, strict=True):
        assert check_arrival(tiny.bench.mixture, state, checkpoint, ids) < TOLERANCE
    with pytest.raises(CheckpointError, match="differs from a fresh load"):
        check_arrival(tiny.bench.mixture, tiny.pre, tiny.checkpoints[1], ids)


class Faulty(Transplant):
    """Raises inside its hook."""

    def _put(self, site: Site) -> Callable[[torch.Tensor], torch.Tensor]:
        def put(x: torch.Tensor) -> torch.Tensor:
            raise ZeroDivisionError("inside the hook")

        return put


def test_a_hook_that_raises_leaves_no_hook_and_no_donor_behind(tiny: Tiny) -> None:
    bench = tiny.bench
    before = bench.score(tiny.post, Transplant(tiny.pre, [Site("resid", 0)]))
    hooks = count_hooks(bench.model)  # those that transformers itself put there for good
    sites = [Site(name, 0) for name in ("resid", "attn", "mlp")]
    with pytest.raises(ZeroDivisionError):
        bench.score(tiny.post, Faulty(tiny.pre, sites))
    assert count_hooks(bench.model) == hooks
    assert gap(bench.score(tiny.post, Transplant(tiny.pre, [Site("resid", 0)])), before) == 0.0
    late = bench.score(tiny.post)
    bench.mixture.release()
    base = bench.score({})
    assert gap(late, base) > 100 * TOLERANCE
    family = tiny.family
    assert gap(score(build_model(family), tiny.plan).logprob_sum, base) < TOLERANCE
