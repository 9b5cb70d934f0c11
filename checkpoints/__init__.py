"""Make and read checkpoint series: questions, heads, training, adapters.

Foundation room: it knows torch, transformers and peft, and no other room.
"""

from critical_phase.checkpoints.adapters import AdapterSlot
from critical_phase.checkpoints.callback import DenseCheckpointCallback
from critical_phase.checkpoints.densify import densify
from critical_phase.checkpoints.difficulty import STRATA, base_margins, select_stratum, strata
from critical_phase.checkpoints.examples import (
    Drawn,
    Example,
    draw_examples,
    encode_examples,
    examples_csv,
    examples_sha256,
)
from critical_phase.checkpoints.factors_on_demand import factors_on_demand
from critical_phase.checkpoints.full_slot import FullSlot
from critical_phase.checkpoints.models import (
    DTYPES,
    ORGANISM,
    choose_device,
    dtype_named,
    load_model,
    model_sha256,
    tensors_sha256,
)
from critical_phase.checkpoints.named_sets import NAMED_SETS, NamedSet, read_named_set
from critical_phase.checkpoints.negatives import (
    NEGATIVES,
    NO_QUESTION,
    RIGHT_ANSWERS,
    Choice,
    NegativeKind,
    Pool,
    check_supply,
    negative_kind,
)
from critical_phase.checkpoints.order import data_order
from critical_phase.checkpoints.parallel import main_process, process_device
from critical_phase.checkpoints.peft_state import quiet_peft
from critical_phase.checkpoints.prompts import PROMPTS, Encoded, PromptFormat, encode, prompt_format
from critical_phase.checkpoints.question_files import (
    read_question_file,
    read_questions,
    write_questions,
)
from critical_phase.checkpoints.questions import (
    Question,
    QuestionFile,
    plain_text,
    questions_sha256,
)
from critical_phase.checkpoints.recipe import Recipe, learning_rate, lora_config, recipe_values
from critical_phase.checkpoints.series import (
    Checkpoint,
    Series,
    adapter_config,
    adapter_identity,
    duplicates,
    file_sha256,
    has_factors,
    hash_checkpoint,
    list_series,
    load_adapter,
    low_rank_factors,
)
from critical_phase.checkpoints.sources import CheckpointSource, open_source, read_series
from critical_phase.checkpoints.steps import schedule_steps, select_steps
from critical_phase.checkpoints.training import train_head
from critical_phase.checkpoints.training_log import LogRow, read_log
from critical_phase.checkpoints.training_state import TrainingFolder

__all__ = [
    "DTYPES",
    "NAMED_SETS",
    "NEGATIVES",
    "NO_QUESTION",
    "ORGANISM",
    "PROMPTS",
    "RIGHT_ANSWERS",
    "STRATA",
    "AdapterSlot",
    "Checkpoint",
    "CheckpointSource",
    "Choice",
    "DenseCheckpointCallback",
    "Drawn",
    "Encoded",
    "Example",
    "FullSlot",
    "LogRow",
    "NamedSet",
    "NegativeKind",
    "Pool",
    "PromptFormat",
    "Question",
    "QuestionFile",
    "Recipe",
    "Series",
    "TrainingFolder",
    "adapter_config",
    "adapter_identity",
    "base_margins",
    "check_supply",
    "choose_device",
    "data_order",
    "densify",
    "draw_examples",
    "dtype_named",
    "duplicates",
    "encode",
    "encode_examples",
    "examples_csv",
    "examples_sha256",
    "factors_on_demand",
    "file_sha256",
    "has_factors",
    "hash_checkpoint",
    "learning_rate",
    "list_series",
    "load_adapter",
    "load_model",
    "lora_config",
    "low_rank_factors",
    "main_process",
    "model_sha256",
    "negative_kind",
    "open_source",
    "plain_text",
    "process_device",
    "prompt_format",
    "questions_sha256",
    "quiet_peft",
    "read_log",
    "read_named_set",
    "read_question_file",
    "read_questions",
    "read_series",
    "recipe_values",
    "schedule_steps",
    "select_steps",
    "select_stratum",
    "strata",
    "tensors_sha256",
    "train_head",
    "write_questions",
]
