"""The page on stored files names every key that `probe generate` writes, and no other file."""

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tiny_run import Probe

import critical_phase

PAGE = Path(critical_phase.__file__).resolve().parents[2] / "docs" / "format.md"
MODES = ("--mode", "contrast,merged,negative", "--alpha", "0.5,2", "--rank", 2)
FEW = ("--sample", "--max-new-tokens", 3, "--draws", 50, "--limit", 8)
WAYS = "base|positive|negative|base_masked|contrast|merged"
FREE = {"versions", "settings", "differences", "shares"}
"""Keys whose content is named by packages, options, modes or categories."""


@pytest.fixture(scope="module")
def section() -> str:
    text = PAGE.read_text(encoding="utf-8")
    return text.split("\n## Generation\n")[1].split("\n## ")[0]


@pytest.fixture
def folder(probe: Probe, trained_run: Path, tmp_path: Path) -> Path:
    run = Path(shutil.copytree(trained_run, tmp_path / "run"))
    shown = probe("generate", run, *MODES, *FEW)
    assert shown.code == 0, shown.err
    return run / "generation"


def keys_in(value: Any) -> Iterator[str]:
    """All keys of an object, and of those inside it that the page describes."""
    for one in value if isinstance(value, list) else []:
        yield from keys_in(one)
    for key, inner in value.items() if isinstance(value, dict) else []:
        yield key
        if key not in FREE:
            yield from keys_in(inner)


def test_names_and_keys_of_what_is_written_stand_on_the_page(section: str, folder: Path) -> None:
    named = set(re.findall(r"`([a-z_0-9]+)`", section))
    assert set(WAYS.split("|")) <= named
    cell = re.compile(rf"(?:{WAYS})(?:-\d+)?(?:-a[\d.]+)?-[0-9a-f]{{8}}\.jsonl?")
    summary = re.compile(r"summary-\d+-[0-9a-f]{8}\.json")
    for path in sorted(folder.iterdir()):
        assert cell.fullmatch(path.name) or summary.fullmatch(path.name)
        text = path.read_text(encoding="utf-8")
        parts = [json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else []
        told = json.loads(text) if path.suffix == ".json" else {}
        assert set(keys_in([*parts, told])) <= named, path.name
        key = told.get("key_sha256") or told.get("cells_sha256") or ""
        assert path.stem.rpartition("-")[2].startswith(key[:8])
