"""Python's stack has a limit in each thread: what goes deeper goes on in another."""

from collections.abc import Callable
from contextvars import copy_context
from threading import Thread
from typing import TypeVar

T = TypeVar("T")


def on_new_stack(call: Callable[[], T]) -> T:
    """What `call` returns or raises, run on a thread of its own, which has all of a stack before it; this thread waits."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(call())
        except BaseException as error:
            errors.append(error)

    thread = Thread(target=copy_context().run, args=(run,), name="netc-elaboration", daemon=True)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]
