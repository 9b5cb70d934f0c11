"""One adapter from a pair of heads: exact, loadable by stock PEFT, and no contrast of logits."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from tiny_generation import FAMILIES, Pair, tiny_prompts

from critical_phase.checkpoints import Checkpoint, list_series, quiet_peft
from critical_phase.errors import ConfigError
from critical_phase.probes.generation import Asked, Lines, apart, merge_heads, save_merged
from critical_phase.probes.generation.merged import truncated
from critical_phase.probes.interventions.sources import Sources


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return Pair(tmp_path_factory.mktemp(request.param), request.param)


@pytest.fixture(scope="module")
def asked() -> list[Asked]:
    return tiny_prompts()


def test_merged_weights_are_the_base_plus_the_exact_update(pair: Pair, asked: list[Asked]) -> None:
    merged = merge_heads(pair.sources, "positive", "negative", 0.7)
    assert merged.error == 0.0
    dense = copy.deepcopy(pair.base)
    for module, (b, a, scaling) in pair.updates["positive"].items():
        other = pair.updates["negative"][module]
        update = 0.7 * (scaling * b @ a - other[2] * other[0] @ other[1])
        weight = dense.get_submodule(module).weight
        turned = type(dense.get_submodule(module)).__name__ == "Conv1D"
        weight.data += torch.from_numpy(update.T if turned else update)
    prompt = torch.tensor([asked[1].prompt])
    lines = Lines(pair.base, {"merged": merged.updates})
    with torch.no_grad():
        wanted = dense(input_ids=prompt).logits
        with lines.attached():
            found = pair.base(input_ids=prompt).logits
    # float32 sums of 32 to 48 terms in another order, through three blocks
    assert torch.allclose(found, wanted, atol=2e-5 * float(wanted.abs().max()))


@pytest.mark.parametrize("rank", [None, 2])
def test_a_merged_folder_loads_in_stock_peft(
    pair: Pair, asked: list[Asked], tmp_path: Path, rank: int | None
) -> None:
    merged = merge_heads(pair.sources, "positive", "negative", 0.7, rank)
    save_merged(tmp_path / "one", merged, pair.saved["positive"], {"alpha": 0.7}, overwrite=False)
    prompt = torch.tensor([asked[1].prompt])
    lines = Lines(pair.base, {"merged": merged.updates})
    with torch.no_grad(), quiet_peft():
        stock = PeftModel.from_pretrained(copy.deepcopy(pair.base), str(tmp_path / "one")).eval()
        wanted = stock(input_ids=prompt).logits
        with lines.attached():
            found = pair.base(input_ids=prompt).logits
    assert torch.allclose(found, wanted, atol=2e-5 * float(wanted.abs().max()))
    assert (merged.error == 0) == (rank is None)
    with pytest.raises(ConfigError, match="something is there already"):
        save_merged(tmp_path / "one", merged, pair.saved["positive"], {}, overwrite=False)


def test_truncation_tells_what_it_lost() -> None:
    rng = np.random.default_rng(0)
    b, a = rng.standard_normal((9, 4)), rng.standard_normal((4, 7))
    new_b, new_a, lost, whole = truncated(b, a, 2)
    values = np.linalg.svd(b @ a, compute_uv=False)
    assert lost == pytest.approx(float((values[2:] ** 2).sum()))
    assert whole == pytest.approx(float((values**2).sum()))
    assert np.linalg.norm(b @ a - new_b @ new_a) == pytest.approx(np.sqrt(lost), rel=1e-5)


def test_merged_weights_meet_the_contrast_to_first_order(pair: Pair, asked: list[Asked]) -> None:
    texts = [(one.prompt, (5, 9, 30)) for one in asked]
    small, large = 0.02, 0.04
    gaps = []
    for size in (small, large):  # of the heads themselves, so that both are small
        updates = {
            name: {m: (b, a, size * s) for m, (b, a, s) in one.items()}
            for name, one in pair.updates.items()
        }
        sources = Sources(pair.saved)
        for name, one in updates.items():
            sources.add(name, one)
        merged = merge_heads(sources, "positive", "negative", 1.0).updates
        lines = Lines(pair.base, {"base": {}, **updates, "merged": merged})
        found = apart(lines, texts, 1.0)
        assert (found.contrast_merged < 0.2 * found.contrast_base).all()
        gaps.append(found.contrast_merged.mean() / found.contrast_base.mean())
    # KL is quadratic in a gap that is quadratic in the update: the share grows fourfold.
    assert gaps[1] > 2 * gaps[0]


def test_a_saved_merge_is_a_checkpoint_of_ours_too(pair: Pair, tmp_path: Path) -> None:
    merged = merge_heads(pair.sources, "positive", "negative", 1.0)
    like: Checkpoint = pair.saved["positive"]
    save_merged(tmp_path / "checkpoint-1", merged, like, {}, overwrite=False)
    assert list_series(tmp_path).checkpoints[0].kind == "adapter"
