"""The inspector: one page, opened from disk, with every unit of a trace and what the model expected.

The numbers travel inside the page (see packing.py), and its script, in the folder script, does the rest. A policy in
the page lets nothing else run and nothing be fetched, so a hostile text can do no more than be read.

Letters: T characters, L layers, H hidden units, V symbols, N guesses.
"""

import base64
import hashlib
import math
import random
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from charlm.config.settings import ModelConfig
from charlm.inspection.gates import saturation
from charlm.inspection.guesses import Guesses
from charlm.inspection.scale import limits_of
from charlm.inspection.similarity import similarity_order
from charlm.inspection.trace import Trace
from charlm.pages.quantization import Rounded, packed, rounded
from charlm.pages.rendering import render
from charlm.text.vocabulary import Vocabulary

_LIVELIEST = 3
"""Units that are drawn when the page is opened."""
_AT_RANDOM = 6
"""Places that stand beside the strongest ones, the same for every unit."""
_SCRIPT = (
    "numbers",
    "choice",
    "colour",
    "text",
    "place",
    "guesses",
    "over_time",
    "expression",
    "activation",
    "contexts",
    "controls",
    "csv",
    "main",
)
"""The parts of the script, in the order in which the page reads them."""


def inspector_page(title: str, trace: Trace, guesses: Guesses, vocabulary: Vocabulary, model: ModelConfig) -> str:
    """Return the page, the same bytes for the same input.

    ``guesses`` are those after each character of the trace; ``model`` says what kind of network it was.
    """
    signals = {name: rounded(name, rows, model) for name, rows in trace.signals.items()}
    symbols, came, expected = _used_symbols(trace, guesses)
    script = _script()
    facts = {
        "kind": model.kind,
        "length": len(trace.ids),
        "layers": trace.layers,
        "units": model.hidden_size,
        "unit": vocabulary.unit,
        "normalization": vocabulary.normalization,
        "symbols": [vocabulary.symbols[index] for index in symbols],
        "marks": vocabulary.marks(symbols),
        "guesses": guesses.symbols.shape[1],
        "blind": math.log2(len(vocabulary)),
        "signals": [_signal(name, signal, trace, model) for name, signal in signals.items()],
        "saturation": _saturation(trace),
        "liveliest": [(unit.layer, unit.index) for unit in trace.most_varying(next(iter(signals)), _LIVELIEST)],
        "random": sorted(random.Random(1).sample(range(len(trace.ids)), min(_AT_RANDOM, len(trace.ids)))),
    }
    data = {
        "characters": packed(came),
        "guesses": packed(expected),
        "probabilities": packed(guesses.probabilities.T.astype(np.float32)),
        "surprisal": packed(guesses.surprisal.astype(np.float32)),
        **{f"signal-{name}": packed(signal.levels) for name, signal in signals.items()},
    }
    return render(
        "inspector.html",
        title=title.encode("utf-8", "replace").decode(),
        introduction=_introduction(guesses, trace, model),
        facts=facts,
        data=data,
        script=Markup(script),
        digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _script() -> str:
    folder = Path(__file__).parent / "script"
    return "\n\n".join((folder / f"{part}.js").read_text(encoding="utf-8") for part in _SCRIPT)


def _used_symbols(trace: Trace, guesses: Guesses) -> tuple[Any, Any, Any]:
    """Return the ids that the page needs, and text (T,) and guesses (N, T) as places among them."""
    used = np.unique(np.concatenate([trace.ids.astype(np.intp), guesses.symbols.ravel()]))
    kind = np.uint16 if len(used) <= np.iinfo(np.uint16).max else np.uint32
    came = np.searchsorted(used, trace.ids).astype(kind)
    return used, came, np.searchsorted(used, guesses.symbols.T).astype(kind)


def _signal(name: str, signal: Rounded, trace: Trace, model: ModelConfig) -> dict[str, Any]:
    """Return what the page must know to show a signal."""
    limits, what = limits_of(name, model), model.architecture.signal(name)
    finite = np.nan_to_num(trace.signals[name], posinf=0, neginf=0)
    return {
        "name": name,
        "gate": what.is_gate,
        "bounded": limits is not None,
        "low": signal.low.tolist(),
        "high": signal.high.tolist(),
        "scale": "as far as each unit went" if limits is None else f"{_number(limits[0])} to {_number(limits[1])}",
        "error": f"{math.ceil(signal.error * 1e6) / 1e6:.6f}",  # rounded up: still a bound
        "words": what.words,
        "order": [similarity_order(finite[:, place]).tolist() for place in range(len(trace.layers))],
    }


def _number(limit: float) -> str:
    return f"{limit:g}".replace("-", "−")


def _saturation(trace: Trace) -> dict[str, dict[str, list[list[int]]]]:
    """Return for how many characters each gate was shut and open, (L, H)."""
    return {
        name: {
            "shut": np.rint(gate.shut * len(trace.ids)).astype(int).tolist(),
            "open": np.rint(gate.open * len(trace.ids)).astype(int).tolist(),
        }
        for name, gate in saturation(trace).items()
    }


def _introduction(guesses: Guesses, trace: Trace, model: ModelConfig) -> str:
    """Return one sentence on what was read, and how well."""
    layers = f"{model.num_layers} layers" if model.num_layers > 1 else "1 layer"
    length = len(trace.ids)
    characters = f"{length:,} characters" if length > 1 else "1 character"
    kind = f"{model.architecture.article.capitalize()} {model.architecture.name}"
    sentence = f"{kind} with {layers} of {model.hidden_size:,} units read {characters}"
    known = guesses.surprisal[np.isfinite(guesses.surprisal)]
    return f"{sentence}, at {known.mean(dtype=np.float64):.2f} bits a character." if len(known) else f"{sentence}."
