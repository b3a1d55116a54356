"""Decides which values share a loop: divides a graph into units, each of which becomes one kernel call (or a few).

An element-wise value is computed inside the loop of its only user. A value with several users, or a fold, joins an
earlier loop over the same points if its operands have been computed by then and the two loops read something in
common; else it starts a loop of its own. The sum of a product and another term (a bias, a residual) is one unit,
because the register tile can start from that term. elementwise.py lowers the loops. For example, this is how a layer
and the softmax after it are divided:

    a = x @ w + b               unit 0: one tile, which starts from b; x @ w is never in memory
    m = max(a)                  unit 1: a loop over [batch, 3]; the maximum has to be whole before it is read
    e = exp(a - m)              unit 2: a loop over [batch, 3]; a - m is inlined into exp
    s = sum(e)                      the same loop, because it reads e at the same points
    p = e / s                   unit 3: the sum has to be whole before it is read
"""

from netc.compiler.ir.attributes import Over
from netc.compiler.ir.forms import Fold, Scalar, View
from netc.compiler.ir.graph import Graph
from netc.compiler.ir.roles import Role
from netc.compiler.ir.value import Value, viewed
from netc.compiler.lowering.sizes import computed_from_sizes, only_loops_read
from netc.compiler.lowering.units import MOST_BUFFERS, Fusion, Unit, walked_by
from netc.compiler.operations.elementwise import add
from netc.compiler.passes.recompute import MOST_STEPS, large_reads, loops_behind, walks
from netc.compiler.passes.sink import is_light, is_scalar, is_spread, steps_of

_MOST_BETWEEN = 8  # units from one loop to another that it moves into


def fuse(graph: Graph) -> Fusion:
    """Returns the units of a simplified graph, in an order in which they can run."""
    users = graph.all_users()
    fusion = Fusion([], {}, set(), {}, users, set())
    roots = set(graph.results.values())
    inner = [value for value in graph.values() if value.operands and value not in roots]
    fusion.starts.update({users[value][0]: value for value in inner if _begins_tile(value, users[value])})
    from_sizes = computed_from_sizes(graph)
    fusion.from_sizes.update(from_sizes)
    unstored = only_loops_read(from_sizes, users, roots, fusion.starts)
    fusion.inlined.update(fusion.starts.values())
    fusion.inlined.update(
        value
        for value in inner
        if value not in fusion.from_sizes
        and _is_inlined(value, users[value])
        and value not in fusion.starts
        and users[value][0] not in fusion.starts
    )
    _recompute(graph, fusion, roots)
    for value in graph.values():
        if value in unstored:
            continue
        lower = value.lower
        if lower is None or isinstance(lower, View) or value in fusion.inlined:
            if value.role is Role.EXTENT:
                _add_unit(fusion, value)
            continue
        if isinstance(lower, Scalar | Fold) and value not in fusion.starts:
            _join(fusion, value, lower)
        else:
            _add_unit(fusion, value)
    fusion.units[:] = [unit for unit in fusion.units if unit.values]
    for position, unit in enumerate(fusion.units):
        unit.position = position
    return fusion


def _is_inlined(value: Value, users: list[Value]) -> bool:
    """Whether a value is element-wise and its only user walks the same points or assembles its result from it."""
    if not isinstance(value.lower, Scalar) or len(users) != 1:
        return False
    if users[0].role is Role.ASSEMBLY:  # it is computed into its part of the user's buffer
        return True
    return walks(users[0], value)


def _recompute(graph: Graph, fusion: Fusion, roots: set[Value]) -> None:
    """Inlines cheap values with several users, such as x - mean: each loop that reads one computes it again.

    This moves no more bytes than to store and read the value would: each is computed from a single large value, or only
    from values with fewer elements, or from others that most of its readers read anyway, or at least as many of them as
    there are sources are computed from the same sources (the parts of the gradient of a pool).
    """
    steps: dict[Value, int] = {}
    several: dict[frozenset[Value], list[Value]] = {}
    for value in graph.values():
        users = fusion.users[value]
        if not is_scalar(value) or value in fusion.from_sizes:
            continue
        steps[value] = steps_of(value)
        steps[value] += sum(steps.get(operand, 0) for operand in set(value.operands) if operand in fusion.inlined)
        if value in roots or value in fusion.starts or value in fusion.inlined:
            continue
        if not is_light(value) and not is_spread(value):
            continue
        if not all(walks(user, value) and user not in fusion.starts for user in users):
            continue
        sources = frozenset(fusion.large(value))
        if any(source.role in (Role.INPUT, Role.TARGET) for source in sources) or steps[value] > MOST_STEPS:
            continue
        if len(sources) == 1 or is_spread(value) or _moves_less(fusion, value, sources):
            fusion.inlined.add(value)
        else:
            several.setdefault(sources, []).append(value)
    for sources, values in several.items():
        if len(sources) <= len(values):
            fusion.inlined.update(values)


def _moves_less(fusion: Fusion, value: Value, sources: frozenset[Value]) -> bool:
    """Whether the loops that read a value move no more bytes if they compute it than if it is stored once and read."""

    def is_inside(other: Value) -> bool:
        return other in fusion.inlined and is_scalar(other)

    loops = loops_behind(value, fusion.users, is_inside, set())
    more = [sources - large_reads(loop, is_inside, value) for loop in loops]
    read = sum(source.type.itemsize for loop in more for source in loop)
    return bool(loops) and read <= value.type.itemsize * (1 + len(loops))


def _begins_tile(value: Value, users: list[Value]) -> bool:
    """Whether a value is a product whose only user is a sum of the same shape with a term that varies along the
    columns: a tile starts from vectors of the other term, and does not spread one number of each row over them.
    """
    if value.role is not Role.CONTRACTION or len(users) != 1 or users[0].definition is not add:
        return False
    (user,) = users
    if user.type != value.type or user.operands[0] is user.operands[1]:
        return False
    (start,) = (operand for operand in user.operands if operand is not value)
    return not value.type.dims or start.type.dims[-1:] == value.type.dims[-1:]


def _add_unit(fusion: Fusion, value: Value) -> None:
    """Adds a unit for a value that shares no loop."""
    unit = Unit(len(fusion.units), [value], None)
    fusion.units.append(unit)
    fusion.unit_of[value] = unit


def _join(fusion: Fusion, value: Value, lower: Scalar | Fold) -> None:
    """Adds a value to the latest loop that it fits into, or to a new one.

    The loop comes after those that compute the operands, or computes them itself if they are read point by point.
    """
    space = walked_by(value)
    over = value.attributes_as(Over).over if isinstance(lower, Fold) else ()
    sources = list(fusion.sources(value, space))
    earliest = 0
    for source, pointwise in sources:
        unit = fusion.unit_of.get(source)
        if unit is not None:
            earliest = max(earliest, unit.position + (0 if pointwise and unit.space == space else 1))
    views = set(fusion.views(value, space))
    reads = {source for source, pointwise in sources if pointwise} | views
    near = reads | {viewed(view) for view in views}
    for unit in reversed(fusion.units[earliest:]):
        if unit.space == space and _fits(unit, over, reads | {value}, near) and not _repeats(unit, value):
            break
    else:
        unit = Unit(len(fusion.units), [], space)
        fusion.units.append(unit)
    unit.values.append(value)
    unit.folded = unit.folded or over
    unit.reads |= reads
    unit.near |= near
    fusion.unit_of[value] = unit
    for source, pointwise in sources:
        before = fusion.unit_of.get(source)
        if pointwise and before is not None and before is not unit and _may_move(fusion, before, unit):
            _move(fusion, before, unit)


def _repeats(unit: Unit, value: Value) -> bool:
    """Whether a loop computes an equal value: this one is a copy for later readers (passes/recompute.py)."""
    return any(
        other.definition is value.definition
        and other.operands == value.operands
        and other.attributes == value.attributes
        for other in unit.values
    )


def _may_move(fusion: Fusion, unit: Unit, later: Unit) -> bool:
    """Whether the values of a loop, one of which a later loop reads point by point, can be computed in that one.

    The value is then read while it is in a register. Nothing between the two may read any of the values, and the later
    loop only point by point.
    """
    following = fusion.units[unit.position + 1 : later.position + 1]
    if unit.space != later.space or unit.folded or len(following) > _MOST_BETWEEN:
        return False
    values = set(unit.values)
    for other in following:
        for source, pointwise in (pair for value in other.values for pair in fusion.sources(value)):
            if source in values and not (pointwise and other is later):
                return False
    return _fits(later, (), unit.reads | values, values | unit.near)


def _move(fusion: Fusion, unit: Unit, later: Unit) -> None:
    """Moves the values of a loop into a later one. The loop stays behind without values."""
    later.values[:0] = unit.values
    later.reads |= unit.reads
    later.near |= unit.near
    fusion.unit_of.update(dict.fromkeys(unit.values, later))
    unit.values, unit.space = [], None


def _fits(unit: Unit, over: tuple[int, ...], reads: set[Value], near: set[Value]) -> bool:
    """Whether a value can join the loop of a unit.

    The two must have something in common: a value that both read, or views of the same value. They must agree on the
    axes that are folded, which are the last ones if the loop also stores values of its points, and not all of them:
    workers share the rows of such a loop. Together they may use MOST_BUFFERS buffers.
    """
    has_stores = not over or any(not isinstance(value.lower, Fold) for value in unit.values)
    folded = unit.folded or over
    assert unit.space is not None
    is_trailing = folded == tuple(range(len(unit.space) - len(folded), len(unit.space)))
    is_one_sum = bool(unit.space) and len(folded) == len(unit.space)
    return (
        bool((unit.near | set(unit.values)) & (near | reads))
        and (not unit.folded or not over or unit.folded == over)
        and (not has_stores or (is_trailing and not is_one_sum))
        and len(unit.reads | set(unit.values) | reads) <= MOST_BUFFERS
    )
