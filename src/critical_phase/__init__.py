"""Find what changes abruptly inside a language model while it is fine-tuned.

The rooms are `checkpoints` (make and read series), `probes` (instruments attached
to a model), `analysis` (numbers in, findings out) and `reports` (findings in,
pages out). Importing this package loads none of them. `Run.open(path)` reads the
results of a run in Python or a notebook.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from critical_phase.reports.run import Run

__version__ = "0.1.0"
__all__ = ["Run", "__version__"]


def __getattr__(name: str) -> Any:
    """Load `Run` with its first use: the package itself loads nothing heavy."""
    if name == "Run":
        from critical_phase.reports.run import Run

        return Run
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
