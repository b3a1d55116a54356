"""The equations inside scans: one step forward, and one step of back-propagation through time.

`h[t]` is the value of a step, `h[t-1]` that of the step before. The derivative by a carry has two parts: what reads it
after the scan (`∂h_out[t]`), and what the next step makes of it, which reads `∂z[t+1]`.
"""

from collections.abc import Mapping

from netc.compiler.analysis.equations.formula import Call, Formula, Name, linear, number, plus
from netc.compiler.analysis.equations.naming import Level, Namer, new_name, simplified, weight
from netc.compiler.analysis.equations.patterns import shown
from netc.compiler.analysis.equations.reading import Reader
from netc.compiler.analysis.equations.stepped import all_steps, element, moved
from netc.compiler.analysis.equations.unrolled import Unrolled
from netc.compiler.ir.results import Result, ResultKind
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value
from netc.compiler.operations.scan import Part, Scan, ScanAttributes, Slot, SlotKind, leaves_of, part
from netc.compiler.passes.differentiate import adjoints
from netc.compiler.passes.scans import with_body
from netc.compiler.passes.simplify import simplify
from netc.dsl.structs import replace


def unroll(level: Level, taken: set[str]) -> list[Unrolled]:
    """The scans of a level. Their parts, and the values that they read, have names or formulas in the level then."""
    scans = [value for value in level.live if value.role is Role.SCAN]
    unrolled = []
    for value in scans:
        if value in level.forward:
            unrolled.append(_Body(level, taken, value, _back_of(level, value, scans)).run())
    return unrolled


def _back_of(level: Level, forward: Value, scans: list[Value]) -> Value | None:
    """The scan that computes the slopes of another one: it reads its parts, or the slopes of its parts."""
    parts = {value for value in level.live if value.role is Role.PART and value.operands[0] is forward}
    read = {shown(level.slopes[value]) for value in parts if value in level.slopes} | parts
    for value in scans:
        if value not in level.forward and any(shown(operand) in read for operand in Scan.of(value).sequences):
            return value
    return None


class _Body:
    """Reads the body of one scan, with its derivative, and gives its parts in the level outside their formulas.

    `joint` is a copy of the body, to which the derivative is added; then it is simplified.
    """

    def __init__(self, outer: Level, taken: set[str], value: Value, back: Value | None) -> None:
        self.outer, self.taken, self.scan, self.back = outer, taken, Scan.of(value), back
        self.joint, self.copies = self.scan.body.subgraph(self.scan.body.results)
        self.results = dict(self.joint.results)
        self.direction, self.end = (-1, "first") if self.scan.is_reversed else (1, "last")
        self.leaves = leaves_of(self.joint)
        self.parts = {
            each.attributes_as(Part).result: each
            for each in outer.live
            if each.role is Role.PART and each.operands[0] is value
        }
        self.names: dict[Value, Formula] = {}
        self.seeds_added: list[Value] = []
        self.from_later: dict[int, Formula] = {}
        self.carries = [self._name_of_carry(i) for i in range(len(self.scan.begins))]

    def run(self) -> Unrolled:
        self._name_leaves()
        forward = self.joint.values()
        later, seeds = self._seeds()
        floats = [leaf for leaf in self.leaves.values() if leaf.type.is_float]
        slopes = adjoints(self.joint, seeds, floats) if seeds else {}
        self.joint, copies, slopes = simplified(self.joint, [*forward, *self.seeds_added], slopes)
        later = {name: copies[leaf] for name, leaf in later.items()}
        self._follow(copies)
        results = [self.copies[value] for value in self.scan.body.results.values() if not self._is_spare(value)]
        of_leaves = [slopes[leaf] for leaf in self.leaves.values() if leaf in slopes]
        forward_copies = {copies[value] for value in forward if value in copies}
        level = Level(self.joint, forward_copies, slopes, [*results, *of_leaves], self.names, step=0)
        Namer(level, self.taken).run()
        reader = level.reader()
        placeholders = {
            name: moved(reader.formula(slopes[leaf]), self.direction) if leaf in slopes else number(0)
            for name, leaf in later.items()
        }
        values = self._name_parts(reader)
        if self.back is not None:
            values |= self._name_parts_of_back(level, slopes)
        begins = [
            (name, self.outer.reader().formula(begin))
            for name, begin in zip(self.carries, self.scan.begins, strict=True)
        ]
        back = self.back if seeds else None
        return Unrolled(self.scan.value, back, level, placeholders, begins, values)

    def _follow(self, copies: Mapping[Value, Value]) -> None:
        """Replaces values of the joint graph by their copies in the simplified one."""
        self.names = {copies[value]: formula for value, formula in self.names.items() if value in copies}
        self.copies = {value: copies[copy] for value, copy in self.copies.items() if copy in copies}
        self.results = {result: copies[value] for result, value in self.results.items()}
        self.leaves = {slot: copies[leaf] for slot, leaf in self.leaves.items()}

    # ------------------------------------------------------------------ names

    def _name_of_carry(self, i: int) -> Name:
        """The name of a carry: that of the file for its sequence, or else its own, numbered."""
        following = self.scan.body.results[ResultKind.NEXT.named(i)]
        for result, value in self.parts.items():
            is_same = result.kind is ResultKind.YIELD and self.scan.body.results[result] is following
            name = self.outer.names.get(value) if is_same else None
            if isinstance(name, Name):
                return replace(name, step=0)
        declared = self.scan.value.attributes_as(ScanAttributes).carries or ()
        letter = declared[i] if i < len(declared) else "carry"
        text = letter if letter not in self.taken else new_name(letter, self.taken)
        self.taken.add(text)
        return Name(text, step=0)

    def _is_spare(self, value: Value) -> bool:
        """Whether a result of the body is only there for derivatives to read."""
        kinds = {result.kind for result, computed in self.scan.body.results.items() if computed is value}
        reads = any(computed is value and result in self.parts for result, computed in self.scan.body.results.items())
        return ResultKind.NEXT not in kinds and not reads

    def _name_leaves(self) -> None:
        """Leaves are elements of sequences, the carries of the step before, or values outside."""
        for slot, operand in self.scan.operand_of().items():
            leaf = self.leaves.get(slot)
            if leaf is None:
                continue
            if slot.kind is SlotKind.CARRY:
                self.names[leaf] = replace(self.carries[slot.index], step=-self.direction)
            elif slot.kind is SlotKind.STEP_INPUT:
                self.names[leaf] = element(self._outside(operand))
            else:
                self.names[leaf] = self._outside(operand)
        for i, name in enumerate(self.carries):
            following = self.results[ResultKind.NEXT.named(i)]
            if following not in self.names:
                self.names[following] = name

    def _outside(self, operand: Value) -> Formula:
        """The formula of an operand; one that is not short gets a name in the level outside."""
        operand = shown(operand)
        formula = self.outer.reader().formula(operand)
        if weight(formula) > 2 and operand.operands:
            self.outer.name(operand, new_name("h", self.taken))
            return self.outer.names[operand]
        return formula

    def _seeds(self) -> tuple[dict[Name, Value], dict[Value, Value]]:
        """Leaves for the slopes that come from outside and from the next step, added up by the value they belong to.

        Returns the placeholders of the latter, with the leaf that is the carry, and the sums.
        """
        seeds: dict[Value, Value] = {}

        def add(result: Value, text: str, name: Formula) -> None:
            leaf = self.joint.leaf(Role.GIVEN, text, result.type)
            self.names[leaf] = name
            self.seeds_added.append(leaf)
            with self.joint.at(result.span):
                seeds[result] = seeds[result] + leaf if result in seeds else leaf

        for result, value in self.parts.items():
            if value in self.outer.slopes and result.kind is ResultKind.YIELD:
                target = self.results[result]
                known_name = self.names.get(target)
                text = f"{known_name.text}_out" if isinstance(known_name, Name) else new_name("out", self.taken)
                add(target, f"g.{result}", element(self._outer_slope(value, text)))
        later: dict[Name, Value] = {}
        if seeds or any(result.kind is ResultKind.LAST for result in self.parts):
            for i, begin in enumerate(self.scan.begins):
                leaf = self.leaves.get(SlotKind.CARRY.slot(i))
                if begin.type.is_float and leaf is not None:
                    name = Name(f"later {self.carries[i].text}", is_derivative=True, step=0)
                    self.from_later[i] = plus(name, *self._at_end(i))
                    add(self.results[ResultKind.NEXT.named(i)], f"gc{i}", self.from_later[i])
                    later[name] = leaf
        return later, seeds

    def _at_end(self, i: int) -> list[Formula]:
        """The slope by a carry after the last step, as a value of that step; none if nothing reads it there."""
        value = self.parts.get(ResultKind.LAST.named(i))
        if value is None or value not in self.outer.slopes:
            return []
        slope = self._outer_slope(value, f"{self.carries[i].text}_last")
        return [element(Call(f"at_{self.end}", (slope,)))]

    def _outer_slope(self, value: Value, text: str) -> Formula:
        """The name of the slope by a part of the scan."""
        slope = shown(self.outer.slopes[value])
        if slope not in self.outer.names:
            self.outer.names[slope] = Name(text, is_derivative=True)
        return self.outer.names[slope]

    # ------------------------------------------------------------------ parts outside

    def _name_parts(self, reader: Reader) -> dict[Formula, Value]:
        """Gives the parts of the scan their formulas, and returns a part for each name of the body."""
        for result, value in self.parts.items():
            if result.kind is ResultKind.YIELD:
                formula = all_steps(reader.formula(self.results[result]))
            else:
                formula = Call(self.end, (all_steps(self.carries[result.number]),))
            self.outer.parts.setdefault(value, formula)
        values: dict[Formula, Value] = {}
        for result, computed in self.scan.body.results.items():
            name = self.names.get(self.copies[computed])
            if result.kind is ResultKind.YIELD and isinstance(name, Name):
                values[name] = self.parts.get(result) or part(self.scan.value, result)
        return values

    def _name_parts_of_back(self, level: Level, slopes: Mapping[Value, Value]) -> dict[Formula, Value]:
        """The same for the parts of the scan that computes the slopes, whose body is read as the slopes were."""
        assert self.back is not None
        back = Scan.of(self.back)
        back = replace(back, body=simplify(back.body))
        reader = Reader(self._leaves_of_back(back, level))
        inner = level.reader()
        for slope in level.slopes.values():
            name = level.names.get(shown(slope))
            if isinstance(name, Name):
                reader.equal.setdefault(inner.definition(slope), name)
        for value in self.outer.live:
            if value.role is Role.PART and value.operands[0] is self.back:
                result = value.attributes_as(Part).result
                formula = self._part_of_back(result, reader, back, level, slopes)
                self.outer.parts.setdefault(value, all_steps(formula))
        return self._steps_of_back(back, reader)

    def _steps_of_back(self, back: Scan, reader: Reader) -> dict[Formula, Value]:
        """A part for each slope that has a name, of a copy of the backward scan that yields all of these."""
        body, copies = back.body.subgraph(back.body.results)
        keys: dict[Formula, Result] = {}
        for value in back.body.values():
            formula = reader.formula(value) if value in copies else None
            if isinstance(formula, Name) and formula.is_derivative and formula.step == 0 and value.operands:
                keys[formula] = ResultKind.YIELD.named(f"step.{value.number}")
                body.results[keys[formula]] = copies[value]
        assert self.back is not None
        scan = self.outer.graph.add_copy(self.back, self.back.operands, with_body(self.back, lambda _: body))
        return {formula: part(scan, key) for formula, key in keys.items()}

    def _part_of_back(
        self, result: Result, reader: Reader, back: Scan, level: Level, slopes: Mapping[Value, Value]
    ) -> Formula:
        if result.kind is not ResultKind.LAST:
            return reader.formula(back.body.results[result])
        floats = [i for i, begin in enumerate(self.scan.begins) if begin.type.is_float]
        inner = level.reader()
        if result.number < len(floats):
            leaf = self.leaves.get(SlotKind.CARRY.slot(floats[result.number]))
            if leaf is None or leaf not in slopes:
                return number(0)
            return Call("last" if self.scan.is_reversed else "first", (all_steps(inner.formula(slopes[leaf])),))
        of_samples = [
            leaf
            for slot, leaf in sorted(self.leaves.items(), key=lambda item: item[0].index)
            if slot.kind is SlotKind.CAPTURED and leaf.type.is_batched and leaf in slopes
        ]
        at_each_step = inner.formula(slopes[of_samples[result.number - len(floats)]])
        return linear("sum", all_steps(at_each_step), (self.scan.dim,))

    def _leaves_of_back(self, back: Scan, level: Level) -> dict[Value, Formula]:
        """The formulas of the leaves of the backward body: values of the forward step, and slopes."""
        inner = level.reader()
        result_of = {value: result for result, value in self.parts.items()}
        sequence_of = {shown(operand): slot for slot, operand in self.scan.operand_of().items()}
        slope_of = {
            shown(self.outer.slopes[value]): value for value in self.parts.values() if value in self.outer.slopes
        }
        names: dict[Value, Formula] = {}
        operands = back.operand_of()
        for slot, leaf in leaves_of(back.body).items():
            operand = shown(operands[slot])
            sequence: Slot | None = sequence_of.get(operand)
            if slot.kind is SlotKind.CARRY:
                carried = list(self.from_later.values())
                names[leaf] = carried[slot.index] if slot.index < len(carried) else Name("sum so far")
            elif operand in result_of:
                names[leaf] = inner.formula(self.results[result_of[operand]])
            elif operand in slope_of and slot.kind is SlotKind.STEP_INPUT:
                names[leaf] = element(self.outer.names[operand])
            elif sequence is not None and sequence in self.leaves:
                names[leaf] = self.names[self.leaves[sequence]]
            else:
                names[leaf] = self.outer.reader().formula(operand)
        return names
