"""Stages of a pipeline, each in a thread of its own."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

_Item = TypeVar("_Item")
_END = object()


def ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """The same items, each made in another thread while the one before it is worked on here.

    One item is ready or in the making at most. An error comes in its place in the order. Closing waits
    for the item in the making; of what is iterated over, a generator is closed then.
    """
    with ThreadPoolExecutor(1, thread_name_prefix="ahead") as thread:
        try:
            made = thread.submit(next, items, _END)
            while (item := made.result()) is not _END:
                made = thread.submit(next, items, _END)
                yield cast(_Item, item)
        finally:
            made.cancel()
            if isinstance(items, Generator):
                # In the thread, after what it is at: a generator cannot be closed while it runs.
                thread.submit(items.close).result()
