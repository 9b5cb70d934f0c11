"""Collectors from the user's own files: imported because the user asked, checked, hashed."""

import hashlib
import linecache
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from critical_phase.errors import ConfigError
from critical_phase.probes.collector_check import check_class


@dataclass(frozen=True, slots=True)
class OwnCollector:
    """A class in a file of the user's, as it was when it was named."""

    name: str
    """Name of the collector, as its class states it."""
    path: str
    """Absolute path of the file; not written to any file of a run."""
    class_name: str
    sha256: str
    """Hash of the file's bytes."""

    @property
    def identity(self) -> dict[str, str]:
        """What files of a run note: class, file name and hash."""
        return {
            "class": self.class_name,
            "file": Path(self.path).name,
            "sha256": self.sha256,
        }

    def load(self) -> type[Any]:
        """Import the class; a file that was imported already is not run again.

        Raises:
            ConfigError: The file cannot be read or run, or is another one than was named.
        """
        source = _read(Path(self.path))
        found = hashlib.sha256(source).hexdigest()
        if found != self.sha256:
            raise ConfigError(
                f"the file changed since it was named: {self.sha256[:8]} then, {found[:8]} now",
                where=self.path,
                fix="start the command again",
            )
        return _class(Path(self.path), source, self.class_name)


def own_collector(spec: str) -> OwnCollector:
    """Import a collector of the user's own code.

    Args:
        spec: `FILE.py:ClassName`.

    Raises:
        ConfigError: The file cannot be read or run, or the class breaks the contract.
    """
    file, colon, class_name = spec.rpartition(":")
    if not colon or not file.endswith(".py") or not class_name.isidentifier():
        raise ConfigError(
            f"cannot read the collector {spec!r}", fix="write --collector path/to/file.py:ClassName"
        )
    path = Path(file).expanduser().resolve()
    source = _read(path)
    kind = _class(path, source, class_name)
    return OwnCollector(kind.name, str(path), class_name, hashlib.sha256(source).hexdigest())


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"cannot read the collector's file: {error.strerror}", where=str(path)
        ) from error


def _class(path: Path, source: bytes, class_name: str) -> type[Any]:
    module = _module(path, source)
    where = f"{path}:{class_name}"
    if not hasattr(module, class_name):
        classes = [
            name
            for name, value in vars(module).items()
            if isinstance(value, type) and value.__module__ == module.__name__
        ]
        raise ConfigError(
            f"no class {class_name!r} in the file",
            where=where,
            fix=f"the file has {', '.join(classes) or 'no class'}",
        )
    return check_class(getattr(module, class_name), where)


def _module(path: Path, source: bytes) -> types.ModuleType:
    """Run a file's very bytes, once per content, under a name that no package has."""
    name = f"critical_phase_own_{hashlib.sha256(str(path).encode() + source).hexdigest()[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = types.ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look their module up
    linecache.checkcache(str(path))
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except Exception as error:
        del sys.modules[name]
        line = getattr(error, "lineno", None) or _last_line(error, str(path))
        raise ConfigError(
            f"the collector's file cannot be run: {type(error).__name__}: {error}",
            where=f"{path}:{line}" if line else str(path),
        ) from error
    return module


def _last_line(error: BaseException, path: str) -> int | None:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
