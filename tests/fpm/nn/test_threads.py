"""Parts side by side: in order, each on one thread of PyTorch, and the first failure is the caller's."""

import threading
import time

import pytest
import torch

from fpm.nn.threads import side_by_side


@pytest.mark.parametrize("threads", [1, 3])
def test_results_stand_in_the_order_of_the_parts(threads: int) -> None:
    def slow_first(part: int) -> int:
        time.sleep(0.05 if part == 0 else 0)
        return part * part

    assert side_by_side(slow_first, range(6), threads) == [0, 1, 4, 9, 16, 25]
    assert side_by_side(slow_first, [], threads) == []


def test_two_parts_run_at_once_and_each_thread_computes_alone() -> None:
    meeting = threading.Barrier(2, timeout=30)  # breaks where the parts come one after the other

    def meet(_: int) -> int:
        meeting.wait()
        return torch.get_num_threads()

    assert side_by_side(meet, range(2), 2) == [1, 1]


def test_a_failure_is_raised() -> None:
    def fail(part: int) -> int:
        return 1 // part

    with pytest.raises(ZeroDivisionError):
        side_by_side(fail, [1, 0], 2)
