"""Signs, words and methods of other languages and libraries, each with what netc writes instead, for syntax errors.

Names that a file may have are in synonyms.py; here are those that the grammar does not allow where they stand.
"""

from collections.abc import Mapping

JOINED = "layers are joined by `->`, as in `x -> dense(64) -> relu`"
COMMENT = "a comment begins with `#`"
PATTERN = (
    'there are no patterns or ranges of columns: `columns(all, except = "label")` takes in all columns but some, '
    "and `netc new DATA` writes every name"
)
SIGNS: Mapping[str, str] = {
    "//": COMMENT,
    "/*": COMMENT,
    "--": COMMENT,
    ";": "a new line ends a statement",
    "'": 'a text stands in double quotes: "text"',
    "`": 'a text stands in double quotes: "text"',
    "\u201c": 'a text stands in straight quotes: "text"',
    "\u201d": 'a text stands in straight quotes: "text"',
    "\u201e": 'a text stands in straight quotes: "text"',
    "&": "`a and b`",
    "|": "`a or b`; a pipe is written `->`",
    "!": "`not a`",
    "~": "`not a`",
    "^": "a power is written `**`",
    "?": "`a if condition else b`",
    "\\": "a line goes on after an operator or `,`, inside of ( ) and [ ], and if the next one begins with `->`",
    "\u2212": "a minus is written `-`",
    "\u2013": "a minus is written `-`",
    "\u00d7": "`a * b`",
    "\u00f7": "`a / b`",
    "\u2264": "`a <= b`",
    "\u2265": "`a >= b`",
    "\u2260": "`a != b`",
    "\u2192": "a pipe is written `->`",
    "=>": "a pipe is written `->`",
    "<-": "an assignment is written `=`",
    ":=": "an assignment is written `=`",
    "+=": "`a = a + b`",
    "-=": "`a = a - b`",
    "*=": "`a = a * b`",
    "/=": "`a = a / b`",
}
METHODS: Mapping[str, str] = {
    "add": JOINED,
    "addmodule": JOINED,
    "fit": "the block `train` says how: `train { optimizer = adam(lr = 0.001) ... }`, and `netc train M.net` trains",
    "compile": "the block `train` has the optimizer, and `model` the losses and metrics",
    "evaluate": "`netc eval RUN` evaluates a trained model",
    "predict": "`netc predict RUN DATA` predicts with a trained model",
    "summary": "`netc check M.net` prints the layers",
    "save": "`netc train M.net` saves a run by itself",
    "backward": "netc computes all derivatives by itself: `netc train M.net`",
    "step": "netc takes all steps by itself: `netc train M.net`",
    "zerograd": "netc computes all derivatives by itself: `netc train M.net`",
    "self": "a value has a plain name, without `self.`",
}
_NO_IMPORT = (
    "nothing has to be imported: layers, losses and optimizers are part of the language (`netc ops` lists them)"
)
WORDS: Mapping[str, str] = {
    "import": _NO_IMPORT,
    "class": "a network stands in `model { }`, a part that is used again in `block name(x: float[n]) { return x }`",
    "def": "block name(x: float[n]) { return x }",
    "fn": "block name(x: float[n]) { return x }",
    "func": "block name(x: float[n]) { return x }",
    "function": "block name(x: float[n]) { return x }",
    "lambda": "op name(x) = x * x",
    "const": "let name = 1",
    "var": "let name = 1",
    "from": f'{_NO_IMPORT}; a file of yours is read by `import "file.net"`',
    "while": "for i in 0..3 { }",
    "elif": "a if condition else b",
    "print": "watch name = x",
}
