"""Memory that runs out, in Python, NumPy, torch or the loader of libraries → one error of charlm's.

Imports nothing large, so that it works where little memory is left.
"""

import errno
import re
import sys
from collections.abc import Callable, Iterator
from traceback import clear_frames, walk_tb
from types import TracebackType
from typing import Self

from charlm.errors import CharlmError

_RESERVE = 1 << 20
"""Bytes that are held to be given back when memory runs out, so that the message and Python's end have room."""
_LOADED = "out of memory while libraries were loaded."
_SYSTEM = "Close other programs, or raise the limits of this process (ulimit -a shows them)."
_ALLOCATION = re.compile(
    r"out of memory|(?:can't|cannot|failed to|unable to) allocate(?! memory in static TLS)|bad_alloc|ALLOC_FAILED", re.I
)
"""In messages of torch (CPU, CUDA, cuBLAS, cuDNN), of its C++ library, and of the system."""
_LOADING = re.compile(r"failed to map segment|cannot map zero-fill|cannot create shared object descriptor")
"""In messages of the loader of shared libraries."""
_ONEDNN = re.compile(r"could not (?:execute a primitive|create a primitive|create a memory object)$")
"""Messages of oneDNN, which torch passes on without the reason; it is nearly always memory."""
_THREAD = "can't start new thread"


class MemoryGuard:
    """Context manager that raises CharlmError in place of an error that comes from too little memory."""

    def __init__(self, remedy: Callable[[], str]) -> None:
        self._remedy = remedy
        self._reserve = b""

    def __enter__(self) -> Self:
        self._reserve = bytes(_RESERVE)
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> None:
        self._reserve = b""
        if error is None or isinstance(error, CharlmError | SystemExit | KeyboardInterrupt):
            return
        found = shortage(error, self._remedy())
        if found is not None:
            for each in _chain(error):
                clear_frames(each.__traceback__)  # their variables hold what filled the memory
            raise found from error


def shortage(error: BaseException, remedy: str = _SYSTEM) -> CharlmError | None:
    """Return the error to report where ``error`` comes from too little memory; None for any other.

    ``remedy`` says how the user can make the work smaller; loading libraries takes the same memory for any work.
    """
    for each in _chain(error):
        told = str(each)
        if _is_of_loader(each, told):
            return CharlmError(_LOADED, _SYSTEM)
        if isinstance(each, RuntimeError) and _THREAD in told:
            return CharlmError("the system starts no further thread.", _SYSTEM)
        if _is_of_allocation(each, told):
            return CharlmError(_LOADED, _SYSTEM) if _is_importing(each) else CharlmError("out of memory.", remedy)
    return None


def _is_of_loader(error: BaseException, told: str) -> bool:
    """Return whether a shared library did not fit into memory; the loader's OSError has no number."""
    from_loader = isinstance(error, ImportError) or (isinstance(error, OSError) and error.errno is None)
    return from_loader and bool(_LOADING.search(told) or _ALLOCATION.search(told))


def _is_of_allocation(error: BaseException, told: str) -> bool:
    """Return whether Python, NumPy, the system, Rust or torch could not allocate; torch is not imported for it."""
    if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM):
        return True
    if type(error).__module__ == "pyo3_runtime" and told == "PyObject pointer is null":  # no object for Rust's result
        return True
    of_torch = "torch" in sys.modules and isinstance(error, RuntimeError)
    return of_torch and bool(_ALLOCATION.search(told) or _ONEDNN.match(told))


def _is_importing(error: BaseException) -> bool:
    """Return whether the error was raised while a module was executed."""
    frames = walk_tb(error.__traceback__)
    return any(frame.f_code.co_name == "<module>" for frame, _ in frames)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those during whose handling it was raised."""
    seen: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and not any(following is each for each in seen):
        seen.append(following)
        yield following
        following = following.__cause__ or following.__context__
