"""Fixtures every room uses: a tiny real model, and the real model and questions if at hand."""

import os
from pathlib import Path

import pytest
from tiny_models import tiny_llama, word_tokenizer

LONGEST_FIRST = (
    "test_real_input",
    "test_analysis",
    "test_commands",
    "test_collect_engines",
    "test_series",
    "test_faults",
    "test_engines",
    "test_sweep",
    "test_exactness_variants",
    "test_training_kills",
    "test_train_collect",
    "test_run_controls",
    "test_selftest",
    "test_compare",
)
"""Files that take most time; begun last, one of them keeps a single worker busy at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; all others keep their order."""
    names = {name: place for place, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: names.get(item.path.stem, len(names)))


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with the real model and questions; skips, or fails in CI, where it is absent."""
    folder = Path(os.environ.get("CRITICAL_PHASE_SHARED", "../shared"))
    if not (folder / "models" / "stories260k").is_dir():
        text = "real inputs are absent: set CRITICAL_PHASE_SHARED to the folder that has them"
        if os.environ.get("CI") == "true":
            pytest.fail(text)
        pytest.skip(text)
    return folder.resolve()


@pytest.fixture(scope="session")
def tiny_model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A two-layer Llama with random weights and a word tokenizer, as a folder."""
    folder = tmp_path_factory.mktemp("tiny")
    tiny_llama().save_pretrained(folder)
    word_tokenizer().save_pretrained(folder)
    return folder
