"""Named arrays that are read when they are asked for, and not kept."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np


class ReadOnDemand(Mapping[str, np.ndarray]):
    """Arrays by name; walking over them holds one at a time."""

    def __init__(self, names: Sequence[str], read: Callable[[str], np.ndarray]) -> None:
        """Note the names; nothing is read yet."""
        self._names, self._read = tuple(names), read

    def __getitem__(self, name: str) -> np.ndarray:
        """Read one.

        Raises:
            KeyError: There is none of this name.
        """
        if name not in self._names:
            raise KeyError(name)
        return self._read(name)

    def __contains__(self, name: object) -> bool:
        """Tell whether there is one of this name, without reading it."""
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        """Walk over the names."""
        return iter(self._names)

    def __len__(self) -> int:
        """Count the names."""
        return len(self._names)
