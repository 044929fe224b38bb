"""Export of a trace: as a table, as plain values, as an npz archive.

table  one row per character: position, character, then a column per unit, named "signal layer:index"
values {"characters": […], "units": [{"signal", "layer", "index", "values": […]}, …]}
npz    one float32 array [time, layer, unit] for each signal, by its name; and ids, characters [time]
       (NumPy strings cannot end with a NUL character, which is therefore an empty string there; its id is kept)
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from charlm.inspection.trace import Trace, Unit


def trace_table(
    trace: Trace, units: Sequence[Unit], characters: Sequence[str]
) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Return the column names, and one row per character with the values of ``units``; ``characters`` labels rows."""
    columns = [trace.over_time(unit).tolist() for unit in units]
    rows = zip(range(len(characters)), characters, *columns, strict=True)
    return ["position", "character", *map(str, units)], rows


def trace_values(trace: Trace, units: Sequence[Unit], characters: Sequence[str]) -> dict[str, Any]:
    """Return the values of ``units`` over time as JSON-serializable values."""
    series = [
        {
            "signal": unit.signal,
            "layer": unit.layer,
            "index": unit.index,
            "values": trace.over_time(unit).tolist(),
        }
        for unit in units
    ]
    return {"characters": list(characters), "units": series}


def to_npz(trace: Trace, characters: Sequence[str]) -> bytes:
    """Return all traced signals of all units as the bytes of a compressed npz archive."""
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, ids=trace.ids, characters=np.array(characters), **trace.signals)
    return archive.getvalue()
