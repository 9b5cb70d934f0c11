"""What a sweep file asks for: cells, each the settings of one ordinary run."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Literal

from critical_phase.cli.settings import (
    AnalyzeSettings,
    CollectSettings,
    TrainSettings,
    resolve,
)
from critical_phase.cli.sweep_names import cell_name, digest
from critical_phase.cli.sweep_yaml import (
    check_keys,
    check_settings,
    is_count,
    mapping,
    read_factors,
    read_yaml,
)
from critical_phase.errors import ConfigError

Values = dict[str, Any]
Role = Literal["factorial", "extra", "size"]

KEYS = ("name", "train", "collect", "analyze", "factors", "cells", "sizes", "epochs")
SIZE_KEYS = ("values", "epochs", "factors")
RESERVED = ("failed", "figures", "data", "logs")
"""Folders of the sweep itself, which no cell may be called."""

PATHS = ("model", "questions", "eval_questions", "unrelated")
"""Settings that may name a file relative to the sweep's own folder."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a sweep."""

    name: str
    """Its folder below that of the sweep."""
    role: Role
    """`factorial`, `extra` (named under `cells`) or `size` (one training-set size)."""
    train: TrainSettings
    varied: tuple[tuple[str, Any], ...]
    """What the file names for this cell and other cells do not share, in its order."""
    keys: tuple[str, ...]
    """Every setting that differs between cells of the sweep, named for this one or not."""
    epochs: int = 1
    """Passes over the questions of a cell of the role `size`."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Everything a sweep file says."""

    name: str
    cells: tuple[Cell, ...]
    collect: CollectSettings
    analyze: AnalyzeSettings | None
    """None: no analysis and no page per cell."""


def read_sweep(path: Path) -> Sweep:
    """Read and check a sweep file; no model or question is looked at.

    Raises:
        InputError: The file cannot be read.
        ConfigError: A key is unknown, a factor is empty or given twice, cells repeat each
            other, or a setting has a value it cannot have.
    """
    value = read_yaml(path)
    where = str(path)
    check_keys(value, KEYS, where, "")
    train = mapping(value, "train", where)
    factors = read_factors(mapping(value, "factors", where), where, "factors")
    check_settings(train, where, "train")
    if both := sorted(set(train) & set(factors)):
        raise ConfigError(
            f"{both[0]!r} is both fixed under train and a factor",
            where=where,
            fix="keep it in one of the two places",
        )
    made = [*_factorial(factors, "factorial"), *_extra(value, factors, train, where)]
    made += _sizes(value, factors, train, where)
    cells = _cells(made, train, path)
    return Sweep(
        name=str(value.get("name") or path.stem),
        cells=cells,
        collect=_section(CollectSettings, "collect", mapping(value, "collect", where), where),
        analyze=_analyze(value.get("analyze", False), where),
    )


@dataclass(frozen=True, slots=True)
class _Asked:
    """A cell before its settings are checked."""

    role: Role
    values: Values
    epochs: int = 1


def _factorial(factors: Mapping[str, Sequence[Any]], role: Role) -> list[_Asked]:
    """Combine the levels of all factors, the first factor slowest."""
    return [
        _Asked(role, dict(zip(factors, levels, strict=True)))
        for levels in product(*factors.values())
    ]


def _extra(
    value: Mapping[str, Any], factors: dict[str, list[Any]], train: Values, where: str
) -> Iterator[_Asked]:
    """Yield the cells outside the factorial: each replaces the factors that it names."""
    listed = value.get("cells") or []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise ConfigError("cells must be a list of settings", where=f"{where}, cells")
    for number, item in enumerate(listed, 1):
        check_settings(item, where, f"cells[{number}]")
        rest = {key: levels for key, levels in factors.items() if key not in item}
        for asked in _factorial(rest, "extra"):
            yield replace(asked, values={**asked.values, **item})


def _sizes(
    value: Mapping[str, Any], factors: dict[str, list[Any]], train: Values, where: str
) -> list[_Asked]:
    """Make one cell per training-set size, trained to its own end."""
    asked = value.get("sizes")
    if asked is None:
        if "epochs" in value:
            raise ConfigError("epochs belongs to sizes, and there are none", where=where)
        return []
    if isinstance(asked, list):
        asked = {"values": asked, "epochs": value.get("epochs", 1)}
    elif isinstance(asked, dict) and "epochs" in value:
        raise ConfigError("epochs is given twice", where=where, fix="keep it under sizes")
    if not isinstance(asked, dict):
        raise ConfigError("sizes must be a list of numbers or a mapping", where=f"{where}, sizes")
    check_keys(asked, SIZE_KEYS, where, "sizes")
    sizes, epochs = asked.get("values"), asked.get("epochs", 1)
    if not isinstance(sizes, list) or not sizes or not all(map(is_count, sizes)):
        raise ConfigError(
            f"sizes needs at least one whole number above 0, found {sizes!r}",
            where=f"{where}, sizes",
        )
    if not is_count(epochs):
        raise ConfigError(f"epochs must be a whole number above 0, found {epochs!r}", where=where)
    own = read_factors(mapping(asked, "factors", where), where, "sizes.factors")
    kept = {key: levels for key, levels in factors.items() if key not in ("train_size", "steps")}
    everything = {**kept, **own}
    if clash := sorted({"train_size", "steps"} & {*own}):
        raise ConfigError(
            f"{clash[0]!r} is a factor of sizes, but sizes decides it",
            where=where,
            fix="take it out",
        )
    return [
        _sized(one, size, epochs, train) for one in _factorial(everything, "size") for size in sizes
    ]


def _sized(asked: _Asked, size: int, epochs: int, train: Values) -> _Asked:
    values = {**asked.values, "train_size": size, "steps": None}  # None: one pass
    if epochs > 1:
        batch: Any = values.get("batch_size", train.get("batch_size", 8))
        # A batch that cannot be counted with is refused, with its name, when it is checked.
        values["steps"] = -(-epochs * size // batch) if is_count(batch) else 1
    return _Asked("size", values, epochs)


def _cells(made: Sequence[_Asked], train: Values, path: Path) -> tuple[Cell, ...]:
    """Check the settings of every cell and name it after what varies."""
    settings = [_train_settings({**train, **asked.values}, path) for asked in made]
    dumps = [one.model_dump(mode="json") for one in settings]
    _refuse_twins(made, dumps, str(path))
    keys = _varying(made, dumps)
    labels = [
        {
            **{key: getattr(one, key) for key in keys if key in asked.values},
            **({"epochs": asked.epochs} if asked.epochs > 1 else {}),
        }
        for asked, one in zip(made, settings, strict=True)
    ]
    names = [cell_name(_short(label, asked)) for label, asked in zip(labels, made, strict=True)]
    shared = {name for name in names if names.count(name) > 1}
    return tuple(
        Cell(
            name=f"{name}-{digest(dump)}" if name in {*shared, *RESERVED} else name,
            role=asked.role,
            train=one,
            varied=tuple(label.items()),
            keys=tuple(keys),
            epochs=asked.epochs,
        )
        for name, asked, one, dump, label in zip(names, made, settings, dumps, labels, strict=True)
    )


def _short(label: Values, asked: _Asked) -> Values:
    """Leave the steps of several passes out of a name: size and passes say them."""
    return {k: v for k, v in label.items() if not (k == "steps" and asked.epochs > 1)}


def _varying(made: Sequence[_Asked], dumps: Sequence[Values]) -> list[str]:
    """List the settings that differ between cells, in the order they are named."""
    named = dict.fromkeys(key for asked in made for key in asked.values)
    return [key for key in named if len({digest(dump[key]) for dump in dumps}) > 1]


def _refuse_twins(made: Sequence[_Asked], dumps: Sequence[Values], where: str) -> None:
    seen: defaultdict[str, list[int]] = defaultdict(list)
    for number, dump in enumerate(dumps):
        seen[digest(dump)].append(number)
    for numbers in seen.values():
        if len(numbers) > 1:
            pair = " and ".join(str(made[number].values) for number in numbers[:2])
            raise ConfigError(
                f"two cells have the same settings: {pair}",
                where=where,
                fix="list every level once, and leave out cells that the factors make",
            )


def _train_settings(values: Values, path: Path) -> TrainSettings:
    for key in PATHS:
        if isinstance(values.get(key), str) and (path.parent / values[key]).exists():
            values[key] = str(path.parent / values[key])
    made: TrainSettings = _section(TrainSettings, "train", values, str(path))
    return made


def _section(kind: type[Any], name: str, values: Values, where: str) -> Any:
    try:
        return resolve(kind, name, None, **values)
    except ConfigError as error:
        raise ConfigError(str(error.args[0]), where=f"{where}, {name}", fix=error.fix) from error


def _analyze(value: Any, where: str) -> AnalyzeSettings | None:
    if value is None or value is False:
        return None
    if value is not True and not isinstance(value, dict):
        raise ConfigError(f"analyze must be true, false or settings, found {value!r}", where=where)
    given: Values = {} if value is True else value
    made: AnalyzeSettings = _section(AnalyzeSettings, "analyze", given, where)
    return made
