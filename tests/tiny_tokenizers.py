"""Small trained tokenizers of the kinds that language models come with."""

from collections.abc import Callable

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ["<unk>", "<s>", "</s>"]
LINES = [
    "Question: what is water made of?\nAnswer: solid water",
    "Question: why\nAnswer: a solid",
    "Who has questioned Richard while impressing?",
    "Q: is it?\nA: no. solid\n\nQ: was it?\nA: yes. A solid",
] * 5


def byte_level(*, across: bool = False) -> PreTrainedTokenizerFast:
    """As GPT-2, Llama 3 and Qwen; `across` learns tokens that reach over a space."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=not across)
    tokenizer.decoder = decoders.ByteLevel()
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=330, special_tokens=SPECIAL, initial_alphabet=letters, show_progress=False
    )
    return _trained(tokenizer, trainer)


def metaspace_bpe(scheme: str) -> PreTrainedTokenizerFast:
    """As Mistral, and Llama 2 without its legacy behaviour."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=SPECIAL, show_progress=False)
    return _trained(tokenizer, trainer)


def metaspace_unigram(scheme: str) -> PreTrainedTokenizerFast:
    """As T5, Gemma's elders and XLNet."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme)
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=SPECIAL, unk_token="<unk>", show_progress=False
    )
    return _trained(tokenizer, trainer)


def sentencepiece_legacy() -> PreTrainedTokenizerFast:
    """As Llama 2: a space before every text, and tokens that may reach over a space."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence(
        [normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")]
    )
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    trainer = trainers.BpeTrainer(vocab_size=120, special_tokens=SPECIAL, show_progress=False)
    return _trained(tokenizer, trainer)


def _trained(tokenizer: Tokenizer, trainer: trainers.Trainer) -> PreTrainedTokenizerFast:
    tokenizer.train_from_iterator(LINES, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )


BUILDERS: dict[str, Callable[[], PreTrainedTokenizerFast]] = {
    "byte_level": byte_level,
    "byte_level_across": lambda: byte_level(across=True),
    "metaspace_bpe_first": lambda: metaspace_bpe("first"),
    "metaspace_bpe_always": lambda: metaspace_bpe("always"),
    "metaspace_unigram_first": lambda: metaspace_unigram("first"),
    "metaspace_unigram_always": lambda: metaspace_unigram("always"),
    "sentencepiece_legacy": sentencepiece_legacy,
}
