"""A word-level tokenizer for the language of the world."""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from tokenizers.processors import TemplateProcessing
from transformers import PreTrainedTokenizerFast

from critical_phase.checkpoints.organism.words import BEGIN, PAD, SPECIAL_WORDS, UNKNOWN


def build_tokenizer(words: Sequence[str], *, max_length: int) -> PreTrainedTokenizerFast:
    """Make one token of each word; spaces separate words and have no token.

    So the tokens of `question + " " + answer` are those of the question
    followed by those of the answer, and text begins with one begin token.

    Args:
        words: Every word of the world; the place of a word is its token.
        max_length: Longest text the model can read, in tokens.
    """
    begin, pad, unknown = (SPECIAL_WORDS[i] for i in (BEGIN, PAD, UNKNOWN))
    vocabulary = {word: i for i, word in enumerate(words)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token=unknown))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.post_processor = TemplateProcessing(
        single=f"{begin} $A", special_tokens=[(begin, BEGIN)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=begin,
        pad_token=pad,
        unk_token=unknown,
        clean_up_tokenization_spaces=False,
        model_max_length=max_length,
    )


def save_tokenizer(words: Sequence[str], folder: Path, *, max_length: int) -> None:
    """Write tokenizer.json and tokenizer_config.json for AutoTokenizer."""
    build_tokenizer(words, max_length=max_length).save_pretrained(folder)
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    # The class name that transformers 4 and 5 both know.
    config["tokenizer_class"] = "PreTrainedTokenizerFast"
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
