"""Collectors from a user's file: the documented example, the contract, keys and hashes."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from collector_reference import tokens_of

from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes import (
    CollectSettings,
    Plan,
    Unit,
    collect,
    estimate,
    make_units,
    own_collector,
    read_activations,
    read_attrs,
    unit_path,
)

DOCS = Path(__file__).parents[2] / "docs" / "adding.md"
BASE = Unit("base", 0)


def documented() -> str:
    (example,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert isinstance(example, str)
    return example


@pytest.fixture
def example(tmp_path: Path) -> Path:
    path = tmp_path / "mlp_norm.py"
    path.write_text(documented())
    return path


def edit(path: Path, before: str, after: str) -> None:
    """Write the documented example with one thing changed."""
    assert before in documented()
    path.write_text(documented().replace(before, after, 1))


def settings_of(path: Path, name: str = "MlpNorm", **more: Any) -> CollectSettings:
    own = own_collector(f"{path}:{name}")
    return CollectSettings((own.name,), own_collectors=(own,), **more)


def test_the_documented_example_is_right_as_written(
    example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    run, model = tmp_path / "run", make_model("llama")
    collect(run, make_model("llama"), plan, (BASE,), settings=settings_of(example), fail_fast=True)
    found = read_activations(unit_path(run, "activations", BASE), "mlp_norm")
    made: list[torch.Tensor] = []
    for block in model.model.layers:
        block.mlp.register_forward_hook(lambda _, __, out: made.append(out[0, -1].norm()))
    for row in range(plan.rows):
        with torch.no_grad():
            model(input_ids=tokens_of(plan, row))
    np.testing.assert_allclose(found.T.ravel(), torch.stack(made), rtol=1e-4)


def test_files_note_the_class_and_the_hash_and_no_path(
    example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    settings = settings_of(example)
    collect(tmp_path / "run", make_model("llama"), plan, (BASE,), settings=settings)
    attrs = read_attrs(unit_path(tmp_path / "run", "activations", BASE))
    noted = json.loads(attrs["unit_key"])["own_collectors"]["mlp_norm"]
    sha = settings.own_collectors[0].sha256
    assert noted == {"class": "MlpNorm", "file": "mlp_norm.py", "sha256": sha}
    assert json.loads(attrs["own_collectors"]) == {"mlp_norm": noted}
    assert not any(str(tmp_path) in str(value) for value in attrs.values())


def test_a_resume_after_an_edit_is_refused(
    example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    first = settings_of(example)
    collect(tmp_path / "run", make_model("llama"), plan, (BASE,), settings=first)
    example.write_text(documented() + "# edited\n")
    with pytest.raises(ConfigError, match="the file changed since it was named"):
        first.own_collectors[0].load()
    second = settings_of(example)
    with pytest.raises(StoreError, match="own_collectors: stored"):
        collect(tmp_path / "run", make_model("llama"), plan, (BASE,), settings=second)


def test_a_collector_that_reads_fixed_places_is_refused(
    example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    edit(example, "self._batch.ends[:, 1]]", "-1]")
    with pytest.raises(ConfigError, match="'mlp_norm' depends on what else is in the batch"):
        collect(tmp_path / "r", make_model("llama"), plan, (BASE,), settings=settings_of(example))


SPECS = {
    "no class": ("mlp_norm.py", "cannot read the collector 'mlp_norm.py'"),
    "no file": ("absent.py:A", "cannot read the collector's file: No such file"),
    "other class": ("mlp_norm.py:Norm", "no class 'Norm' in the file"),
}


@pytest.mark.parametrize("case", SPECS)
def test_a_name_that_leads_nowhere_is_refused(
    case: str, example: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(example.parent)
    with pytest.raises(ConfigError, match=SPECS[case][1]):
        own_collector(SPECS[case][0])


FAULTS = {
    "method": ("def store", "def put", "the collector lacks store"),
    "property": ("    @property\n    def datasets", "    def datasets", "datasets is no property"),
    "name": ('name = "mlp_norm"', 'name = "Mlp Norm"', "the collector's name is 'Mlp Norm'"),
    "start": ("def __init__(self, scene)", "def __init__(self)", "does not take one Scene"),
    "syntax": ("class MlpNorm:", "class MlpNorm", "cannot be run: SyntaxError"),
    "import": ("import torch\n", "import torchh\n", "cannot be run: ModuleNotFoundError"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_a_class_that_breaks_the_contract_is_refused(case: str, example: Path) -> None:
    before, after, text = FAULTS[case]
    edit(example, before, after)
    with pytest.raises(ConfigError, match=re.escape(text)):
        own_collector(f"{example}:MlpNorm")


DECLARED = {
    "axis": ('("block", "row")', '("neuron", "row")', "axis 'neuron', which coordinates does not"),
    "type": ("torch.float32", "torch.complex64", "has type torch.complex64"),
    "place": ('Dataset("mlp_norm"', 'Dataset("rows/mlp"', "dataset name 'rows/mlp' cannot be"),
    "about": ('about, hook = "Euclidean norm of the MLP\'s output"', 'about, hook = ""', "about"),
    "twin": ('Dataset("mlp_norm"', 'Dataset("residual"', "is one of 'residual' too"),
    "values": ("np.arange(len(self._mlps),", "np.arange(5,", "axis 'block' has other values"),
    "built": ("scene.sites.mlp_out,", "scene.nothing,", "cannot be built: AttributeError"),
}


@pytest.mark.parametrize("case", DECLARED)
def test_declarations_that_do_not_fit_are_refused(
    case: str, example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    before, after, text = DECLARED[case]
    edit(example, before, after)
    own = own_collector(f"{example}:MlpNorm")
    settings = CollectSettings(
        ("residual", "mlp_norm"), own_collectors=(own,), residual_sites=("mid",)
    )
    if case == "twin":
        settings = CollectSettings(("residual", "mlp_norm"), own_collectors=(own,))
    with pytest.raises(ConfigError, match=re.escape(text)):
        collect(tmp_path / "run", make_model("llama"), plan, (BASE,), settings=settings)


def test_the_name_of_one_of_ours_is_refused(example: Path, plan: Plan) -> None:
    edit(example, 'name = "mlp_norm"', 'name = "residual"')
    with pytest.raises(ConfigError, match="'residual' has the name of one of ours"):
        settings_of(example).check(("residual",), plan.rows)


def test_its_bytes_are_counted_from_what_it_declares(
    example: Path, plan: Plan, make_model: Callable[..., Any], tmp_path: Path
) -> None:
    model, settings = make_model("llama"), settings_of(example)
    lean = estimate(tmp_path, model.config, plan, (BASE,), settings=CollectSettings(("sparsity",)))
    guess = estimate(tmp_path, model.config, plan, (BASE,), settings=settings, model=model)
    assert 0 < guess.bytes_per_unit - 3 * plan.rows * 4 < lean.bytes_per_unit
    with pytest.raises(ConfigError, match="known from the model alone"):
        estimate(tmp_path, model.config, plan, (BASE,), settings=settings)


def test_what_a_collector_adds_up_begins_at_zero_for_every_unit(
    example: Path,
    plan: Plan,
    make_model: Callable[..., Any],
    make_adapters: Callable[..., Any],
    tmp_path: Path,
) -> None:
    edit(example, ".index_copy_(1, torch.from_numpy", ".index_add_(1, torch.from_numpy")
    units = make_units({"negative": make_adapters(tmp_path / "heads", "llama", (1, 2, 3))})
    settings = settings_of(example)
    for run, chosen in (("all", units), ("alone", units[-1:])):
        collect(tmp_path / run, make_model("llama"), plan, chosen, settings=settings)
    paths = [unit_path(tmp_path / run, "activations", units[-1]) for run in ("all", "alone")]
    together, alone = (read_activations(path, "mlp_norm") for path in paths)
    np.testing.assert_array_equal(together, alone)
