"A team of threads stands in for processes: one process, one set of compiled kernels, any number."

import threading
from contextlib import suppress

import numpy as np
import torch

from thu_big_data_ml._workers import Alone, working_in


class Member(Alone):
    "One of several threads; sums are made in the order of the ranks."

    def __init__(self, rank, size, shared, barrier):
        self.rank, self.size, self._shared, self._barrier = rank, size, shared, barrier

    def _exchange(self, value):
        "What every member brings, in order."
        self._shared[self.rank] = value
        self._barrier.wait()
        found = list(self._shared)
        self._barrier.wait()
        return found

    def add_up(self, *arrays):
        for array in arrays:
            own = array.clone() if isinstance(array, torch.Tensor) else array.copy()
            parts = self._exchange(own)
            array[...] = sum(parts[1:], parts[0])

    def total(self, value):
        return sum(self._exchange(value))

    def ends(self, low, high):
        found = self._exchange((low, high))
        return min(low for low, _ in found), max(high for _, high in found)

    def place(self, n):
        sizes = self._exchange(n)
        return sum(sizes[: self.rank]), sum(sizes)

    def gather(self, rows):
        parts = self._exchange(rows)
        return np.concatenate(parts) if self.rank == 0 else None

    def share(self, value):
        return self._exchange(value)[0]


def in_team(work, shards, timeout=120):
    "`work(shard)` of every member at once; the results, or the first error of one."
    barrier, shared = threading.Barrier(len(shards), timeout=timeout), [None] * len(shards)
    results, errors = [None] * len(shards), []

    def run(rank):
        try:
            with working_in(Member(rank, len(shards), shared, barrier)):
                results[rank] = work(shards[rank])
        except threading.BrokenBarrierError:
            pass  # another member failed
        except BaseException as error:
            errors.append(error)
            with suppress(threading.BrokenBarrierError):
                barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(len(shards))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
    return results
