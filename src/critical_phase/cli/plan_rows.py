"""The rows of a plan of scoring, as the analysis has them."""

from critical_phase.analysis import Rows
from critical_phase.probes import Plan


def rows_of_plan(plan: Plan) -> Rows:
    """Return who each row belongs to, whether it is right, and how long it is."""
    return Rows(
        question=plan.question,
        correct=plan.correct,
        characters=plan.characters,
        tokens=plan.tokens,
        question_ids=plan.question_ids,
        groups=plan.groups,
        texts=plan.texts,
        bytes=plan.bytes,
    )
