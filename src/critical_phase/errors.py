"""Every error a user can cause, as one small tree.

CriticalPhaseError
├── ConfigError      settings or arguments that cannot be used        exit 2
├── InputError       a file that is missing, malformed or damaged     exit 4
│   ├── QuestionError    question files
│   ├── CheckpointError  models, adapters and series of them
│   └── StoreError       scores, activations and results on disk
├── ShapeError       arrays whose sizes do not fit (also ValueError)  exit 1
└── FitError         an estimate that the data cannot support         exit 1

A message says what was asked, what was found and what to do. `where` and `fix`
are printed on lines of their own by the command line.
"""


class CriticalPhaseError(Exception):
    """Root of every error this package raises on purpose."""

    exit_code = 1

    def __init__(self, message: str, *, where: str = "", fix: str = "") -> None:
        """Keep what went wrong, where, and what the user can do."""
        super().__init__(message)
        self.where = where
        self.fix = fix

    def __str__(self) -> str:
        """Return message, place and remedy on one line each."""
        lines = [str(self.args[0])]
        lines += [f"where: {self.where}"] if self.where else []
        lines += [f"fix:   {self.fix}"] if self.fix else []
        return "\n".join(lines)


class ConfigError(CriticalPhaseError):
    """Settings or arguments that cannot be used."""

    exit_code = 2


class InputError(CriticalPhaseError):
    """A file that is missing, malformed or damaged."""

    exit_code = 4


class QuestionError(InputError):
    """A question file that cannot be read, with file, line and field."""


class CheckpointError(InputError):
    """A model, an adapter or a series that cannot be used."""


class StoreError(InputError):
    """Scores, activations or results on disk that cannot be read or written."""


class ShapeError(CriticalPhaseError, ValueError):
    """Arrays whose sizes do not fit each other."""


class FitError(CriticalPhaseError):
    """An estimate that the data cannot support."""
