"""Every word of the language has a description with an example that parses."""

import re
from importlib import resources

import pytest

from netc.dsl.parser import parse
from netc.dsl.source import Source
from netc.dsl.words import WORDS

_WITH_OTHERS = {"as", "in", "with", "until", "if", "else", "and", "or", "not"}  # parts of statements and operators


@pytest.mark.parametrize("name", WORDS)
def test_the_example_of_a_word_parses(name: str) -> None:
    word = WORDS[name]
    parse(Source("m.net", word.section.value.format(word.example)))
    assert re.search(rf"\b{name}\b", word.example)
    assert word.doc.endswith(".")


def test_every_word_of_the_grammar_is_described() -> None:
    grammar = resources.files("netc.dsl").joinpath("grammar.lark").read_text(encoding="utf-8")
    words = {*re.findall(r'"([a-z]+)"', re.sub(r"//.*", "", grammar))}
    assert len(words) > 20
    assert words - _WITH_OTHERS <= WORDS.keys()
