"""A few rows of every named set in the hub's columns, and the questions they must become."""

from dataclasses import dataclass, field
from typing import Any

from critical_phase.checkpoints import Question

Row = dict[str, Any]


@dataclass(frozen=True)
class Planted:
    """One dataset of the hub."""

    name: str
    hub: str
    config: str | None
    splits: dict[str, list[Row]]
    train: tuple[Question, ...] = ()
    eval: tuple[Question, ...] = field(default=())


def arc_row(name: str, texts: list[str], labels: str, key: str) -> Row:
    choices = {"text": texts, "label": list(labels)}
    return {"id": name, "question": f"What of {name}?", "choices": choices, "answerKey": key}


def arc_question(name: str, texts: list[str], answer: int, group: str) -> Question:
    return Question(name, f"What of {name}?", tuple(texts), answer, group)


FOUR = ["a", "b", "c", "d"]
ARC_CHALLENGE = Planted(
    "arc_challenge",
    "allenai/ai2_arc",
    "ARC-Challenge",
    {
        "train": [arc_row("C1", FOUR, "ABCD", "C"), arc_row("C2", FOUR, "1234", "4")],
        "validation": [arc_row("C3", FOUR, "ABCD", "A")],
        "test": [
            arc_row("C4", [*FOUR, "e"], "ABCDE", "E"),
            arc_row("C5", FOUR[:3], "123", "1"),
        ],
    },
    (arc_question("C1", FOUR, 2, "arc_challenge"), arc_question("C2", FOUR, 3, "arc_challenge")),
    (
        arc_question("C4", [*FOUR, "e"], 4, "arc_challenge"),
        arc_question("C5", FOUR[:3], 0, "arc_challenge"),
    ),
)
ARC_EASY = Planted(
    "arc_easy",
    "allenai/ai2_arc",
    "ARC-Easy",
    {
        "train": [arc_row("E1", FOUR, "ABCD", "B")],
        "validation": [arc_row("E2", FOUR[:3], "ABC", "C")],
        "test": [arc_row("E3", [*FOUR, "e"], "12345", "2")],
    },
    (arc_question("E1", FOUR, 1, "arc_easy"),),
    (arc_question("E3", [*FOUR, "e"], 1, "arc_easy"),),
)


def hellaswag_row(activity: str, a: str, b: str, endings: list[str], label: str) -> Row:
    return {
        "ind": 4,
        "activity_label": activity,
        "ctx_a": a,
        "ctx_b": b,
        "ctx": f"{a} {b}",
        "endings": endings,
        "source_id": "activitynet~v_1",
        "split": "train",
        "split_type": "indomain",
        "label": label,
    }


HELLASWAG = Planted(
    "hellaswag",
    "Rowan/hellaswag",
    None,
    {
        "train": [
            hellaswag_row("Roof", "A man is up.", "he", ["falls.", "works."], "1"),
            hellaswag_row(
                "Health",
                "[header] How to sleep [title] Buy a bed. [step] Go there.",
                "",
                ["[substeps] Pay it [title] Now.", "Leave  it. [x] Go."],
                "0",
            ),
        ],
        "validation": [
            hellaswag_row(
                "Ski", "Snow falls.", "the MAN", ["[header] runs", "skis ", "is", "x"], "3"
            )
        ],
        "test": [hellaswag_row("Ski", "Snow", "", ["hidden", "label"], "")],
    },
    (
        Question("hellaswag-train-0", "Roof: A man is up. He", ("falls.", "works."), 1, "Roof"),
        Question(
            "hellaswag-train-1",
            "Health: How to sleep. Buy a bed. Go there.",
            ("Pay it. Now.", "Leave it. Go."),
            0,
            "Health",
        ),
    ),
    (
        Question(
            "hellaswag-validation-0",
            "Ski: Snow falls. The man",
            ("runs", "skis", "is", "x"),
            3,
            "Ski",
        ),
    ),
)


def winogrande_row(sentence: str, one: str, two: str, answer: str) -> Row:
    return {"sentence": sentence, "option1": one, "option2": two, "answer": answer}


WINOGRANDE = Planted(
    "winogrande",
    "allenai/winogrande",
    "winogrande_xl",
    {
        "train": [
            winogrande_row("Ann told Bo that _ was late.", "Ann", "Bo", "1"),
            winogrande_row("_ was late, Ann saw.", "Bo", "Cy", "2"),
        ],
        "validation": [winogrande_row('He said "_\'s hat" to Al.', "Bo", "Al", "2")],
    },
    (
        Question(
            "winogrande-train-0",
            "Ann told Bo that",
            ("Ann was late.", "Bo was late."),
            0,
            "winogrande",
        ),
        Question(
            "winogrande-train-1",
            "",
            ("Bo was late, Ann saw.", "Cy was late, Ann saw."),
            1,
            "winogrande",
        ),
    ),
    (
        Question(
            "winogrande-validation-0",
            "He said",
            ('"Bo\'s hat" to Al.', '"Al\'s hat" to Al.'),
            1,
            "winogrande",
        ),
    ),
)


def openbook_row(name: str, stem: str, key: str) -> Row:
    choices = {"text": ["a leaf", "a stone", "a bee", "fog"], "label": list("ABCD")}
    return {"id": name, "question_stem": stem, "choices": choices, "answerKey": key}


LEAF = ("a leaf", "a stone", "a bee", "fog")
OPENBOOKQA = Planted(
    "openbookqa",
    "allenai/openbookqa",
    "main",
    {
        "train": [openbook_row("7-1", "Green is", "A"), openbook_row("7-2", "Hard is", " B")],
        "validation": [openbook_row("8-1", "Humming is", "C")],
        "test": [openbook_row("9-1", "Wet is", "D")],
    },
    (
        Question("7-1", "Green is", LEAF, 0, "openbookqa"),
        Question("7-2", "Hard is", LEAF, 1, "openbookqa"),
    ),
    (Question("9-1", "Wet is", LEAF, 3, "openbookqa"),),
)


def commonsense_row(name: str, concept: str, key: str) -> Row:
    choices = {"label": list("ABCDE"), "text": ["bank", "zoo", "sea", "bed", "attic"]}
    return {
        "id": name,
        "question": f"Where is {concept}?",
        "question_concept": concept,
        "choices": choices,
        "answerKey": key,
    }


PLACES = ("bank", "zoo", "sea", "bed", "attic")
COMMONSENSEQA = Planted(
    "commonsenseqa",
    "tau/commonsense_qa",
    None,
    {
        "train": [commonsense_row("f1", "money", "A"), commonsense_row("f2", "dust", "E")],
        "validation": [commonsense_row("f3", "a seal", "C")],
        "test": [commonsense_row("f4", "sleep", "")],
    },
    (
        Question("f1", "Where is money?", PLACES, 0, "money"),
        Question("f2", "Where is dust?", PLACES, 4, "dust"),
    ),
    (Question("f3", "Where is a seal?", PLACES, 2, "a seal"),),
)


def truthful_row(question: str, right: str, *wrong: str) -> Row:
    targets = {"choices": [right, *wrong], "labels": [1] + [0] * len(wrong)}
    return {"question": question, "mc1_targets": targets, "mc2_targets": targets}


TRUTHFULQA = Planted(
    "truthfulqa",
    "truthfulqa/truthful_qa",
    "multiple_choice",
    {
        "validation": [
            truthful_row("Is it?", "No", "Yes", "It is", "Always"),
            truthful_row("Was it?", "Never", "Once"),
            truthful_row("Can it?", "Yes", "No", "It can not"),
        ]
    },
    eval=(
        # The right answer is listed first on the hub; the order below is fixed for ever.
        Question(
            "truthfulqa-validation-0",
            "Is it?",
            ("Yes", "Always", "It is", "No"),
            3,
            "truthfulqa",
        ),
        Question("truthfulqa-validation-1", "Was it?", ("Once", "Never"), 1, "truthfulqa"),
        Question(
            "truthfulqa-validation-2", "Can it?", ("No", "It can not", "Yes"), 2, "truthfulqa"
        ),
    ),
)


def blimp_row(pair: int, good: str, bad: str) -> Row:
    return {
        "sentence_good": good,
        "sentence_bad": bad,
        "field": "syntax",
        "linguistics_term": "island_effects",
        "UID": "adjunct_island",
        "simple_LM_method": True,
        "one_prefix_method": False,
        "two_prefix_method": False,
        "lexically_identical": True,
        "pair_id": pair,
    }


def blimp_question(pair: int, candidates: tuple[str, str], answer: int) -> Question:
    return Question(f"adjunct_island-{pair}", "", candidates, answer, "adjunct_island")


BLIMP = Planted(
    "blimp",
    "nyu-mll/blimp",
    "adjunct_island",
    {
        "train": [
            blimp_row(0, "Ann sleeps.", "Ann sleep."),
            blimp_row(1, "Bo sleeps.", "Bo sleep."),
            blimp_row(2, "Cy sleeps.", "Cy sleep."),
            blimp_row(3, "A cat runs.", "A cat run."),
            blimp_row(4, "bo  SLEEPS.", "Bo sleeping."),  # reads like the sentence of pair 1
        ]
    },
    (
        blimp_question(0, ("Ann sleep.", "Ann sleeps."), 1),
        blimp_question(2, ("Cy sleep.", "Cy sleeps."), 1),
    ),
    (
        blimp_question(1, ("Bo sleep.", "Bo sleeps."), 1),
        blimp_question(3, ("A cat runs.", "A cat run."), 0),
        blimp_question(4, ("Bo sleeping.", "bo  SLEEPS."), 1),
    ),
)
PLANTED = (
    ARC_CHALLENGE,
    ARC_EASY,
    BLIMP,
    COMMONSENSEQA,
    HELLASWAG,
    OPENBOOKQA,
    TRUTHFULQA,
    WINOGRANDE,
)
