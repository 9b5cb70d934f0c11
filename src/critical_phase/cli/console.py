"""What people see: bars on standard error, results on standard output."""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence

import click


def say(text: str) -> None:
    """Print a line of progress."""
    click.echo(text, err=True)


def result(text: str) -> None:
    """Print a line of the result."""
    click.echo(text)


def result_json(value: object) -> None:
    """Print the one object that scripts read."""
    click.echo(json.dumps(value, indent=1, sort_keys=True, allow_nan=False))


def brief_steps(steps: Sequence[int]) -> str:
    """Write steps with runs of neighbours shortened: 0-64, or 0, 8, 16."""
    parts: list[list[int]] = []
    for step in steps:
        if parts and step == parts[-1][-1] + 1:
            parts[-1].append(step)
        else:
            parts.append([step])
    texts = [f"{p[0]}-{p[-1]}" if len(p) > 2 else ", ".join(map(str, p)) for p in parts]
    return ", ".join(texts)


@contextlib.contextmanager
def bar(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show how far a stage is: a bar on a terminal, else a line when it ends.

    Yields:
        A function that is given the number of units done so far.
    """
    started = time.monotonic()
    done = [0]
    if sys.stderr.isatty() and not os.environ.get("NO_COLOR"):
        with _rich_bar(title, total, done) as update:
            yield update
        return

    def remember(count: int) -> None:
        done[0] = count

    yield remember
    say(f"{title}: {done[0]} of {total} in {time.monotonic() - started:.1f} s")


@contextlib.contextmanager
def _rich_bar(title: str, total: int, done: list[int]) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description:<22}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeRemainingColumn(elapsed_when_finished=True),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(title, total=total)

        def update(count: int) -> None:
            done[0] = count
            progress.update(task, completed=count)

        yield update
