"""The words of the language itself, each with an example and a description, for `netc ops` and for messages.

Layers, operations, optimizers and steps describe themselves where they are defined.
"""

from collections.abc import Mapping

from netc.dsl.setting_words import SETTING_WORDS
from netc.dsl.word import Section, Word

WORDS: Mapping[str, Word] = {
    # ------------------------------------------------------------ a file
    "let": Word("let width = 64", Section.FILE, "Names a constant, which `--set width=32` replaces for one run."),
    "import": Word('import "layers.net" as layers', Section.FILE, "Reads the blocks and constants of another file."),
    "block": Word(
        "block twice(x: float[n]) { return 2 * x }",
        Section.FILE,
        "Defines a part that several places use, such as a layer of your own: `x -> twice`.",
    ),
    "op": Word("op square(x) = x * x", Section.FILE, "Defines an element-wise function by an expression."),
    "data": Word(
        'data { source = csv("iris.csv") }',
        Section.FILE,
        "The block that says where the data is, which fields a sample has, and how the rows are split.",
    ),
    "model": Word(
        "model { input x: float[4] }",
        Section.FILE,
        "The block that computes outputs and losses from the fields of the data.",
    ),
    "train": Word(
        "train { optimizer = adam(lr = 0.01) }",
        Section.FILE,
        "The block of the settings of training: `optimizer`, `batch`, `epochs` and others. Each has a default.",
    ),
    "study": Word("study { lr = log(0.0001, 0.1) }", Section.FILE, "The block of the values that `netc study` varies."),
    # ------------------------------------------------------------ data
    "source": Word(
        'source = csv("iris.csv")',
        Section.DATA,
        "The file that the data is read from, by a reader. A path starts from the folder of the `.net` file.",
    ),
    "column": Word(
        'y = column("species") -> classes',
        Section.DATA,
        "A field of one column, as one number or label for each sample, and the steps that it goes through.",
    ),
    "columns": Word(
        'x = columns("width", "height") -> standardize',
        Section.DATA,
        "A field of several columns, as a vector. Each name is written: there are no patterns or ranges. "
        '`columns(all, except = "species")` takes in all columns but some, and `netc new DATA` writes every name.',
    ),
    "field": Word(
        'letters = field("text") -> characters -> vocabulary -> window(100)',
        Section.DATA,
        "A field of what is not a table: a text, pictures, an array, a sequence.",
    ),
    "split": Word(
        "split = (train = 0.8, valid = 0.1, test = 0.1)",
        Section.DATA,
        "Divides the rows: the model learns from `train`, is compared between epochs on `valid`, and is judged once, "
        "at the end, on `test`. These shares are the default.",
    ),
    "series": Word(
        'series = by("store", time = "date", every = "1 day")',
        Section.DATA,
        "Says which rows of a table follow one another, so that `window` and `next` may cut sequences from them.",
    ),
    "folds": Word(
        "split = folds(5)",
        Section.DATA,
        "Divides the rows into parts of equal size, each of which is once the validation part: `netc train M.net "
        '--folds` trains with each. `folds(5, by = "patient")` keeps groups together, `ordered = true` the order.',
    ),
    "by": Word(
        'split = by("patient", train = 0.8, test = 0.2)',
        Section.DATA,
        "Divides the rows so that those with the same cell in a column stay together; in `series` and `folds` too.",
    ),
    "ordered": Word(
        "split = ordered(train = 0.8, test = 0.2)",
        Section.DATA,
        "Divides the rows in their order: the first ones are for training, and the last ones for the test.",
    ),
    "hash": Word(
        'split = hash("id", train = 0.8, test = 0.2)',
        Section.DATA,
        "Divides the rows by the cell of a column alone, so that a row keeps its part when the data grows.",
    ),
    "all": Word(
        'x = columns(all, except = "species")',
        Section.DATA,
        "In `columns`: all columns of the table, but those of `except`.",
    ),
    "except": Word(
        'x = columns(all, except = ("id", "species"))',
        Section.DATA,
        "In `columns(all, ...)`: the columns to leave out.",
    ),
    "valid": Word(
        "split = (train = 0.8, valid = 0.2)",
        Section.DATA,
        "The validation part of the data, by which epochs are compared (`valid.loss`). As a border, "
        "`conv(16, pad = valid)` adds no zeros.",
    ),
    "test": Word(
        "split = (train = 0.8, test = 0.2)",
        Section.DATA,
        "The part of the data that judges a model once, at the end.",
    ),
    "calibration": Word(
        "split = (train = 0.6, valid = 0.1, calibration = 0.1, test = 0.2)",
        Section.DATA,
        "A part of the data from which `calibrated` and `conformal` learn how sure a model may be.",
    ),
    # ------------------------------------------------------------ a model
    "input": Word("input x: float[4]", Section.MODEL, "Declares a field of the data that predictions are made from."),
    "target": Word(
        "target y: class(3)",
        Section.MODEL,
        "Declares a field of the data that the model learns to predict. Losses and metrics read it, outputs do not.",
    ),
    "output": Word(
        "output probability = softmax(logits)",
        Section.MODEL,
        "Names a value that `netc predict` computes and writes.",
    ),
    "loss": Word(
        "loss cross_entropy(logits, y)",
        Section.MODEL,
        "The number that training makes small. Several losses are added; `loss name = ...` names one of them.",
    ),
    "metric": Word(
        "metric accuracy(logits, y)",
        Section.MODEL,
        "A number that is reported for each epoch and that nothing learns from. `metric name = ...` names it; without "
        "a name it has that of its function.",
    ),
    "watch": Word("watch middle = mean(h)", Section.MODEL, "Reports how a value is distributed in each epoch."),
    "param": Word(
        "param w: float[4] = normal(0.1)",
        Section.MODEL,
        "Declares numbers that training changes, and how they begin. Layers such as `dense` declare their own.",
    ),
    "state": Word("state count: float = zeros", Section.MODEL, "Declares a value that is kept from step to step."),
    "update": Word("update count = count + 1", Section.MODEL, "Says what a state is after each step of training."),
    "layer": Word(
        "layer shared = dense(8)",
        Section.MODEL,
        "A layer that is applied in several places with the same parameters: `a -> shared` and `b -> shared`.",
    ),
    "for": Word(
        "for i in 0..3 { h = h -> dense(8) }", Section.MODEL, "Repeats statements; each round has its own layers."
    ),
    "scan": Word(
        "h = scan e in x with h = zeros(4) { yield h }",
        Section.MODEL,
        "Computes a sequence step by step, where each step reads what the one before it carried.",
    ),
    "return": Word("return 2 * x", Section.BLOCK, "Gives the result of a block."),
    "yield": Word("yield h", Section.SCAN, "Gives the result of a step of a scan."),
    "if": Word(
        "h = x if training else 2 * x",
        Section.MODEL,
        "Chooses by a condition that is known when compiling; `where(condition, a, b)` chooses by numbers of the data.",
    ),
    "training": Word(
        "h = x -> dropout(0.5) if training else x",
        Section.MODEL,
        "True while training, otherwise false.",
    ),
    "same": Word(
        "h = x -> conv(16, pad = same)",
        Section.MODEL,
        "The border with which a convolution keeps the size of an image.",
    ),
    "causal": Word(
        "h = x -> conv(16, pad = causal)",
        Section.MODEL,
        "The border of a sequence at whose end no later step is seen; `self_attention(causal = true)` is the same for "
        "attention.",
    ),
    # ------------------------------------------------------------ types
    "float": Word(
        "float[28, 28]",
        Section.TYPE,
        "The type of numbers, with their dimensions; `float` alone is one number. A name in place of the first "
        "dimension, as in `float[t, 3]`, stands for a length that differs from sample to sample.",
    ),
    "class": Word(
        "class(10)",
        Section.TYPE,
        "The type of a label, one of ten. `class(auto)` takes their number from the data, and `class(82)[t]` is a "
        "sequence of labels of any length, such as a text.",
    ),
    "bool": Word("bool[10]", Section.TYPE, "The type of truth values."),
    "auto": Word("class(auto)", Section.TYPE, "As the number of classes: the one that the data has."),
    **SETTING_WORDS,
}


def settings_of(section: Section) -> frozenset[str]:
    """The words that are settings of a block, as `epochs` is one of `train`: their examples begin with them."""
    return frozenset(
        name for name, word in WORDS.items() if word.section is section and word.example.startswith(f"{name} =")
    )
