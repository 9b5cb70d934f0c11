"""A mistyped model is answered with the nearest one that is on this disk."""

import shutil
from pathlib import Path

import pytest

from critical_phase.checkpoints import load_model
from critical_phase.checkpoints.fits import check_fit
from critical_phase.checkpoints.near_models import near_model
from critical_phase.checkpoints.series import Checkpoint
from critical_phase.errors import CheckpointError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the hub that holds one model; nothing is asked over the network."""
    folder = tmp_path / "cache"
    (folder / "models--EleutherAI--pythia-70m").mkdir(parents=True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(folder))
    for module in ("models", "fits"):
        monkeypatch.setattr(f"critical_phase.checkpoints.{module}.hub_reachable", lambda: False)
    return folder


@pytest.fixture
def models(tmp_path: Path, tiny_model_folder: Path) -> Path:
    """A folder with one model, and one folder that is none."""
    shutil.copytree(tiny_model_folder, tmp_path / "models" / "tiny-llama")
    (tmp_path / "models" / "tiny-lama").mkdir()
    return tmp_path / "models"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("organsim", "organism"),
        ("EleutherAI/pythia-7m", "EleutherAI/pythia-70m"),
        ("EleutherAI/pythia-70m", None),
        ("something/else", None),
    ],
)
def test_names_that_stand_for_a_model_are_compared(typed: str, meant: str | None) -> None:
    assert near_model(typed, ("organism",)) == meant


def test_a_folder_that_is_not_there_names_the_model_beside_it(models: Path) -> None:
    with pytest.raises(CheckpointError, match="no such folder") as raised:
        load_model(str(models / "tiny-llma"))
    assert raised.value.fix.startswith(f"did you mean '{models / 'tiny-llama'}'? name a folder")


def test_a_relative_path_is_answered_by_a_relative_one(
    models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(models)
    assert near_model("tiny-llam", ()) == "tiny-llama"
    monkeypatch.chdir(models.parent)
    assert near_model("models/tiny-llam", ()) == "models/tiny-llama"


def test_a_name_that_the_hub_does_not_know_is_answered_from_the_cache() -> None:
    with pytest.raises(CheckpointError, match="cannot load the model") as raised:
        load_model("EleutherAI/pythia-7m")
    assert raised.value.fix.startswith("did you mean 'EleutherAI/pythia-70m'? ")


def test_the_base_of_a_series_is_answered_too(models: Path) -> None:
    with pytest.raises(CheckpointError, match="cannot read the base model") as raised:
        check_fit(str(models / "tiny-llma"), Checkpoint(1, models, "", "adapter"))
    assert raised.value.fix.startswith("did you mean")
