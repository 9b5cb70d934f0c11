"""BLiMP (https://arxiv.org/abs/1912.00582): pairs of sentences, one of them grammatical.

The question is empty; a candidate is a whole sentence. The hub has only a `train` split, so
the halves are made here: a pair is trained on where the SHA-256 of its good sentence (case
and spaces aside) is even, and evaluated on where it is odd. The same good sentence is thus
never on both sides, whatever pair it stands in. One pair holds a sentence twice.
"""

import hashlib

from critical_phase.checkpoints.named_sets.named_set import (
    Fields,
    HubRow,
    NamedSet,
    Part,
    Split,
    mixed,
)
from critical_phase.checkpoints.questions import plain_text

HUB = "nyu-mll/blimp"
PARADIGMS = (
    "adjunct_island",
    "anaphor_gender_agreement",
    "anaphor_number_agreement",
    "animate_subject_passive",
    "animate_subject_trans",
    "causative",
    "complex_NP_island",
    "coordinate_structure_constraint_complex_left_branch",
    "coordinate_structure_constraint_object_extraction",
    "determiner_noun_agreement_1",
    "determiner_noun_agreement_2",
    "determiner_noun_agreement_irregular_1",
    "determiner_noun_agreement_irregular_2",
    "determiner_noun_agreement_with_adj_2",
    "determiner_noun_agreement_with_adj_irregular_1",
    "determiner_noun_agreement_with_adj_irregular_2",
    "determiner_noun_agreement_with_adjective_1",
    "distractor_agreement_relational_noun",
    "distractor_agreement_relative_clause",
    "drop_argument",
    "ellipsis_n_bar_1",
    "ellipsis_n_bar_2",
    "existential_there_object_raising",
    "existential_there_quantifiers_1",
    "existential_there_quantifiers_2",
    "existential_there_subject_raising",
    "expletive_it_object_raising",
    "inchoative",
    "intransitive",
    "irregular_past_participle_adjectives",
    "irregular_past_participle_verbs",
    "irregular_plural_subject_verb_agreement_1",
    "irregular_plural_subject_verb_agreement_2",
    "left_branch_island_echo_question",
    "left_branch_island_simple_question",
    "matrix_question_npi_licensor_present",
    "npi_present_1",
    "npi_present_2",
    "only_npi_licensor_present",
    "only_npi_scope",
    "passive_1",
    "passive_2",
    "principle_A_c_command",
    "principle_A_case_1",
    "principle_A_case_2",
    "principle_A_domain_1",
    "principle_A_domain_2",
    "principle_A_domain_3",
    "principle_A_reconstruction",
    "regular_plural_subject_verb_agreement_1",
    "regular_plural_subject_verb_agreement_2",
    "sentential_negation_npi_licensor_present",
    "sentential_negation_npi_scope",
    "sentential_subject_island",
    "superlative_quantifiers_1",
    "superlative_quantifiers_2",
    "tough_vs_raising_1",
    "tough_vs_raising_2",
    "transitive",
    "wh_island",
    "wh_questions_object_gap",
    "wh_questions_subject_gap",
    "wh_questions_subject_gap_long_distance",
    "wh_vs_that_no_gap",
    "wh_vs_that_no_gap_long_distance",
    "wh_vs_that_with_gap",
    "wh_vs_that_with_gap_long_distance",
)


def blimp_question(row: HubRow, part: Part, number: int) -> Fields:
    """Take a pair without a question; its paradigm is its group."""
    key = f"{part.config}-{row['pair_id']}"
    candidates, answer = mixed((row["sentence_good"], row["sentence_bad"]), 0, key)
    return {
        "id": key,
        "question": "",
        "candidates": candidates,
        "answer": answer,
        "group": part.config,
    }


def half(row: HubRow) -> Split:
    """Say on which side a pair is, by its good sentence."""
    digest = hashlib.sha256(plain_text(row["sentence_good"]).encode()).digest()
    return "eval" if digest[-1] % 2 else "train"


def _trained(row: HubRow) -> bool:
    return half(row) == "train"


def _held_out(row: HubRow) -> bool:
    return half(row) == "eval"


BLIMP = NamedSet(
    name="blimp",
    train=tuple(Part(HUB, paradigm, "train", _trained) for paradigm in PARADIGMS),
    eval=tuple(Part(HUB, paradigm, "train", _held_out) for paradigm in PARADIGMS),
    prompt="plain",
    convert=blimp_question,
)
