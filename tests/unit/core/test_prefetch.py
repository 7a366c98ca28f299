"""What runs ahead keeps its order, and its bounds."""

import threading
import time
from functools import partial

import pytest

from realitycheck.core.prefetch import run_ahead


def slow_first(value):
    """The first takes longest, so threads finish in another order than they began."""
    time.sleep(0.05 if value == 0 else 0)
    return value


@pytest.mark.parametrize(("n_threads", "depth"), [(0, 0), (1, 1), (3, 4), (3, 100)])
def test_results_come_in_the_order_of_the_tasks(n_threads, depth):
    tasks = (partial(slow_first, value) for value in range(20))
    assert list(run_ahead(tasks, n_threads=n_threads, depth=depth)) == list(range(20))


@pytest.mark.parametrize(("n_threads", "allowed"), [(0, 1), (2, 4)])
def test_no_more_tasks_are_taken_than_the_depth_allows(n_threads, allowed):
    """The one that is asked for, and three ahead of it; without threads, none ahead."""
    taken = []

    def tasks():
        for value in range(50):
            taken.append(value)
            yield partial(int, value)

    for done, _ in enumerate(run_ahead(tasks(), n_threads=n_threads, depth=3)):
        assert len(taken) - done <= allowed


def test_threads_do_the_work_and_without_them_the_caller_does():
    names = [threading.get_ident] * 4
    assert set(run_ahead(names, n_threads=0, depth=2)) == {threading.get_ident()}
    assert threading.get_ident() not in set(run_ahead(names, n_threads=2, depth=2))


@pytest.mark.parametrize("n_threads", [0, 2])
def test_error_arises_where_the_result_would_have_been(n_threads):
    results = run_ahead(
        [partial(int, "1"), partial(int, "two"), partial(int, "3")], n_threads=n_threads, depth=2
    )
    assert next(results) == 1
    with pytest.raises(ValueError, match="two"):
        next(results)


def test_tasks_that_are_no_longer_wanted_never_begin():
    """One thread is at work on the first; those that wait behind it are given up."""
    begun, goes_on = [], threading.Event()

    def task(value):
        begun.append(value)
        if value == 1:
            goes_on.wait(5)
        return value

    results = run_ahead((partial(task, value) for value in range(9)), n_threads=1, depth=5)
    assert next(results) == 0
    closing = threading.Thread(target=results.close)
    closing.start()
    time.sleep(0.05)
    goes_on.set()
    closing.join()
    assert begun in ([0], [0, 1])
