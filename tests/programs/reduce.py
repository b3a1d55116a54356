"""Reduces a failing program automatically, by delta debugging on its statements, settings, sizes and data.

`reduced(program, fails)` returns the smallest program for which `fails` still holds and which the compiler accepts.
"""

import re
from collections.abc import Callable, Iterator, Sequence

from msgspec import Struct

import netc
from netc.dsl.structs import replace
from tests.programs.program import Lengths, Program, Statement, resized
from tests.programs.values import Type

Fails = Callable[[Program], bool]
Statements = tuple[Statement, ...]
Edit = Callable[[Statements], Iterator[Statements]]


def uses(statement: Statement) -> frozenset[str]:
    """The names that a statement reads, including those of its body."""
    return frozenset(statement.operands).union(*(uses(inner) for inner in statement.body))


def assigned(statement: Statement) -> frozenset[str]:
    """The names that a statement defines. Names that a loop assigns exist after it."""
    if statement.keyword != "for":
        return frozenset(statement.names)
    return frozenset().union(*(assigned(inner) for inner in statement.body))


def without(statements: Statements, start: int, stop: int) -> Statements:
    """The statements without some of them, and without those that read their names."""
    gone = {name for statement in statements[start:stop] for name in assigned(statement)}
    kept = list(statements[:start])
    for statement in statements[stop:]:
        if uses(statement) & gone:
            gone |= assigned(statement)
        else:
            gone -= assigned(statement)
            kept.append(statement)
    return tuple(kept)


def renamed(statements: Statements, old: str, new: str) -> Statements:
    """The statements with another name in place of one, until that one is defined again."""
    result: list[Statement] = []
    for n, statement in enumerate(statements):
        operands = tuple(new if name == old else name for name in statement.operands)
        result.append(replace(statement, operands=operands, body=renamed(statement.body, old, new)))
        if old in assigned(statement):
            return (*result, *statements[n + 1 :])
    return tuple(result)


def removals(statements: Statements) -> Iterator[Statements]:
    """Programs without ever smaller runs of statements and everything that depends on them."""
    size = len(statements) // 2
    while size:
        for start in range(len(statements) - size, -1, -max(1, size // 2)):
            yield without(statements, start, start + size)
        size //= 2


def single_removals(statements: Statements) -> Iterator[Statements]:
    """Programs without one statement.

    Readers of its name may find an earlier value of that name. The body of a removed loop remains.
    """
    for n, statement in enumerate(statements):
        yield (*statements[:n], *statements[n + 1 :])
        if statement.keyword == "for":
            yield (*statements[:n], *statement.body, *statements[n + 1 :])


def fewer_carries(statements: Statements) -> Iterator[Statements]:
    """Programs with a scan that lacks one of its carries and all that its body does with it."""
    for n, statement in enumerate(statements):
        for match in re.finditer(
            r"(?:, |with )(c\d+) = (?:\{(\d+)\}|[^,]+?(?:\([^)]*\))?)(?=, c\d+ = |$)", statement.template
        ):
            head, tail = statement.template[: match.start()], statement.template[match.end() :]
            if match[0].startswith("with"):
                tail = f"with {tail.removeprefix(', ')}" if tail else ""
            name = match[1]
            body = without((Statement("", (name,), ""), *statement.body), 0, 1)
            if body:
                changed = _with_template(replace(statement, body=body), (head + tail).rstrip())
                yield (*statements[:n], changed, *statements[n + 1 :])


def _with_template(statement: Statement, template: str) -> Statement:
    """The statement with another template, whose slots are numbered anew."""
    slots = sorted({int(slot) for slot in re.findall(r"\{(\d+)\}", template)})
    operands = tuple(statement.operands[slot] for slot in slots)
    for new, old in enumerate(slots):
        template = template.replace(f"{{{old}}}", f"{{{new}}}")
    return replace(statement, template=template, operands=operands)


def contractions(statements: Statements) -> Iterator[Statements]:
    """Programs without one statement, whose value is replaced by an earlier one of the same type."""
    types: dict[str, Type] = {}
    for n, statement in enumerate(statements):
        for name, type_ in zip(statement.names, statement.types, strict=False):
            earlier = [other for other, other_type in types.items() if other_type == type_ and other != name]
            preferred = sorted(earlier, key=lambda other, s=statement: other not in s.operands)
            for other in preferred[:3]:
                rest = renamed(statements[n + 1 :], name, other)
                yield (
                    statements[:n] + without((statement, *rest), 0, 1)
                    if len(statement.names) == 1
                    else (statements[: n + 1] + rest)
                )
        types.update(zip(statement.names, statement.types, strict=False))


def second_names(statements: Statements) -> Iterator[Statements]:
    """Programs without one statement that only gives a value another name."""
    for n, statement in enumerate(statements):
        if statement.template == " = {0}" and len(statement.names) == 1:
            yield (*statements[:n], *renamed(statements[n + 1 :], statement.names[0], statement.operands[0]))


def plain_inputs(statements: Statements) -> Iterator[Statements]:
    """Programs in which a computed value is an input, so that the statements before it can be removed."""
    for n, statement in enumerate(statements):
        if statement.keyword == "" and len(statement.names) == 1 and statement.types:
            type_, name = statement.types[0], f"in_{statement.names[0]}"
            declared = Statement("input", (name,), f": {type_.text()}", types=(type_,))
            yield (declared, *statements[:n], *renamed(statements[n + 1 :], statement.names[0], name))


def shorter_texts(statements: Statements) -> Iterator[Statements]:
    """Programs with one shorter expression: without its last step, an option or a factor, or only one operand."""
    for n, statement in enumerate(statements):
        for template in _shorter(statement):
            yield (*statements[:n], _with_template(statement, template), *statements[n + 1 :])


def _shorter(statement: Statement) -> Iterator[str]:
    text = statement.template
    for pattern in (
        r" -> \w+(\([^()]*\))?$",
        r", \w+ = (\([^()]*\)|[\w.-]+)",
        r" with .*$",
        r", c\d+ = [^,]+$",
        r"[\d.]+ \* ",
        r" [-+*/] [\d.]+",
    ):
        for match in re.finditer(pattern, text):
            yield text[: match.start()] + text[match.end() :]
    for inner in re.findall(r"[a-z_]+\(([^()]*\{\d+\}[^()]*)\)", text):
        yield re.sub(r"[a-z_]+\(" + re.escape(inner) + r"\)", lambda match, inner=inner: inner, text, count=1)
    head, equals, body = text.partition(" = ")
    if equals and body.count("{") > 1 and not statement.body:
        for slot in sorted(set(re.findall(r"\{\d+\}", body))):
            yield f"{head} = {slot}"


def everywhere(edit: Edit, statements: Statements) -> Iterator[Statements]:
    """Applies an edit to a list of statements, and to the body of each."""
    yield from edit(statements)
    for n, statement in enumerate(statements):
        if statement.body:
            for body in everywhere(edit, statement.body):
                if body:
                    yield (*statements[:n], replace(statement, body=body), *statements[n + 1 :])


EDITS: tuple[Edit, ...] = (removals, single_removals, fewer_carries, contractions, second_names, shorter_texts)


def edited(program: Program) -> Iterator[Program]:
    """Programs with fewer or simpler statements."""
    for edit in EDITS:
        for statements in everywhere(edit, program.statements):
            yield replace(program, statements=statements)
        for definitions in everywhere(edit, program.definitions):
            yield replace(program, definitions=definitions)
    for statements in plain_inputs(program.statements):
        yield replace(program, statements=statements)


def inlined_blocks(program: Program) -> Iterator[Program]:
    """Programs without a definition that is not used any more."""
    for n in range(len(program.definitions)):
        yield replace(program, definitions=program.definitions[:n] + program.definitions[n + 1 :])


def fewer_settings(program: Program) -> Iterator[Program]:
    for n, (name, value) in enumerate(program.settings):
        yield replace(program, settings=program.settings[:n] + program.settings[n + 1 :])
        if name == "optimizer" and value != "sgd(lr = 0.1)":
            yield replace(
                program, settings=(*program.settings[:n], (name, "sgd(lr = 0.1)"), *program.settings[n + 1 :])
            )
        if name == "precision" and value != "f64":
            wider = "f64" if value == "f32" else "f32"
            yield replace(program, settings=(*program.settings[:n], (name, wider), *program.settings[n + 1 :]))
        if value.isdigit():
            for number in _smaller(int(value)):
                changed = (*program.settings[:n], (name, str(number)), *program.settings[n + 1 :])
                yield replace(program, settings=changed)


def _smaller(number: int) -> list[int]:
    return sorted({n for n in (1, 2, 3, number // 2, number - 1) if 0 < n < number})


def less_data(program: Program) -> Iterator[Program]:
    for samples in _smaller(program.samples):
        yield replace(program, samples=samples)
    for n, lengths in enumerate(program.lengths):
        used = any(lengths.dim in line for line in program.text.splitlines())
        rest = program.lengths[:n] + program.lengths[n + 1 :]
        if not used:
            yield replace(program, lengths=rest)
        for most in range(lengths.least, lengths.most):
            yield replace(
                program,
                lengths=(*program.lengths[:n], Lengths(lengths.dim, lengths.least, most), *program.lengths[n + 1 :]),
            )
        for least in range(1, lengths.least):
            yield replace(
                program,
                lengths=(*program.lengths[:n], Lengths(lengths.dim, least, lengths.most), *program.lengths[n + 1 :]),
            )


def smaller_sizes(program: Program) -> Iterator[Program]:
    """Programs with one number smaller wherever it occurs."""
    texts = [inner.head for statement in (*program.definitions, *program.statements) for inner in _all(statement)]
    numbers = sorted({int(n) for text in texts for n in re.findall(r"(?<![\w.])\d+(?![\w.]\d)", text)}, reverse=True)
    for old in numbers:
        for new in _smaller(old):
            yield replace(
                program,
                definitions=tuple(resized(definition, old, new) for definition in program.definitions),
                statements=tuple(resized(other, old, new) for other in program.statements),
            )


def _all(statement: Statement) -> Iterator[Statement]:
    yield statement
    for inner in statement.body:
        yield from _all(inner)


PASSES: tuple[Callable[[Program], Iterator[Program]], ...] = (
    less_data,
    edited,
    inlined_blocks,
    fewer_settings,
    smaller_sizes,
    less_data,
)


class Search(Struct):
    """The number of candidates that may still be run, and those that were seen."""

    fails: Fails
    attempts: int
    seen: set[tuple[object, ...]]

    def holds(self, candidate: Program) -> bool:
        """Whether the compiler accepts a candidate and it still fails."""
        key = (candidate.text, candidate.samples, candidate.lengths)
        if key in self.seen or self.attempts <= 0:
            return False
        self.seen.add(key)
        if not is_accepted(candidate):
            return False
        self.attempts -= 1
        return self.fails(candidate)


def is_accepted(program: Program) -> bool:
    """Whether the front end accepts the text, or fails otherwise than by a message."""
    try:
        netc.parse(program.text)
    except netc.Fault:
        return False
    except Exception:
        return True
    return True


def reduced(program: Program, fails: Fails, attempts: int = 600) -> Program:
    """The smallest failing program. `attempts` limits how often `fails` runs."""
    search = Search(fails, attempts, set())
    while search.attempts > 0:
        before = program
        for candidates in PASSES:
            program = _exhausted(program, candidates, search)
        if program == before:
            break
    return program


def _exhausted(program: Program, candidates: Callable[[Program], Iterator[Program]], search: Search) -> Program:
    """Applies one kind of change as long as it makes the program smaller."""
    improved = True
    while improved and search.attempts > 0:
        improved = False
        for candidate in candidates(program):
            if cost(candidate) < cost(program) and search.holds(candidate):
                program, improved = candidate, True
                break
    return program


def cost(program: Program) -> tuple[int, int]:
    """The quantity that reduction makes smaller.

    Statements come first, then the length of the text, its numbers and the data.
    """
    text = program.text
    numbers = sum(int(n) for n in re.findall(r"(?<![\w.])\d+(?![\w.]\d)", text))
    data = program.samples + sum(lengths.least + lengths.most for lengths in program.lengths)
    computed = sum(
        inner.keyword not in ("input", "target")
        for s in (*program.definitions, *program.statements)
        for inner in _all(s)
    )
    return 3 * computed + program.size, len(text) + 2 * numbers + data


def as_test(program: Program, checks: Sequence[str], title: str) -> str:
    """A test to paste: the text, how its data is generated, and the checks that it must pass."""
    fields = ", ".join(f"{name!r}: {_type_call(type_)}" for name, type_ in program.fields.items())
    lengths = ", ".join(
        f"Lengths({lengths_of_dim.dim!r}, {lengths_of_dim.least}, {lengths_of_dim.most})"
        for lengths_of_dim in program.lengths
    )
    name = re.sub(r"\W+", "_", title).strip("_").lower()
    return (
        f'def test_{name}() -> None:\n    text = """{program.text}"""\n'
        f"    data = make_data({{{fields}}}, ({lengths}{',' if lengths else ''}), "
        f"samples={program.samples}, seed={program.seed})\n"
        f"    assert verify(Subject(netc.parse(text), data, seed={program.seed}), {list(checks)!r}) == []\n"
    )


def _type_call(type_: Type) -> str:
    return f"Type({type_.kind!r}, {type_.dims!r}, {type_.classes})"
