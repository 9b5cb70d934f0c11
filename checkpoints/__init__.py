"""Make and read checkpoint series: questions, heads, training, adapters.

Foundation room: it knows torch, transformers and peft, and no other room.
"""

from critical_phase.checkpoints.adapters import AdapterSlot
from critical_phase.checkpoints.examples import (
    Example,
    data_order,
    draw_examples,
    encode_examples,
    examples_csv,
)
from critical_phase.checkpoints.models import (
    ORGANISM,
    choose_device,
    load_model,
    model_sha256,
    tensors_sha256,
)
from critical_phase.checkpoints.negatives import NEGATIVES, negative_kind, right_answer
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.prompts import PROMPTS, Encoded, PromptFormat, encode, prompt_format
from critical_phase.checkpoints.questions import (
    Question,
    QuestionFile,
    questions_sha256,
    read_question_file,
    read_questions,
    write_questions,
)
from critical_phase.checkpoints.series import (
    Checkpoint,
    Series,
    adapter_config,
    adapter_identity,
    file_sha256,
    list_series,
    load_adapter,
    low_rank_factors,
)
from critical_phase.checkpoints.steps import schedule_steps, select_steps
from critical_phase.checkpoints.training import Recipe, recipe_values, train_head
from critical_phase.checkpoints.training_state import LogRow, TrainingFolder, read_log

__all__ = [
    "NEGATIVES",
    "ORGANISM",
    "PROMPTS",
    "AdapterSlot",
    "Checkpoint",
    "Encoded",
    "Example",
    "LogRow",
    "PromptFormat",
    "Question",
    "QuestionFile",
    "Recipe",
    "Series",
    "TrainingFolder",
    "adapter_config",
    "adapter_identity",
    "choose_device",
    "data_order",
    "draw_examples",
    "encode",
    "encode_examples",
    "examples_csv",
    "file_sha256",
    "list_series",
    "load_adapter",
    "load_model",
    "low_rank_factors",
    "model_sha256",
    "negative_kind",
    "prompt_format",
    "questions_sha256",
    "quiet_peft",
    "read_log",
    "read_question_file",
    "read_questions",
    "recipe_values",
    "right_answer",
    "schedule_steps",
    "select_steps",
    "tensors_sha256",
    "train_head",
    "write_questions",
]
