"""Pipeline stages: order, errors, bounded prefetching, and no threads left at the end."""

import threading
import time

import pytest

from unisal_jax.predict.ahead import ahead


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_items_in_order():
    assert list(ahead(iter(range(50)))) == list(range(50))
    assert list(ahead(iter([]))) == []
    assert list(ahead(ahead(iter([None, 1])))) == [None, 1]
    assert not threads()


def test_an_error_comes_in_its_place():
    def items():
        yield 1
        yield 2
        raise ValueError("the third")

    got = []
    with pytest.raises(ValueError, match="the third"):
        for item in ahead(items()):
            got.append(item)
    assert got == [1, 2]
    assert not threads()


def test_one_is_made_while_one_is_used():
    """Bounded and parallel: the next item starts while the current one is processed."""
    begun, may_go_on = [], threading.Event()

    def items():
        for number in range(5):
            begun.append(number)
            if number == 1:
                may_go_on.set()
            yield number

    stage = ahead(items())
    assert next(stage) == 0
    assert may_go_on.wait(5)
    time.sleep(0.05)
    assert begun == [0, 1]
    stage.close()


def test_closing_closes_all_stages():
    closed = []

    def items():
        try:
            while True:
                yield threading.current_thread().name
        finally:
            closed.append(True)

    first = ahead(items())
    stage = ahead(first)
    assert next(stage).startswith("ahead")
    stage.close()
    assert closed == [True] and not threads()
