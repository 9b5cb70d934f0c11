"""Small JSON files, one per checkpoint of a head: read them, and refuse what does not belong."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from critical_phase.errors import StoreError

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class StoredSteps:
    """One kind of such files."""

    folder: str
    """In the run."""
    what: str
    """What they hold, for messages."""
    made: str
    """How they came from an adapter, such as `sampled around`."""
    same: tuple[str, ...]
    """What all files of one series have in common."""
    control: str = "random-"
    """Begins the names of files of random twins."""

    def paths(self, run: Path, head: str, *, control: bool = False) -> list[Path]:
        """List the files of a head, in the order of steps."""
        begin = self.control if control else ""
        return sorted((run / self.folder / head).glob(f"{begin}step-????????.json"))

    def series(
        self,
        run: Path,
        head: str,
        build: Callable[[list[dict[str, Any]], dict[str, Any] | None], Made],
    ) -> Made | None:
        """Read all files of a head; None where there are none.

        Args:
            run: Run folder.
            head: Trained head.
            build: Makes a series of the files, and of the last one of a random twin.

        Raises:
            StoreError: A file is damaged, or files were made in different ways.
        """
        paths = self.paths(run, head)
        if not paths:
            return None
        found = [self.read(path) for path in paths]
        twins = self.paths(run, head, control=True)
        try:
            self.check_alike(paths, found)
            return build(found, self.read(twins[-1]) if twins else None)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise self.damaged(paths[0].parent, repr(error), head) from error

    def read(self, path: Path) -> dict[str, Any]:
        """Read one file.

        Raises:
            StoreError: It is damaged.
        """
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.damaged(path, str(error), path.parent.name) from error
        if not isinstance(value, dict):
            raise self.damaged(path, "it holds no JSON object", path.parent.name)
        return value

    def damaged(self, path: Path, why: str, head: str) -> StoreError:
        """Say that something cannot be read, and how it is made again."""
        return StoreError(
            f"cannot read the {self.what}: {why}",
            where=str(path),
            fix=self.command("RUN", head),
        )

    def command(self, run: object, head: str) -> str:
        """Return the command that makes the files of a head again."""
        option = "--head" if self.folder == "llc" else "--heads"
        return f"probe {self.folder} {run} {option} {head} --overwrite"

    def check_saved(self, run: Path, head: str, saved: Mapping[int, str]) -> None:
        """Refuse files of adapters which are no longer the saved ones.

        Args:
            run: Run folder.
            head: Trained head.
            saved: Hash of the saved adapter by step.

        Raises:
            StoreError: Names the first such file.
        """
        for path in self.paths(run, head):
            step, key = int(path.stem.removeprefix("step-")), self.read(path).get("key", {})
            found = key.get("adapter_sha256")
            if saved.get(step, found) != found:
                raise StoreError(
                    f"this file was {self.made} another adapter than the one saved now",
                    where=str(path),
                    fix=self.command(run, head),
                )

    def check_alike(self, paths: Sequence[Path], found: Sequence[Mapping[str, Any]]) -> None:
        """Refuse files of one head that were made in different ways.

        Raises:
            StoreError: Names the first such file and what differs.
        """
        first = found[0]["key"]
        for path, one in zip(paths, found, strict=True):
            odd = [name for name in self.same if one["key"][name] != first[name]]
            if odd:
                raise StoreError(
                    f"{odd[0]} is {one['key'][odd[0]]!r} here and {first[odd[0]]!r} in "
                    f"{paths[0].name}",
                    where=str(path),
                    fix=f"probe {self.folder} RUN --overwrite with the checkpoints of all of them",
                )


def as_float(value: float | None) -> float:
    """Return a number, NaN where the file has null."""
    return float("nan") if value is None else float(value)
