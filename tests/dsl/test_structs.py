"""Records: `replace`, and the comparison of syntax trees."""

import pytest

from netc.dsl.diagnostics import Diagnostic, Label
from netc.dsl.parser import parse
from netc.dsl.source import NOWHERE, Source
from netc.dsl.structs import replace


def test_a_copy_has_the_changes_and_the_other_fields() -> None:
    diagnostic = Diagnostic("E0201", "unknown name", Label(NOWHERE, "here"))
    changed = replace(diagnostic, title="another")
    assert changed == Diagnostic("E0201", "another", Label(NOWHERE, "here"))
    assert diagnostic.title == "unknown name"


def test_a_change_of_no_field_is_refused() -> None:
    with pytest.raises(TypeError):
        replace(Label(NOWHERE), words="here")


def test_files_are_equal_and_have_one_hash_if_they_have_the_same_meaning() -> None:
    text = "let c = 1\n"
    first, second = parse(Source("a.net", text)), parse(Source("b.net", f"\n{text}"))
    assert first == second
    assert hash(first) == hash(second)
    assert first != parse(Source("a.net", "let c = 2\n"))
    assert first != text


def test_a_source_knows_its_lines_and_its_representation_is_short() -> None:
    source = Source("a.net", "let a = 1\nlet b = 2\n" * 1000)
    assert source.position(12) == (2, 3)
    assert repr(source) == "Source('a.net')"
