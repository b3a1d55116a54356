"""Names that try to become code: pieces of each language that netc writes, control characters, and what libraries read as markup."""

import random

PIECES = (
    *(
        "\n",
        "\r",
        "\r\n",
        "\t",
        "\0",
        "\x0b",
        "\x0c",
        "\x1b[31m",
        "\x1b]0;title\x07",
        "\x7f",
        "\x85",
        "\x9b",
        "\u2028",
        "\u2029",
    ),
    *("\u202e", "\u2066", "\ufeff", "\ufffe", "\uffff", "\ud800", "\udc80", "é", "日本", "😀", "e\u0301", "ﬁ", "²"),
    *(
        "'",
        '"',
        "'''",
        '"""',
        "\\",
        "\\n",
        "\\N{DASH}",
        "\\x41",
        "\\u0041",
        "{",
        "}",
        "{0}",
        "{name!r}",
        "%s",
        "%(x)s",
        "`",
        "${1}",
    ),
    *("#", "# coding: utf-7", "# allow: W0501", "//", "/*", "*/", "--", "-->", "--!>", "<!--", "]]>", "<![CDATA["),
    *(
        "</script>",
        "</style>",
        "</title>",
        "</pre>",
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
    ),
    *(
        "&",
        "&amp;",
        "&#10;",
        "&lt;",
        "<",
        ">",
        "$",
        "$$",
        "\\$",
        "$\\frac{$",
        "$x^{",
        "_",
        "^",
        "~",
        "[b]red[/b]",
        "=1+1",
        ";",
        ":",
        ",",
    ),
    *("NaN", "null", "nan", "true", "None", "", " ", "a", "b c", "0", "-", "->", "x" * 300),
    '__import__("os").system("touch PWNED")',
    '\r    __import__("os").system("touch PWNED")\n',
    '"""\n__import__("os").system("touch PWNED")\n"""',
    "'); __import__('os').system('touch PWNED'); ('",
    '\n}\nblock b(x) { return x }\nlet q = "',
    '")\n  y = column("z") -> classes #',
)


def hostile_names(count: int, seed: int) -> list[str]:
    """Each piece by itself, then pieces put together at random; all different."""
    draw, names = random.Random(seed), dict.fromkeys(PIECES)
    while len(names) < count:
        names["".join(draw.choices(PIECES, k=draw.randint(2, 6)))] = None
    return list(names)[:count]


def plain(text: str) -> bool:
    """Whether a text is one line without control characters, halves of pairs or what turns its direction."""
    return text.isprintable() or all(character.isprintable() or character in "\u3000\xa0" for character in text)
