"""A trace as a file for other tools: csv, json, npz.

csv    one row a character: position, character, then a column a unit, named "signal layer:index"
json   {"characters": […], "units": [{"signal", "layer", "index", "values": […]}, …]}
npz    one float32 array [time, layer, unit] for each signal, by its name; and ids, characters [time]
       (NumPy's strings cannot end with byte 0: there the character is empty, and the id alone speaks)
"""

import csv
import io
import json
from collections.abc import Sequence

import numpy as np

from charlm.inspection.trace import Trace, Unit


def to_csv(trace: Trace, units: Sequence[Unit], characters: Sequence[str]) -> str:
    """Return the chosen units over time as CSV; ``characters`` names each row."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["position", "character", *map(str, units)])
    columns = [trace.over_time(unit).tolist() for unit in units]
    writer.writerows(zip(range(len(characters)), characters, *columns, strict=True))
    return table.getvalue()


def to_json(trace: Trace, units: Sequence[Unit], characters: Sequence[str]) -> str:
    """Return the chosen units over time as JSON."""
    series = [
        {
            "signal": unit.signal,
            "layer": unit.layer,
            "index": unit.index,
            "values": trace.over_time(unit).tolist(),
        }
        for unit in units
    ]
    return json.dumps({"characters": list(characters), "units": series}, ensure_ascii=False) + "\n"


def to_npz(trace: Trace, characters: Sequence[str]) -> bytes:
    """Return every traced signal of every unit as a compressed npz archive."""
    archive = io.BytesIO()
    np.savez_compressed(archive, allow_pickle=False, ids=trace.ids, characters=np.array(characters), **trace.signals)
    return archive.getvalue()
