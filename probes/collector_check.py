"""Check that collectors keep the contract of `collector.py`, with errors that say what is off."""

import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

from critical_phase.errors import ConfigError
from critical_phase.probes.collector import Collector, Coordinate, Dataset

METHODS = ("datasets", "coordinates", "attached", "start", "store")
DTYPES = (
    torch.float32,
    torch.float64,
    torch.float16,
    torch.bfloat16,
    torch.int32,
    torch.int64,
    torch.uint8,
)
_RESERVED = ("rows", "summary")
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PATH = re.compile(r"[A-Za-z_][\w.]*(/[A-Za-z_][\w.]*)*")
_FIX = "see the contract in docs/adding.md"


def check_class(kind: object, where: str) -> type[Any]:
    """Check a class before anything is built.

    Args:
        kind: What was found under the name that the user gave.
        where: File and class, for the error.

    Raises:
        ConfigError: It is no class, lacks a method, or has no usable name.
    """
    if not inspect.isclass(kind):
        raise ConfigError(f"a collector is a class, found {kind!r}", where=where, fix=_FIX)
    if missing := [name for name in METHODS if not hasattr(kind, name)]:
        raise ConfigError(f"the collector lacks {', '.join(missing)}", where=where, fix=_FIX)
    for name in ("datasets", "coordinates"):
        if not isinstance(inspect.getattr_static(kind, name), property):
            raise ConfigError(f"{name} is no property", where=where, fix="put @property above it")
    stated = getattr(kind, "name", None)
    if not isinstance(stated, str) or not _NAME.fullmatch(stated):
        raise ConfigError(
            f"the collector's name is {stated!r}",
            where=where,
            fix='give the class a line such as name = "my_values" (a-z, 0-9, _)',
        )
    try:
        inspect.signature(kind).bind(object())
    except TypeError as error:
        raise ConfigError(
            f"__init__ does not take one Scene: {error}", where=where, fix=_FIX
        ) from None
    return kind


def check_built(collectors: Sequence[Collector]) -> None:
    """Check what built collectors declare, each alone and all together.

    Raises:
        ConfigError: A dataset has no usable name, an axis without values or an unknown type,
            or two collectors declare one name in two ways.
    """
    axes: dict[str, tuple[str, Coordinate]] = {}
    owners: dict[str, str] = {}
    for collector in collectors:
        for text in _problems(collector, axes, owners):
            raise ConfigError(f"collector {collector.name!r}: {text}", fix=_FIX)


def _problems(
    collector: Collector, axes: dict[str, tuple[str, Coordinate]], owners: dict[str, str]
) -> Iterator[str]:
    coordinates, datasets = collector.coordinates, collector.datasets
    if not isinstance(coordinates, dict) or not isinstance(datasets, tuple):
        yield "coordinates must be a dict and datasets a tuple"
        return
    for name, values in coordinates.items():
        yield from _axis_problems(name, values)
        owner, known = axes.setdefault(name, (collector.name, values))
        if tuple(known) != tuple(values):
            yield f"axis {name!r} has other values than in {owner!r}: take another name"
    for dataset in datasets:
        if not isinstance(dataset, Dataset):
            yield f"datasets holds {dataset!r}, which is no Dataset"
            return
        yield from _dataset_problems(dataset, coordinates)
        if owners.setdefault(dataset.name, collector.name) != collector.name:
            yield f"dataset {dataset.name!r} is one of {owners[dataset.name]!r} too"
    if len({d.name for d in datasets if isinstance(d, Dataset)}) < len(datasets):
        yield "one dataset is declared twice"


def _axis_problems(name: str, values: object) -> Iterator[str]:
    if name == "row" or not _NAME.fullmatch(name):
        yield f"axis {name!r}: 'row' is the plan's, other names are of a-z, 0-9 and _"
    texts = isinstance(values, tuple) and all(isinstance(one, str) for one in values)
    numbers = isinstance(values, np.ndarray) and values.ndim == 1
    if not (texts or numbers):
        yield f"axis {name!r} needs a tuple of str or an array of one dimension"


def _dataset_problems(dataset: Dataset, coordinates: dict[str, Coordinate]) -> Iterator[str]:
    name = dataset.name
    if not _PATH.fullmatch(name) or name.split("/")[0] in _RESERVED:
        yield f"dataset name {name!r} cannot be used ({', '.join(_RESERVED)} are taken)"
    if name in coordinates:
        yield f"dataset {name!r} has the name of an axis"
    for dim in dataset.dims:
        if dim != "row" and dim not in coordinates:
            yield f"dataset {name!r} has the axis {dim!r}, which coordinates does not give"
    if not dataset.dims or len(set(dataset.dims)) < len(dataset.dims):
        yield f"dataset {name!r} has axes {dataset.dims!r}: give at least one, each once"
    if dataset.dtype not in DTYPES:
        yield f"dataset {name!r} has type {dataset.dtype}"
    if not dataset.about:
        yield f"dataset {name!r} does not say what a value is (about)"
