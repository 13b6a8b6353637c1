"""Work on arrays, a few at once, its results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from lzr2.errors import EncodeError
from streamer.convert.arrays import Half

Result = TypeVar("Result")


def ahead(arrays: Mapping[str, Half], work: Callable[[str, Half], Result], jobs: int) -> Iterator[tuple[str, Result]]:
    """Each key with the result of ``work``, in order; at most ``jobs`` are worked on beyond the one handed out.

    What fails comes out where its result would have; no thread is left then.

    Raises:
        EncodeError: by ``work``; it names the key.
    """

    def named(key: str) -> Result:
        try:
            return work(key, arrays[key])
        except EncodeError as error:
            error.key = key
            raise

    waiting: deque[tuple[str, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(jobs, thread_name_prefix="streamer-encode")
    try:
        for key in arrays:
            waiting.append((key, pool.submit(named, key)))
            if len(waiting) > jobs:
                done, future = waiting.popleft()
                yield done, future.result()
        while waiting:
            done, future = waiting.popleft()
            yield done, future.result()
    finally:
        pool.shutdown(cancel_futures=True)
