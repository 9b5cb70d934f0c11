"""The walls between the rooms, proved in fresh processes."""

import subprocess
import sys
import time
from functools import cache

import pytest

ROOMS = ("analysis", "checkpoints", "probes", "reports", "cli")
FORBIDDEN = {
    "critical_phase": ("torch", "numpy", "h5py", "critical_phase.analysis"),
    "critical_phase.analysis": (
        "torch",
        "transformers",
        "h5py",
        "matplotlib",
        "jinja2",
        "click",
        "critical_phase.checkpoints",
        "critical_phase.probes",
        "critical_phase.reports",
        "critical_phase.cli",
    ),
    "critical_phase.checkpoints": (
        "h5py",
        "transformer_lens",
        "matplotlib",
        "critical_phase.analysis",
        "critical_phase.probes",
        "critical_phase.reports",
        "critical_phase.cli",
    ),
    "critical_phase.probes": (
        "transformer_lens",
        "matplotlib",
        "critical_phase.analysis",
        "critical_phase.reports",
        "critical_phase.cli",
    ),
    "critical_phase.reports": (
        "torch",
        "transformers",
        "h5py",
        "sklearn",
        "critical_phase.checkpoints",
        "critical_phase.probes",
        "critical_phase.cli",
    ),
    "critical_phase.cli": ("torch", "sklearn", "h5py", "matplotlib", "scipy", "numpy"),
}
EXPECTED = {
    "critical_phase.checkpoints": "torch",
    "critical_phase.probes": "h5py",
    "critical_phase.analysis": "numpy",
}


@cache
def loaded_by(statement: str) -> set[str]:
    """List what one fresh process loads; asked once per statement, since some take seconds."""
    code = f"{statement}\nimport sys\nprint(' '.join(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(run.stdout.split())


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_loads_nothing_beyond_its_wall(room: str) -> None:
    modules = loaded_by(f"import {room}")
    assert room in modules
    assert not [name for name in FORBIDDEN[room] if name in modules]


@pytest.mark.parametrize(("room", "library"), EXPECTED.items())
def test_the_check_sees_a_library_that_is_loaded(room: str, library: str) -> None:
    assert library in loaded_by(f"import {room}")


def test_a_planted_import_is_caught() -> None:
    modules = loaded_by("import critical_phase.analysis, h5py")
    assert [name for name in FORBIDDEN["critical_phase.analysis"] if name in modules] == ["h5py"]


def test_help_is_quick_and_loads_no_torch() -> None:
    code = (
        "import sys\n"
        "from critical_phase.cli import main\n"
        "try:\n    main(['--help'])\n"
        "except SystemExit:\n    pass\n"
        "assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n"
    )
    seconds = []
    for _ in range(3):
        begin = time.perf_counter()
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        seconds.append(time.perf_counter() - begin)
        assert done.returncode == 0, done.stderr
        assert "demo" in done.stdout
    assert min(seconds) < 0.5
