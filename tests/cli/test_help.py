"""Help pages come at once: no command loads torch to explain itself."""

import json
import subprocess
import sys
from importlib import import_module
from inspect import Parameter, signature

import click
import pytest

from critical_phase.analysis import MODES
from critical_phase.checkpoints import organism, random_adapter
from critical_phase.cli import choices, score_table
from critical_phase.cli.group import COMMANDS, cli
from critical_phase.probes import (
    COLLECTORS,
    DEFAULT_COLLECTORS,
    DTYPES,
    FORMATS,
    POSITION_NAMES,
    SITES,
)

HEAVY = ("torch", "transformers", "peft", "scipy", "sklearn", "h5py", "matplotlib")

APART = (
    "train",
    "control",
    "collect",
    "sweep",
    "score",
    "effects",
    "export",
    "organism",
    "compare",
    "retrain",
    "intervene",
    "generate",
    "llc",
    "curvature",
)
"""Commands whose options are in a file of their own, because their work loads much."""

ALL_HELP = f"""
import contextlib, io, json, sys
from critical_phase.cli.group import COMMANDS, cli
found, before = {{}}, set()
for name in COMMANDS:
    with contextlib.redirect_stdout(io.StringIO()) as page:
        cli([name, "--help"], standalone_mode=False)
    loaded = [one for one in {HEAVY} if one in sys.modules and one not in before]
    before.update(loaded)
    found[name] = (page.getvalue()[:6], loaded)
print(json.dumps(found))
"""


def test_no_help_page_loads_what_takes_seconds() -> None:
    """In one fresh process: a command is blamed for what those before it had not loaded."""
    done = subprocess.run(
        [sys.executable, "-c", ALL_HELP], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert list(found) == list(COMMANDS)
    assert [page for page, _ in found.values()] == ["Usage:"] * len(COMMANDS)
    assert {name: loaded for name, (_, loaded) in found.items() if loaded} == {}


def test_names_in_help_pages_are_those_of_the_rooms() -> None:
    assert tuple(COLLECTORS) == choices.COLLECTORS
    assert tuple(DEFAULT_COLLECTORS) == choices.DEFAULT_COLLECTORS
    assert tuple(POSITION_NAMES) == choices.POSITION_NAMES
    assert tuple(SITES) == choices.SITES
    assert tuple(FORMATS) == choices.EXPORT_FORMATS
    assert tuple(DTYPES) == choices.EXPORT_DTYPES
    assert (score_table.BASE, score_table.ADAPTER, *MODES) == choices.SCORE_MODES
    assert random_adapter.RANDOM_ADAPTER == choices.RANDOM_ADAPTER
    assert organism.DEFAULT_ACCESSIBILITY == choices.ORGANISM_ACCESSIBILITY
    assert organism.DEFAULT_STEPS == choices.ORGANISM_STEPS


@pytest.mark.parametrize("name", APART)
def test_every_option_reaches_the_function_that_does_the_work(name: str) -> None:
    """Options and work are in two files: what one offers the other takes."""
    command = cli.get_command(click.Context(cli), name)
    if isinstance(command, click.Group):
        command = command.commands["build"]
    work = import_module(f"critical_phase.cli.{name}")
    function = work.build if name == "organism" else getattr(work, f"{name}_command")
    parameters = signature(function).parameters
    given = {option.name for option in command.params}
    named = {one.name for one in parameters.values() if one.kind is Parameter.KEYWORD_ONLY}
    assert named <= given
    assert named == given or any(p.kind is Parameter.VAR_KEYWORD for p in parameters.values())
