"""Work that KeyboardInterrupt ends after the current step, without a signal handler.

Python raises KeyboardInterrupt in the main thread only, between any two instructions. So the work runs in another
thread while the caller's thread waits; the waiting thread receives the exception and asks the work to stop.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event


def finish_steps(work: Callable[[Callable[[], bool]], None]) -> None:
    """Call ``work(stop)`` in another thread and wait for it; raises what it raises.

    ``stop()`` is true after a KeyboardInterrupt, which is raised again when the work has ended.
    """
    stopping = Event()
    with ThreadPoolExecutor(1, thread_name_prefix="charlm-training") as pool:
        future = pool.submit(work, stopping.is_set)
        try:
            future.result()
        except KeyboardInterrupt:
            stopping.set()
            if not future.done():
                future.result()
            raise
