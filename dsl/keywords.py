"""The keywords of the language: words that are never names. Others, such as `input`, are words only in their place."""

DEFINITIONS = ("let", "import", "block", "op")  # each begins a definition at the top of a file
SECTIONS = ("data", "model", "train", "study")  # the blocks of a file
# each begins a statement of a model if a name or a call follows, and is a name elsewhere
STATEMENTS = ("input", "target", "output", "loss", "metric", "watch", "param", "state", "update", "layer")
KEYWORDS = (
    *DEFINITIONS,
    *("as", "class", "return", "yield", "scan", "for", "in", "with", "until", "if", "else", "and", "or", "not"),
)
