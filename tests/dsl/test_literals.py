"""Texts in quotes: any text comes back as it was, and messages point at the escape that is wrong."""

from pathlib import Path
from unicodedata import category

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import warnings_of

import netc
from netc.dsl.mistakes.scanning import blanked, is_code_at_end
from netc.dsl.parser import parse
from netc.dsl.printer import print_file
from netc.dsl.quoting import net_string
from netc.dsl.source import Source
from netc.editor.analysis import Analysis, Counts
from netc.editor.completion import completions

# joiners, which scripts and emoji need, and signs of Arabic, Syriac and Kaithi numbers, which have a shape
JOINED = "\u200c\u200d\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
ODD = '"\\\n\t\r\0#{}()[],u' + "\x7f\x85\xa0\u200b\u202e\u2028\ufeff\uffff😀é"


@given(st.one_of(st.text(), st.text(alphabet=ODD)))
def test_any_text_comes_back(text: str) -> None:
    literal = net_string(text)
    file = parse(Source("m.net", f"let a = {literal}\ntrain {{ lr_scale = ({literal} = 0.1) }}\n"))
    assert file.items[0].value.value == text
    assert file.items[1].settings[0].value.entries[0].name.value == text
    printed = print_file(file)
    assert parse(Source("m.net", printed)) == file
    assert print_file(parse(Source("m.net", printed))) == printed
    assert not any(
        category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs") for character in literal if character not in JOINED
    )


@given(st.text(alphabet=ODD, max_size=12), st.text(alphabet=ODD, max_size=12))
def test_editors_know_where_a_text_ends(before: str, text: str) -> None:
    line = f"a = {net_string(before)}, "
    assert is_code_at_end(line)
    assert not is_code_at_end(line + net_string(text)[:-1])
    assert not is_code_at_end(line + "# ")
    plain = blanked(line + net_string(text))
    assert plain.split() == ["a", "=", ","]
    assert len(plain) == len(line + net_string(text))


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        (r'"a \"b\" c"', 'a "b" c'),
        (r'"C:\\new\\table"', r"C:\new\table"),
        (r'"two\nlines\tand a tab"', "two\nlines\tand a tab"),
        (r'"\u{e9}\u{0000E9}\u{1f600}\u{0}"', "éé😀\0"),
        (r'"\\u{e9}"', r"\u{e9}"),
    ],
)
def test_escapes(literal: str, value: str) -> None:
    assert parse(Source("m.net", f"let a = {literal}")).items[0].value.value == value


@pytest.mark.parametrize(
    ("literal", "marked", "hint"),
    [
        (r'"a\q"', r"\q", r'a backslash is written `\\`: "a\\q"'),
        (r'"C:\new\data"', r"\d", r'a backslash is written `\\`: "C:\\new\\data"'),
        (r'"\\\u{41}\n\q"', r"\q", r'a backslash is written `\\`: "\\\u{41}\n\\q"'),
        (r'"\x41"', r"\x", r'a backslash is written `\\`: "\\x41"'),
        (r'"\u0041"', r"\u0041", r"a character is written `\u{0041}`"),
        (r'"C:\users"', r"\u", r'a character is written `\u{e9}`, and a backslash `\\`: "C:\\users"'),
        (r'"\u{12"', r"\u{12", r'a character is written `\u{12}`, and a backslash `\\`: "\\u{12"'),
        (r'"\u{}"', r"\u{", r'a character is written `\u{e9}`, and a backslash `\\`: "\\u{}"'),
        (r'"\u{110000}"', r"\u{110000}", r"`\u{e9}` is é, and `\u{1f600}` is 😀"),
        (r'"\u{dc80}"', r"\u{dc80}", r"`\u{e9}` is é, and `\u{1f600}` is 😀"),
        (r'"\u{fffffffffffffffffffffff}"', r"\u{fffffffffffffffffffffff}", r"`\u{e9}` is é, and `\u{1f600}` is 😀"),
    ],
)
def test_wrong_escapes(literal: str, marked: str, hint: str) -> None:
    text = f"let a = 1\nlet b = [3, {literal}]\n"
    with pytest.raises(netc.Fault) as caught:
        parse(Source("m.net", text))
    (message,) = caught.value.diagnostics
    assert (message.code, message.primary.span.text, message.hint) == ("E0111", marked, hint)
    assert message.primary.span.start == text.index(literal) + literal.index(marked)


def test_each_wrong_text_has_a_message() -> None:
    text = 'let a = ["\\q", "\\w\\x", 1e999]\nimport "\\z.net"\n'
    with pytest.raises(netc.Fault) as caught:
        parse(Source("m.net", text))
    assert [message.primary.span.text for message in caught.value.diagnostics] == ["\\q", "\\w", "1e999", "\\z"]


def test_paths_that_no_file_can_have(tmp_path: Path) -> None:
    """A null character in a path ends in a message, wherever the path stands."""
    path = tmp_path / "m.net"
    data = 'data {\n  source = READER("a\\u{0}b")\n  x = column("x")\n  split = (train = 1.0)\n}\n'
    model = "model {\n  input x: float\n  output y = x\n}\n"
    texts = [data.replace("READER", reader) + model for reader in ("csv", "images", "idx", "text", "npz", "parquet")]
    texts.append('import "a\\u{0}b.net"\n')
    for text in texts:
        path.write_text(text, encoding="utf-8")
        with pytest.raises(netc.Fault) as caught:
            warnings_of(path)
        assert "a\\x00b" in str(caught.value)


def test_nothing_is_completed_within_a_text() -> None:
    text = 'model {\n  x = f("a \\" '
    assert not completions(text, len(text), Analysis(text, None, Counts()))
