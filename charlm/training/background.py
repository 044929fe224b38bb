"""Work that KeyboardInterrupt ends at the next step's edge, without a signal handler.

Python raises KeyboardInterrupt in the main thread alone, between any two of its instructions. So the work is done in a
thread of its own while the caller's thread waits, and is interrupted in its stead: it then asks the work to end.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Event


def finish_steps(work: Callable[[Callable[[], bool]], None]) -> None:
    """Call ``work(stop)`` in another thread and wait for its end; raises what it raises.

    ``stop()`` is true from the first KeyboardInterrupt on, which is raised again when the work has ended.
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
