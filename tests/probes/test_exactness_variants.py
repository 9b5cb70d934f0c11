"""Every LoRA variant gives what PEFT itself gives with that adapter loaded and unmerged."""

from pathlib import Path

import pytest
from exactness import assert_within_tolerance, collect_case, differences
from naive_reference import read_rows
from tiny_variants import save_variant, variants

MERGED = {"rslora", "rank_pattern", "layers_to_transform", "fan_in_fan_out"}
"""Plain sums of W and B @ A; what else a variant does is left beside the weights."""


@pytest.mark.filterwarnings(
    "ignore:Model has `tie_word_embeddings",  # of GPT-2, with its output map trained
    "ignore:fan_in_fan_out is set to False",  # PEFT mends it
    "ignore:`lora_bias=True` was passed",  # of maps that have no bias themselves
    "ignore:Adapter 'default'.*invalid shape",  # PEFT takes biases for matrices
)
@pytest.mark.parametrize(
    ("family", "variant"), [(f, name) for f in ("llama", "gpt2") for name in variants(f)]
)
def test_a_variant_equals_an_unmerged_fresh_load(family: str, variant: str, tmp_path: Path) -> None:
    series = save_variant(tmp_path / "heads", family, variant, (1, 2))
    case = collect_case(tmp_path, family, series)
    assert case.attributes(1)["merged"] == int(variant in MERGED)
    base = read_rows(case.fresh(0), case.plan)
    for unit in range(2):
        rows = base if unit == 0 else read_rows(case.fresh(unit), case.plan)
        assert_within_tolerance(differences(case, unit, rows, base))
    assert differences(case, 1, base, base)["residual"].share > 0.1
