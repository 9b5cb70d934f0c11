"""Plain copies of stored files for readers that know neither HDF5 nor bfloat16."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import h5py

from critical_phase import __version__
from critical_phase.atomic import disk_error, new_file
from critical_phase.checkpoints import file_sha256
from critical_phase.errors import ConfigError, StoreError
from critical_phase.probes.export_content import IDENTITY, read_content
from critical_phase.probes.export_formats import FORMATS
from critical_phase.probes.reading import dataset_names, opened

ExportStatus = Literal["done", "existing", "nothing"]
DTYPES = ("float32",)
"""Two-byte floats become float32, exactly; wider types stay as they are."""


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of one file."""

    source: Path
    target: Path
    status: ExportStatus
    """`existing`: an export of this very content is there; `nothing`: it has no such dataset."""
    size_bytes: int
    """Of the export; 0 where there is none."""


def export_file(
    source: Path,
    target: Path,
    form: str,
    *,
    datasets: Sequence[str] = (),
    dtype: str = "float32",
    overwrite: bool = False,
) -> Exported:
    """Write a plain copy of one scores, activations or effects file.

    Values are read with their checksums and are equal to the stored ones: every bfloat16
    and float16 is a float32. Coordinates and provenance go with them.

    Args:
        source: The stored file.
        target: The export without its suffix, which the format decides.
        form: `hdf5`, `npz` or `safetensors`.
        datasets: Names or groups of datasets; empty for all. Which row is which is always
            there.
        dtype: `float32`.
        overwrite: Replace an export that was made from other content or in another way.

    Raises:
        ConfigError: There is no such format or type.
        StoreError: The source is damaged, another file is in the way, or the disk is full.
    """
    if form not in FORMATS or dtype not in DTYPES:
        raise ConfigError(
            f"cannot export {dtype} as {form!r}",
            fix=f"formats: {', '.join(FORMATS)}; types: {', '.join(DTYPES)}",
        )
    writer = FORMATS[form]
    target = target.with_name(target.name + writer.suffix)
    with opened(source) as file:
        stored = dataset_names(file)
        names = choose_datasets(stored, datasets)
        if not names:
            return Exported(source, target, "nothing", 0)
        made = {
            "export_of": f"{source.parent.parent.name}/{source.parent.name}/{source.name}",
            "export_of_sha256": file_sha256(source),
            "export_datasets": "all" if set(names) == set(stored) else " ".join(names),
            "export_dtype": dtype,
            "export_toolkit_version": __version__,
        }
        if target.exists() and not overwrite:
            _check_same(target, form, made)
            return Exported(source, target, "existing", target.stat().st_size)
    # Not inside `opened`, which takes every error for damage of the source.
    try:
        with h5py.File(source, "r", locking=False) as file:
            content = read_content(file, source, names, made)
            with new_file(target) as temporary:
                writer.write(temporary, content)
    except RuntimeError as error:  # HDF5 reports a failed flush on close in this way
        failure = OSError(28 if "No space left" in str(error) else 5, str(error))
        raise disk_error(failure, target) from error
    return Exported(source, target, "done", target.stat().st_size)


def choose_datasets(stored: Sequence[str], asked: Sequence[str]) -> tuple[str, ...]:
    """Choose datasets by name or group; empty where the file has none of those asked for."""
    if not asked:
        return tuple(stored)
    chosen = {n for n in stored for a in asked if n == a or n.startswith(f"{a.rstrip('/')}/")}
    if not chosen:
        return ()
    return tuple(n for n in stored if n in chosen or n.startswith(IDENTITY))


def _check_same(target: Path, form: str, made: dict[str, Any]) -> None:
    """Refuse a file in the way that is not the export that would be written."""
    try:
        found = FORMATS[form].attributes(target)
    except Exception as error:  # whatever a reader raises: the file is none of ours
        raise _in_the_way(target, f"it is no {form} export: {error}") from error
    differing = [n for n in made if n != "export_toolkit_version" and found.get(n) != made[n]]
    if differing:
        raise _in_the_way(target, f"it differs in {', '.join(differing)}")


def _in_the_way(target: Path, why: str) -> StoreError:
    return StoreError(
        f"another file is in the way; {why}",
        where=str(target),
        fix="give another folder, or --overwrite to replace it",
    )
