"""What is collected equals a slow reference: single rows, unmerged, eager, unhooked."""

from pathlib import Path

import numpy as np
import pytest
from exactness import TOLERANCE, Case, assert_within_tolerance, collect_case, differences
from naive_reference import Row, Side, read_rows
from tiny_families import CONFIGS, build_model
from tiny_plan import build_questions, build_tokenizer, save_adapters

from critical_phase.checkpoints import PROMPTS
from critical_phase.probes import (
    CollectSettings,
    Unit,
    collect,
    make_plan,
    read_activations,
    unit_path,
)
from critical_phase.probes.sparsity import NAMES

BASE = Unit("base", 0)


@pytest.fixture(scope="module", params=CONFIGS)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A family, collected in the layout that its gates choose."""
    folder, family = tmp_path_factory.mktemp("case"), str(request.param)
    return collect_case(folder, family, save_adapters(folder / "heads", family), alone=True)


@pytest.fixture(scope="module")
def base(case: Case) -> tuple[Row, ...]:
    return read_rows(case.fresh(0), case.plan)


@pytest.mark.parametrize("unit", [0, 1, 2])
def test_everything_equals_single_unhooked_rows(
    case: Case, base: tuple[Row, ...], unit: int
) -> None:
    assert_within_tolerance(differences(case, unit, read_rows(case.fresh(unit), case.plan), base))


@pytest.mark.parametrize("side", ["left", "right"])
def test_everything_equals_rows_padded_on_either_side(
    case: Case, base: tuple[Row, ...], side: Side
) -> None:
    assert_within_tolerance(differences(case, 1, read_rows(case.fresh(1), case.plan, side), base))


def test_the_comparison_sees_an_adapter_that_is_not_there(
    case: Case, base: tuple[Row, ...]
) -> None:
    """The control: the base is a wrong reference for an adapter, in every quantity."""
    found = differences(case, 1, base, base)
    if case.family in ("mistral_window", "phi3_window"):  # no layer sees the first token
        assert found.pop("attention_summary/sink_mass").largest == 0
    assert {name: one for name, one in found.items() if one.share <= 100 * TOLERANCE} == {}


def test_each_family_is_read_in_the_way_that_is_exact_for_it(case: Case) -> None:
    # GPT-Neo counts its window in slots; it and softcapped Gemma 2 have their own attention.
    assert case.layout == ("naive" if case.family == "gpt_neo" else "packed")
    assert case.attention_way == ("eager" if case.family in ("gemma2", "gpt_neo") else "interface")
    assert [case.attributes(unit)["merged"] for unit in range(3)] == [0, 1, 1]
    assert set(NAMES) <= set(case.read(0, "metric"))


@pytest.mark.parametrize("family", CONFIGS)
def test_single_rows_padded_to_one_batch_equal_rows_alone(family: str, tmp_path: Path) -> None:
    series = save_adapters(tmp_path / "heads", family, (1,))
    case = collect_case(tmp_path, family, series, "naive")
    base = read_rows(case.fresh(0), case.plan)
    assert case.layout == "naive"
    assert_within_tolerance(differences(case, 1, read_rows(case.fresh(1), case.plan), base))


@pytest.mark.parametrize("layout", ["packed", "naive"])
@pytest.mark.parametrize("family", ["llama", "gpt2", "mistral_window"])
def test_a_row_gives_alone_what_it_gives_beside_longer_ones(
    family: str, layout: str, tmp_path: Path
) -> None:
    settings = CollectSettings(("residual", "attention"), layout=layout)  # type: ignore[arg-type]
    for name, count in (("alone", 1), ("beside", 4)):
        plan = make_plan(build_questions()[:count], build_tokenizer(), PROMPTS["cloze"])
        collect(tmp_path / name, build_model(family), plan, (BASE,), settings=settings)
    for name in ("residual", "attention_summary/entropy_rest"):
        alone, beside = (
            read_activations(unit_path(tmp_path / run, "activations", BASE), name)
            for run in ("alone", "beside")
        )
        np.testing.assert_allclose(alone, beside[:, : alone.shape[1]], atol=TOLERANCE)
