"""Deep recursion on the stacks of several threads, because Python limits the depth of each."""

from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def on_new_stack(call: Callable[[], T]) -> T:
    """Runs `call` on a new thread, whose stack is empty, and returns or raises what it does; this thread waits."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:  # raised again below, in the thread that waits
            errors.append(error)

    thread = Thread(target=copy_context().run, args=(run,), name="netc-elaboration", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
