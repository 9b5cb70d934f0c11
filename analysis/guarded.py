"""Run one measure so that its failure costs that measure alone."""

import traceback
from collections.abc import Callable

from critical_phase.analysis.results import FailedMeasure, MeasureResult


def guarded(name: str, compute: Callable[[], MeasureResult]) -> MeasureResult | FailedMeasure:
    """Compute a measure, or describe why it could not be computed.

    An interruption is no failure and is raised.
    """
    try:
        return compute()
    except Exception as error:
        return FailedMeasure(
            name,
            type(error).__name__,
            str(error),
            "".join(traceback.format_exception(error)),
        )
