"""Read what interventions of a run wrote: `interventions/*.json` and `generation/summary-*.json`.

Reading needs no model. Arrays of single questions lie in the npz beside each plan.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from critical_phase.errors import StoreError
from critical_phase.reports.causes_measure import MEASURE, as_measure
from critical_phase.reports.causes_shapes import (
    Alike,
    Answer,
    Causes,
    Cell,
    Json,
    Pairs,
    Point,
    Setting,
    Share,
)
from critical_phase.reports.load import Results, read_json

Found = TypeVar("Found", Answer, Json, Pairs)
FOLDER, TEXTS = "interventions", "generation"
TRAINING = "training_time"
"""Plan of a training-time test, whose file has no cells and no points."""
SEVEN = range(1, 8)
"""Numbers of the points that the word "cause" asks for."""


def with_causes(results: Results, run: Path) -> Results:
    """Add what interventions found to the results of a run; nothing where there is none.

    Raises:
        StoreError: A file cannot be understood, or contradicts itself.
    """
    found = read_causes(run)
    if found is None:
        return results
    return replace(results, causes=found, measures=results.measures | {MEASURE: as_measure(found)})


def read_causes(run: Path) -> Causes | None:
    """Read every intervention of a run, in the order of file names; None where there is none.

    Raises:
        StoreError: A file cannot be understood, or contradicts itself.
    """
    files = sorted((run / FOLDER).glob("*.json"))
    every = [(path, _checked(path)) for path in files]
    texts = tuple(_generation(path) for path in sorted((run / TEXTS).glob("summary-*.json")))
    # A plan that only measures, such as a lens, has no share of its own.
    named = [one for one in every if one[1].get("share", 0.0) is not None]
    answers = tuple(_answer(v, path) for path, v in named if v["plan"] != TRAINING)
    trainings = tuple(_training(v, path) for path, v in every if v["plan"] == TRAINING)
    # Every file of a plan has its pairs; the one with the cells says which layer each is of.
    alike = tuple(_pairs(v, path) for path, v in every if v.get("pairs") and "cells" in v)
    any_ = answers or trainings or texts or alike
    return Causes(answers, trainings, texts, alike) if any_ else None


def _checked(path: Path) -> Json:
    value = read_json(path)
    if value.get("schema_version") != 1 or not isinstance(value.get("plan"), str):
        raise _broken(path, "it has no plan, or schema_version is not 1")
    return value


def _answer(value: Json, path: Path) -> Answer:
    def read() -> Answer:
        lost = bool(value.get("lost", False))
        found = Answer(
            file=path.name,
            plan=value["plan"],
            intervention=str(value.get("intervention") or value["plan"]),
            about=str(value["about"]),
            lost=lost,
            share=_share(value["share"], value.get("interval")),
            control=str(value.get("control") or ""),
            control_share=_optional(value.get("control_share"), value.get("control_interval")),
            opposite=_opposite(value.get("opposite"), lost=lost),
            doses=_doses(value.get("doses")),
            monotone=(value.get("doses") or {}).get("monotone"),
            points=tuple(_point(item) for item in value.get("points") or ()),
            causes=value.get("causes") is True,
            sentence=str(value.get("sentence") or ""),
            notes=tuple(str(note) for note in value.get("notes") or ()),
            setting=_setting(value),
            cells=tuple(_cell(item) for item in value.get("cells") or ()),
            raw=value,
        )
        met = [point.number for point in found.points if point.met is True]
        unmet = [number for number in SEVEN if number not in met]
        if found.causes and unmet:
            named = ", ".join(map(str, unmet)) if found.points else "1-7"
            raise ValueError(f"causes is true, but points {named} are not met")
        return found

    return _guarded(read, path)


def _pairs(value: Json, path: Path) -> Pairs:
    def read() -> Pairs:
        axes = {str(item["name"]): item.get("axes") or {} for item in value["cells"]}
        return Pairs(
            path.name,
            str(value.get("intervention") or value["plan"]),
            _setting(value),
            tuple(_alike(item, axes.get(str(item.get("late")), {})) for item in value["pairs"]),
            tuple(str(note) for note in value.get("notes") or ()),
        )

    return _guarded(read, path)


def _alike(item: Mapping[str, Any], axes: Mapping[str, Any]) -> Alike:
    line, apart, _ = str(item["name"]).partition("/")
    layer = axes.get("layer") if apart else None
    at = layer if isinstance(layer, int) else None
    share = _share(item["share"], item.get("interval"))
    return Alike(
        str(item["name"]), str(item.get("about") or ""), share, "" if at is None else line, at
    )


def _training(value: Json, path: Path) -> Json:
    def read() -> Json:
        for key in ("about", "sentence"):
            if not isinstance(value[key], str):
                raise TypeError(f"{key} is no text")
        if value["training"]["met"] not in (True, False, None):
            raise ValueError("met is neither true, false nor null")
        value["training"]["test"]["tau"]["steps"]
        return value

    return _guarded(read, path)


def _generation(path: Path) -> Json:
    def read() -> Json:
        value = read_json(path)
        for way in value["ways"]:
            for share in way["shares"].values():
                _share(share["value"], share["interval"])
            str(way["name"]), way["chosen"]
        return value

    return _guarded(read, path)


def _setting(value: Json) -> Setting:
    early, late, head, mode = (str(value.get(k) or "?") for k in ("from", "to", "head", "mode"))
    weight, rule = value.get("weight"), value.get("normalisation")
    other = str(value.get("other_term") or "?")
    w = None if weight is None else _finite(weight)
    return Setting(early, late, head, mode, w, str(rule or "?"), other)


def _cell(item: Mapping[str, Any]) -> Cell:
    return Cell(
        str(item["name"]),
        str(item.get("about") or ""),
        {str(key): one for key, one in (item.get("axes") or {}).items() if _plain(one)},
        _optional(item.get("share"), item.get("interval")),
        None if item.get("share_exploratory") is None else _finite(item["share_exploratory"]),
        _optional(item.get("accuracy"), item.get("accuracy_interval")),
    )


def _plain(value: Any) -> bool:
    return isinstance(value, str | int | float)


def _point(item: Mapping[str, Any]) -> Point:
    met = item.get("met")
    if met not in (True, False, None):
        raise ValueError("a point is neither met, nor not met, nor open")
    asks, found = str(item.get("asks") or ""), str(item.get("found") or "")
    return Point(int(item["number"]), asks, None if met is None else bool(met), found)


def _opposite(item: Mapping[str, Any] | None, *, lost: bool) -> Share | None:
    """Turn what is there after the other direction into what that direction does."""
    if item is None:
        return None
    there = _optional(item.get("share"), item.get("interval"))
    return there if lost or there is None else there.rest


def _doses(item: Mapping[str, Any] | None) -> tuple[tuple[float, Share], ...]:
    if item is None:
        return ()
    pairs = zip(item["dose"], item["share"], strict=True)
    made = [(_finite(dose), _optional(one["value"], one.get("interval"))) for dose, one in pairs]
    return tuple((dose, one) for dose, one in made if one is not None)


def _optional(value: Any, interval: Any) -> Share | None:
    return None if value is None else _share(value, interval)


def _share(value: Any, interval: Any) -> Share:
    low, high = interval if interval else (None, None)
    if low is None or high is None:
        return Share(_finite(value))
    if _finite(low) > _finite(high):
        raise ValueError(f"an interval begins at {low} and ends at {high}")
    return Share(_finite(value), _finite(low), _finite(high))


def _finite(value: Any) -> float:
    number = float(value)
    if isinstance(value, str | bool) or not math.isfinite(number):
        raise ValueError(f"{value!r} is no finite number")
    return number


def _guarded(read: Callable[[], Found], path: Path) -> Found:
    try:
        return read()
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _broken(path, repr(error)) from error


def _broken(path: Path, why: str) -> StoreError:
    return StoreError(
        f"this file holds no result that can be drawn: {why}",
        where=str(path),
        fix="delete it, and repeat what wrote it",
    )
