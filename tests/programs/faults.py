"""Deliberate faults in passes and kernels, and the number of generated programs until each is detected.

`python -m tests.programs.faults --programs 500` plants one fault at a time in a copy of the sources, and runs the
campaign on the copy until a program fails. `--mends` removes the fixes of known bugs instead. `--suite` runs the rest
of the suite on each copy. The text that a fault replaces must occur exactly once, which a test checks.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from tests.programs.generator import PROFILES

ROOT = Path(__file__).parent.parent.parent
FLOORS = {"dsl": "dsl", "compiler": "compiler", "runtime": "runtime"}  # the packages in `netc` besides those of api/
PLAIN = "passes,updates,gradients,accumulate,alone,steps,plan"


class Edit(Struct, frozen=True):
    """`old` becomes `new` in a file of the sources."""

    path: str
    old: str
    new: str


class Fault(Struct, frozen=True):
    """Edits that make the compiler wrong.

    With `needs_kernels`, only compiled programs can detect it, because the emulator has no register tile.
    """

    name: str
    edits: tuple[Edit, ...]
    needs_kernels: bool = False


def _fault(name: str, path: str, old: str, new: str, needs_kernels: bool = False) -> Fault:
    return Fault(name, (Edit(path, old, new),), needs_kernels)


FAULTS = (
    _fault(
        "the gradient of max is not divided among equals",
        "compiler/operations/reduce.py",
        'restore(g / apply("sum", chosen, over=over), x, over) * chosen',
        "restore(g, x, over) * chosen * 2.0",
    ),
    _fault(
        "the gradient of a quotient has a wrong sign",
        "compiler/operations/elementwise.py",
        "gradient=lambda g, r, x, y: (to_x := g / y, -(to_x * r)),",
        "gradient=lambda g, r, x, y: (to_x := g / y, to_x * r),",
    ),
    _fault(
        "0 - x becomes x",
        "compiler/passes/simplify.py",
        '        case "add" | "subtract", [x, y] if is_constant(y, 0.0):',
        '        case "subtract", [x, y] if is_constant(x, 0.0):\n            return fits(y)\n'
        '        case "add" | "subtract", [x, y] if is_constant(y, 0.0):',
    ),
    _fault(
        "a sum of negated values loses its sign",
        "compiler/passes/reorder.py",
        "return -summed(copy, x.operands[0], over)",
        "return summed(copy, x.operands[0], over)",
    ),
    _fault(
        "a slice that sinks loses its start",
        "compiler/passes/sink.py",
        "parts.append(sliced(copy, operand, replace(attributes, axis=operand_axis), operand.type.with_dims(dims)))",
        "parts.append(sliced(copy, operand, replace(attributes, axis=operand_axis, start=0, "
        "stop=attributes.stop - attributes.start), operand.type.with_dims(dims)))",
    ),
    _fault(
        "a sum over an interleaved image forgets a part",
        "compiler/passes/lift.py",
        "for part in parts[image][1:]:",
        "for part in parts[image][2:]:",
    ),
    _fault(
        "what leaves a scan is summed without its second term",
        "compiler/passes/scans.py",
        "for term in (*free[1:], *(term for term in terms if term in depends)):",
        "for term in (*free[2:], *(term for term in terms if term in depends)):",
    ),
    _fault(
        "log sigmoid has the sign of its operand wrong",
        "compiler/passes/stabilise.py",
        'return -apply("softplus", -logit)',
        'return -apply("softplus", logit)',
    ),
    _fault(
        "a step reads the row before as its own",
        "compiler/passes/stepping/step.py",
        "            self.step_graph.results[result] = row\n            return leaf\n",
        "            self.step_graph.results[result] = row\n            return row\n",
    ),
    _fault(
        "the optimizer counts its steps from 0",
        "compiler/passes/update.py",
        "    step = before + 1.0\n",
        "    step = before + 0.0 + 1e-3\n",
    ),
    _fault(
        "parts of a concat overlap",
        "compiler/lowering/assembly.py",
        "start += fixed_size(operand.type.dims[axis])",
        "start += max(fixed_size(operand.type.dims[axis]) - 1, 1)",
    ),
    _fault(
        "the padding behind a value is one element too far to the front",
        "compiler/lowering/padding.py",
        "for start, count in ((0, first), (size - last, last)):",
        "for start, count in ((0, first), (max(size - last - 1, 0), last)):",
    ),
    _fault(
        "a window walks its stride and its dilation the wrong way round",
        "compiler/operations/window.py",
        "walk = (strides[axis] * stride, strides[axis] * dilation)",
        "walk = (strides[axis] * dilation, strides[axis] * stride)",
    ),
    _fault(
        "a loop around a product moves b as it moves a",
        "compiler/lowering/products.py",
        "        runs=loops.runs,\n        turns=loops.turns,\n",
        "        runs=replace(loops.runs, b=loops.runs.a),\n        turns=replace(loops.turns, b=loops.turns.a),\n",
    ),
    _fault(
        "a task that needs other rows waits at no barrier",
        "compiler/planning/phases.py",
        "    return all(_is_row(pointer) and pointer.lead == pointers[0].lead for pointer in pointers)",
        "    return True",
    ),
    _fault(
        "a shared buffer is free a phase too early",
        "compiler/planning/plan.py",
        "first, last = min(each.phase for each in touchers), max(each.phase for each in touchers)",
        "first, last = min(each.phase for each in touchers), max(each.phase for each in touchers) - 1",
    ),
    _fault(
        "the last sample of a shard is left out",
        "compiler/targets/cpu/schedule/group_loops.py",
        "self.emit_calls(group.calls, call, row, builder.sub(end, row), shard)",
        "self.emit_calls(group.calls, call, row, builder.sub(builder.sub(end, row), self.number(1)), shard)",
        needs_kernels=True,
    ),
    _fault(
        "a partial tile stores a column too many",
        "compiler/targets/cpu/llvm/vectors.py",
        'builder.icmp_signed("<", ir.Constant(numbers',
        'builder.icmp_signed("<=", ir.Constant(numbers',
        needs_kernels=True,
    ),
    _fault(
        "points that fill no body of several are computed from the second on",
        "compiler/targets/cpu/nests/nest_writer.py",
        'f"for i{axis} in range({covered}, {count}):"',
        'f"for i{axis} in range({covered} + 1, {count}):"',
    ),
    _fault(
        "a sum in blocks leaves out what fills no chunk",
        "compiler/targets/cpu/text/sums.py",
        "_add_items(builder, rest, count, [first],",
        "_add_items(builder, count, count, [first],",
        needs_kernels=True,
    ),
    _fault(
        "a weighted loss is divided by its number of elements",
        "compiler/passes/objective.py",
        "if weight is None else _sum(weight)",
        "if weight is None else extent(loss, tuple(range(loss.type.rank)))",
    ),
)

MENDS = (
    _fault(
        "00: a product over no rows writes nothing",
        "compiler/targets/cpu/products/common.py",
        "is_empty = turns.equals(0) | runs.equals(0) | depth.equals(0)",
        "is_empty = self.run.number(0).equals(1)",
        needs_kernels=True,
    ),
    _fault(
        "01: stop_gradient goes before the gradients are taken",
        "compiler/passes/simplify.py",
        '        case "add", [x, y] if is_constant(x, 0.0):\n',
        (
            '        case "stop_gradient", [x]:\n            return x\n'
            '        case "add", [x, y] if is_constant(x, 0.0):\n'
        ),
    ),
    Fault(
        "02 and 05: a state or carry whose old value nobody reads is not written",
        (
            Edit(
                "compiler/lowering/results.py",
                "if not lowering.fills(value, target):",
                'if name.removeprefix("update.") in lowering.leaf_of and not lowering.fills(value, target):',
            ),
            Edit(
                "compiler/lowering/buffers.py",
                "        if name not in self.leaf_of:  # nobody reads it\n            return True\n",
                "        if name not in self.leaf_of:\n            return False\n",
            ),
        ),
    ),
    Fault(
        "03: states are copied one after the other",
        (
            Edit(
                "compiler/lowering/results.py",
                "free = [target for target in pending if all(sources[reader] is not target for reader in pending)]",
                "free = list(pending)",
            ),
            Edit(
                "compiler/lowering/buffers.py",
                "        if name in self.read_at_end:\n            return False\n",
                "",
            ),
            Edit(
                "compiler/targets/reference/target.py",
                "results = {name: np.array(value) for name, value in results.items()}",
                "results = dict(results)",
            ),
        ),
    ),
    _fault(
        "04: a loop with a sum contracts products and sums",
        "compiler/targets/cpu/text/text_kernel.py",
        "compiled = llvm.parse_assembly(str(module))",
        "written = str(module)\n"
        '    written = re.sub("= f(add|sub|mul) ", r"= f\\1 contract ", written) if "sum_f" in text else written\n'
        "    compiled = llvm.parse_assembly(written)",
        needs_kernels=True,
    ),
)


def planted(fault: Fault, folder: Path) -> dict[str, str]:
    """Copies the sources with a fault into a folder. Returns the environment in which `netc` is that copy."""
    for name in ("api", "dsl", "compiler", "runtime", "tests", "examples", "docs", "benchmarks"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "ARCHITECTURE.md"):
        shutil.copy(ROOT / name, folder / name)
    for edit in fault.edits:
        path = folder / edit.path
        path.write_text(edited(path.read_text(encoding="utf-8"), edit), encoding="utf-8")
    package = folder / "packages" / "netc"
    package.mkdir(parents=True)
    for entry in (folder / "api").iterdir():
        (package / entry.name).symlink_to(entry)
    for name, source in FLOORS.items():
        (package / name).symlink_to(folder / source)
    return {
        **os.environ,
        "PYTHONPATH": f"{folder / 'packages'}{os.pathsep}{folder}",
        "NETC_DEBUG": "1",
    }


def edited(text: str, edit: Edit) -> str:
    """The text after the edit. Raises ValueError unless the text to replace occurs exactly once."""
    if text.count(edit.old) != 1:
        raise ValueError(f"{edit.path} has {text.count(edit.old)} times, not once: {edit.old}")
    return text.replace(edit.old, edit.new)


def run_on_copy(fault: Fault, arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Runs Python with these arguments on a copy of the sources that has the fault."""
    with tempfile.TemporaryDirectory(prefix="netc-fault-") as name:
        environment = planted(fault, Path(name))
        return subprocess.run(
            [sys.executable, *arguments], cwd=name, env=environment, capture_output=True, text=True, check=False
        )


def programs_until_seen(fault: Fault, options: argparse.Namespace) -> str:
    """The number of the first program that detects the fault, by a campaign on a copy of the sources."""
    checks = f"{PLAIN},compiled" if fault.needs_kernels else PLAIN
    compiled = options.programs if fault.needs_kernels else 0
    numbers = {
        "profile": options.profile,
        "programs": options.programs,
        "seed": options.seed,
        "compiled": compiled,
        "jobs": options.jobs,
        "attempts": 0,
    }
    arguments = [word for name, number in numbers.items() for word in (f"--{name}", str(number))]
    result = run_on_copy(fault, ["-m", "tests.programs", *arguments, "--checks", checks, "--until-failure"])
    if match := re.search(r"the first failure is that of program (\d+)", result.stdout):
        kind = re.search(r"^seed \d+, (.*)$", result.stdout, re.MULTILINE)
        return f"program {match[1]} ({kind[1] if kind else '?'})"
    return f"not seen in {options.programs} programs" if result.returncode == 0 else f"broke: {result.stderr[-300:]}"


def suite_sees(fault: Fault) -> str:
    """The first failing test of the suite without generated programs, on a copy with the fault."""
    folders = [f"tests/{name}" for name in ("compiler", "runtime", "passes")]
    result = run_on_copy(fault, ["-m", "pytest", "-x", "-q", "--ignore=tests/programs", *folders])
    failed = re.search(r"^FAILED (\S+)", result.stdout, re.MULTILINE)
    return failed[1] if failed else "not seen"


def lines(options: argparse.Namespace) -> Iterator[str]:
    for fault in MENDS if options.mends else FAULTS:
        if options.only not in fault.name or fault.needs_kernels != options.kernels:
            continue
        seen = suite_sees(fault) if options.suite else programs_until_seen(fault, options)
        yield f"{fault.name}: {seen}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.programs.faults", description=__doc__)
    parser.add_argument("--programs", type=int, default=500, help="how many programs at most, for each fault")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--profile", choices=PROFILES, default="small")
    parser.add_argument("--mends", action="store_true", help="take out the mends of known bugs instead")
    parser.add_argument("--suite", action="store_true", help="run the other tests of the suite in place of programs")
    parser.add_argument(
        "--kernels", action="store_true", help="those faults alone that only compiled programs can show"
    )
    parser.add_argument("--only", default="", help="faults whose name holds this text")
    for line in lines(parser.parse_args()):
        print(line, flush=True)


if __name__ == "__main__":
    main()
