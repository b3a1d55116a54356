"""Names of other libraries lead to what netc has, in every place where a name is unknown."""

import re

import pytest

import netc
from netc.compiler.elaborate.elaborator import elaborate
from netc.compiler.elaborate.initialisers import INITIALISERS
from netc.compiler.elaborate.settings.train_block import MOVING, SETTINGS
from netc.compiler.passes.optimizers import OPTIMIZERS
from netc.dsl.mistakes import foreign_words, synonyms
from netc.dsl.mistakes.synonyms import Kind, synonym
from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.syntax import Data
from netc.reference import entries
from netc.runtime.data.block.spec import parse_block
from netc.runtime.data.block.split import WAYS
from netc.runtime.data.pictures.augment import AUGMENTATIONS
from netc.runtime.data.readers.readers import READERS
from netc.runtime.data.steps.steps import STEPS

# for each kind of name, a file in which NAME is unknown, and names as other libraries spell them
DATA = "data {{\n  source = {}\n  x = {}{}\n  split = {}\n}}\n"
MODEL = "model {{\n  input x: float[4]\n  {}\n  output y = x\n}}\n"
POSITIONS = {
    Kind.VALUE: (
        MODEL.format("h = NAME(x)"),
        "Conv2D Linear BatchNorm2d MaxPooling2D Dense LSTM ReLU embedding",
    ),
    Kind.ARGUMENT: (MODEL.format("h = x -> dense(4, NAME = relu)"), "activation in_features Units"),
    Kind.TYPE: (MODEL.format("input z: NAME[3]"), "int string float32 Tensor"),
    Kind.INITIALISER: (MODEL.format("param w: float[4] = NAME"), "xavier_uniform kaiming_normal zero"),
    Kind.SETTING: (MODEL.format("") + "train { NAME = 3 }", "loss num_epochs batch_size learning_rate early_stopping"),
    Kind.OPTIMIZER: (MODEL.format("") + "train { optimizer = NAME }", "Adam SGD RMSprop Nadam"),
    Kind.READER: (DATA.format('NAME("a")', 'column("x")', "", "(train = 1)"), "read_csv ImageFolder numpy"),
    Kind.STEP: (
        DATA.format('csv("a")', 'column("x")', " -> NAME", "(train = 1)"),
        "normalize fillna StandardScaler get_dummies OneHotEncoder LabelEncoder to_datetime MinMaxScaler",
    ),
    Kind.COLUMNS: (DATA.format('csv("a")', 'NAME("x")', "", "(train = 1)"), "feature features"),
    Kind.SPLIT: (DATA.format('csv("a")', 'column("x")', "", "NAME(0.8)"), "stratified GroupKFold TimeSeriesSplit"),
    Kind.SECTION: ("NAME {\n}\n", "dataset training network tuning"),
    Kind.WORD: (MODEL.format("") + "train { precision = NAME }", "float32 double bfloat16"),
    Kind.PART: (DATA.format('csv("a")', 'column("x")', "", "(train = 0.8, NAME = 0.2)"), "val validation"),
}


def checked(source: Source) -> None:
    """Parses and checks a file."""
    file = parse(source)
    data = next((item for item in file.items if isinstance(item, Data)), None)
    parse_block(source, data, {}) if data else elaborate(file)


def hint_of(text: str, name: str) -> str:
    """The hint of the message that points at the name."""
    source = Source("m.net", text.replace("NAME", name))
    with pytest.raises(netc.Fault) as caught:
        checked(source)
    (message,) = (message for message in caught.value.diagnostics if name in message.primary.span.text)
    return message.hint or ""


@pytest.mark.parametrize("kind", Kind, ids=lambda kind: kind.name.lower())
def test_names_of_other_libraries(kind: Kind) -> None:
    text, names = POSITIONS[kind]
    for name in names.split():
        assert hint_of(text, name) == (synonym(name, kind, ("lr",)) or f"did you mean `{name.lower()}`?"), name


def test_every_entry_names_what_netc_has() -> None:
    """The code of each hint can be parsed, and begins with a name that exists."""
    library = {entry.name for entry in entries()} | {"x", "loss", "input", "metric", "model", "none", "source"}
    names = {
        Kind.VALUE: library | {"for", "true", "false"},
        Kind.TYPE: {"float", "class", "bool", "precision", "train"},
        Kind.INITIALISER: set(INITIALISERS),
        Kind.SETTING: {*SETTINGS, *MOVING, "model", "data", "split", "loss", "metric", "source"},
        Kind.OPTIMIZER: set(OPTIMIZERS),
        Kind.READER: set(READERS),
        Kind.STEP: {*STEPS, "source"},
        Kind.COLUMNS: {"column", "columns"},
        Kind.SPLIT: {*WAYS, "split"},
        Kind.SECTION: {"data", "model", "train", "study"},
        Kind.WORD: {"f32", "f64", "bf16"},
        Kind.PART: {"train", "valid", "test", "calibration", "ordered", "seed"},
    }
    for kind, allowed in names.items():
        for name, entry in synonyms._TABLES[kind].items():
            assert re.fullmatch(r"[a-z0-9]+", name), name
            for code in re.findall("`([^`]+)`", entry) or [entry]:
                if code.startswith("netc "):
                    assert code.split()[1] in ("train", "eval", "predict", "check"), (name, code)
                    continue
                if first := re.match(r"\w+", code):
                    assert first[0] in allowed, (name, code)
                if code.startswith(("loss ", "metric ", "input ", "for ")):
                    parse(Source("m.net", f"model {{\n{code}\n}}\n"))
                elif kind is Kind.TYPE and code.startswith(("float", "class", "bool")):
                    parse(Source("m.net", f"model {{\ninput z: {code}\n}}\n"))
                elif re.match(r"\w+ = ", code):
                    parse(Source("m.net", f"train {{\n{code}\n}}\n"))
                elif code not in ("->", "="):
                    parse(Source("m.net", f"let a = {code}\n"))


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("let a = 3;\n", "a new line ends a statement"),
        ("// the width\nlet a = 3\n", "a comment begins with `#`"),
        ("let a = 3 // the width here\n", "a comment begins with `#`"),
        ("let a = 3 /* the width */\n", "a comment begins with `#`"),
        ("let a = 'text'\n", 'a text stands in double quotes: "text"'),
        ("let a = \u201ctext\u201d\n", 'a text stands in straight quotes: "text"'),
        ("let a := 3\n", "an assignment is written `=`"),
        ("let a = 2 ^ 3\n", "a power is written `**`"),
        ("let a = b && c\n", "`a and b`"),
        ("let a = !b\n", "`not a`"),
        ("let a = b ? 1 : 2\n", "`a if condition else b`"),
        ("model {\n  x += 1\n}\n", "`a = a + b`"),
        ("def f(x):\n", "block name(x: float[n]) { return x }"),
        (
            "from layers import dense\n",
            f'{foreign_words.WORDS["import"]}; a file of yours is read by `import "file.net"`',
        ),
        ("import torch\n", foreign_words.WORDS["import"]),
        ("class Net(Module):\n  x = 1\n", foreign_words.WORDS["class"]),
        ("train {\n  epochs: 3\n}\n", "epochs = 3"),
        ("model {\n  input x: float(4)\n}\n", "the dimensions of a type stand in brackets: `float[4]`"),
        ("model {\n  input x: (28, 28)\n}\n", "the dimensions of a type stand in brackets: `float[28, 28]`"),
        ("model {\n  model.add(dense(3))\n}\n", foreign_words.METHODS["add"]),
        ("model {\n  self.fc1 = dense(3)\n}\n", foreign_words.METHODS["self"]),
        ("model.fit(x, y)\n", foreign_words.METHODS["fit"]),
    ],
)
def test_signs_of_other_languages(text: str, hint: str) -> None:
    with pytest.raises(netc.Fault) as caught:
        parse(Source("m.net", text))
    assert [message.hint for message in caught.value.diagnostics] == [hint]


def test_a_loss_that_is_assigned() -> None:
    text = "model {\n  input x: float\n  target t: float\n  param w: float\n  loss = mse(w * x, t)\n  output y = w\n}\n"
    with pytest.raises(netc.Fault) as caught:
        elaborate(parse(Source("m.net", text)))
    (message,) = caught.value.diagnostics
    assert (message.code, message.primary.span.line, message.hint) == ("E0510", 5, "loss mse(w * x, t)")
    model = elaborate(parse(Source("m.net", text.replace("  output", "  watch seen = loss\n  output"))))
    with pytest.raises(netc.Fault) as caught:
        netc.compile(model, backend="reference").step({"x": [1.0], "t": [1.0]})
    (message,) = caught.value.diagnostics
    assert (message.code, message.primary.span.line, message.hint) == ("E0501", 5, "loss mse(prediction, target)")


COMMENTED = """let n = 4@
data {
  source = csv("t.csv")@
  x = columns("a", "b") -> standardize@
  y = column("y")@
  split = (train = 0.8, test = 0.2)@
}
block two(h: float[k], m = 3@) {@
  return h -> dense(m)@
}
@
model {@
  input x: float[2]@
  target y: float@
  h = x -> two() -> relu@
  z = h -> dense(@
    units = 1) -> squeeze@
  output p = z@
  loss mse(z, y)@
}
train {
  epochs = 3@
  optimizer = adam(lr = 0.1)@
  schedule = cosine()@
  keep = best(train.loss)@
  precision = f64@
  freeze = "h.*"@
}
"""


def read_all(source: Source) -> None:
    file = parse(source)
    elaborate(file)
    parse_block(source, next(item for item in file.items if isinstance(item, Data)), {})


@pytest.mark.parametrize("comment", ["// note", "// a note", "-- note", "-- a note", "/* note */", "; note"])
def test_comments_of_other_languages_in_any_place(comment: str) -> None:
    """A comment of one word is an operand in netc, so the message may come from any stage that reads the file."""
    pieces = COMMENTED.split("@")
    for number in range(1, len(pieces)):
        text = f"{''.join(pieces[:number])} {comment}{''.join(pieces[number:])}"
        source = Source("m.net", text)
        with pytest.raises(netc.Fault) as caught:
            read_all(source)
        first = caught.value.diagnostics[0]
        assert "a comment begins with `#`" in (first.hint or ""), (number, str(caught.value))
        assert first.primary.span.line == text[: text.index(comment)].count("\n") + 1, (number, str(caught.value))


def test_signs_of_comments_are_operators_where_their_operands_are_defined() -> None:
    model = netc.parse("let n = 9 // 2\nlet m = 9 --2\n" + MODEL.format("h = x -> dense(n) -> dense(m // n)"))
    assert [type_.dims[-1] for type_ in model.parameters.values()] == [4, 4, 2, 2]


def test_a_step_of_the_data_in_a_model() -> None:
    in_models = {entry.name for entry in entries() if entry.kind in ("operation", "form", "layer", "loss", "metric")}
    assert {*synonyms.STEPS_OF_DATA} == {*STEPS} - in_models
    for name in synonyms.STEPS_OF_DATA:
        hint = f"`{name}` is a step of the data: `x = ... -> {name}` in the block `data`"
        assert hint_of(MODEL.format("h = x -> NAME"), name).startswith(hint)


def test_every_change_of_pictures_is_known_to_the_messages_of_models() -> None:
    in_models = {entry.name for entry in entries() if entry.kind in ("operation", "form", "layer", "loss", "metric")}
    assert {*synonyms.CHANGES_OF_PICTURES} == {*AUGMENTATIONS} - in_models
    for name, change in synonyms.CHANGES_OF_PICTURES.items():
        parse_block(*_of_pictures(change))
        assert f"train_only({change})" in hint_of(MODEL.format("h = x -> NAME"), name)


def _of_pictures(change: str) -> tuple[Source, Data, dict[str, int]]:
    source = Source("m.net", DATA.format('images("a")', 'field("image")', f" -> train_only({change})", "(train = 1)"))
    return source, next(item for item in parse(source).items if isinstance(item, Data)), {}


@pytest.mark.parametrize("name", ["dense", "relu", "lstm", "cross_entropy", "softmax", "conv"])
def test_what_belongs_to_a_model_among_the_steps(name: str) -> None:
    text = DATA.format('csv("a")', 'column("x")', " -> NAME(3)", "(train = 1)")
    assert hint_of(text, name).startswith(f"`{name}` belongs to the block `model`")


def test_every_reader_is_known_to_the_messages_of_models() -> None:
    assert set(synonyms.READERS_OF_DATA) == READERS.keys()
