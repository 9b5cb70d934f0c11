"""Look at every file before a damaged one stops a command, so that one error names them all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from critical_phase.errors import StoreError

_NAMED = 10
"""So many files are named; of more, only the number."""


class DamagedFilesError(StoreError):
    """Stored files that cannot be read as they were written."""

    def __init__(
        self,
        message: str,
        *,
        where: str = "",
        fix: str = "",
        files: tuple[tuple[Path, str], ...] = (),
    ) -> None:
        """Keep also which files they are and what is wrong with each."""
        super().__init__(message, where=where, fix=fix)
        self.files = files


class Damage:
    """Gathers damaged files."""

    def __init__(self) -> None:
        """Start with none."""
        self._errors: list[DamagedFilesError] = []

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Go on after a block that came upon damaged files."""
        try:
            yield
        except DamagedFilesError as error:
            self._errors.append(error)

    def refuse(self) -> None:
        """Stop if there are any.

        Raises:
            DamagedFilesError: Names all of them.
        """
        files = tuple(one for error in self._errors for one in error.files)
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            # The cause tells a disk that fails from a file that does not say how it was made.
            raise _of_all(files) from self._errors[0].__cause__


def _of_all(files: tuple[tuple[Path, str], ...]) -> DamagedFilesError:
    folder = Path(os.path.commonpath([path.parent for path, _ in files]))
    lines = [f"  {path.relative_to(folder)}: {found}" for path, found in files[:_NAMED]]
    if len(files) > _NAMED:
        lines.append(f"  and {len(files) - _NAMED} more")
    return DamagedFilesError(
        "\n".join([f"{len(files)} stored files are damaged:", *lines]),
        where=str(folder),
        fix="delete them and repeat the command; finished files are kept. "
        f"probe validate {folder} reads every file in full",
        files=files,
    )
