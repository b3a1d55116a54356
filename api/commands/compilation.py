"""The progress of a compilation, for commands that show no other progress."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from netc.commands.display import Display, is_suited
from netc.commands.status import Status
from netc.compiler.targets.compilation import listened_to


def compiling(compiled: int, count: int) -> Status:
    """The progress of a compilation."""
    return Status("compiling", compiled / count, (f"{compiled} of {count} kernels",))


@contextmanager
def compilation_shown() -> Iterator[None]:
    """Shows on a terminal how many kernels are compiled, in a line of the error stream that goes away at the end."""
    if not is_suited(is_error=True):
        yield
        return
    status, display = Status(""), None

    def show(compiled: int, count: int) -> None:
        nonlocal status, display
        if compiled == count:
            stack.close()
            display = None
            return
        status = compiling(compiled, count)
        if display is None:
            display = stack.enter_context(Display(lambda width, _: [(status.text(width), "status")], is_error=True))
        display.refresh()

    with ExitStack() as stack, listened_to(show):
        yield
