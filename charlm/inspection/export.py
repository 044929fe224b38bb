"""A trace for other tools: as a table, as plain values, as an npz archive.

table  one row a character: position, character, then a column a unit, named "signal layer:index"
values {"characters": […], "units": [{"signal", "layer", "index", "values": […]}, …]}
npz    one float32 array [time, layer, unit] for each signal, by its name; and ids, characters [time]
       (NumPy's strings cannot end with byte 0: there the character is empty, and the id alone speaks)
"""

import io
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from charlm.inspection.trace import Trace, Unit


def trace_table(
    trace: Trace, units: Sequence[Unit], characters: Sequence[str]
) -> tuple[list[str], Iterator[tuple[object, ...]]]:
    """Return the names of the columns, and the rows of the chosen units over time; ``characters`` names each row."""
    columns = [trace.over_time(unit).tolist() for unit in units]
    rows = zip(range(len(characters)), characters, *columns, strict=True)
    return ["position", "character", *map(str, units)], rows


def trace_values(trace: Trace, units: Sequence[Unit], characters: Sequence[str]) -> dict[str, Any]:
    """Return the chosen units over time as plain values."""
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
    """Return every traced signal of every unit as a compressed npz archive."""
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, ids=trace.ids, characters=np.array(characters), **trace.signals)
    return archive.getvalue()
