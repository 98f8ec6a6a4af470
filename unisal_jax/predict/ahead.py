"""Pipeline stages that run in their own threads."""

from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar, cast

_Item = TypeVar("_Item")
_END = object()


def ahead(items: Iterator[_Item]) -> Generator[_Item, None, None]:
    """Yields the same items, computing the next one in another thread while the caller uses the current one.

    Prefetches at most one item. Errors are raised at their place in the order. Closing waits for the item
    being computed, then closes `items` if it is a generator.
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
                # Close it in the thread, after its current item: a running generator cannot be closed.
                thread.submit(items.close).result()
