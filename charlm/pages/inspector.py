"""The inspector: a self-contained page with all units of a trace and the model's predictions.

The values are embedded in the page (see quantization.py); its script, in the folder ``script``, draws the figures. The
page's content security policy allows no other script and no requests, so an untrusted text can only be displayed.

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
"""Number of units that are drawn when the page opens: those that vary most."""
_AT_RANDOM = 6
"""Number of random positions that are listed beside the strongest ones; the same for all units."""
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
"""The parts of the script, in the order in which they are concatenated."""


def inspector_page(title: str, trace: Trace, guesses: Guesses, vocabulary: Vocabulary, model: ModelConfig) -> str:
    """Return the page; the same input gives the same bytes.

    ``guesses`` are the predictions after each character of the trace; ``model`` is the network's config.
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
    """Return the ids that the page needs, and the text (T,) and the predictions (N, T) as indices of them."""
    used = np.unique(np.concatenate([trace.ids.astype(np.intp), guesses.symbols.ravel()]))
    kind = np.uint16 if len(used) <= np.iinfo(np.uint16).max else np.uint32
    came = np.searchsorted(used, trace.ids).astype(kind)
    return used, came, np.searchsorted(used, guesses.symbols.T).astype(kind)


def _signal(name: str, signal: Rounded, trace: Trace, model: ModelConfig) -> dict[str, Any]:
    """Return the properties of a signal that the page needs."""
    limits, what = limits_of(name, model), model.architecture.signal(name)
    finite = np.nan_to_num(trace.signals[name], posinf=0, neginf=0)
    return {
        "name": name,
        "gate": what.is_gate,
        "bounded": limits is not None,
        "low": signal.low.tolist(),
        "high": signal.high.tolist(),
        "scale": "± each unit's largest value" if limits is None else f"{_number(limits[0])} to {_number(limits[1])}",
        "error": f"{math.ceil(signal.error * 1e6) / 1e6:.6f}",  # rounded up, so that it remains an upper bound
        "words": what.words,
        "order": [similarity_order(finite[:, place]).tolist() for place in range(len(trace.layers))],
    }


def _number(limit: float) -> str:
    return f"{limit:g}".replace("-", "−")


def _saturation(trace: Trace) -> dict[str, dict[str, list[list[int]]]]:
    """Return the number of characters for which each gate was shut and open, (L, H)."""
    return {
        name: {
            "shut": np.rint(gate.shut * len(trace.ids)).astype(int).tolist(),
            "open": np.rint(gate.open * len(trace.ids)).astype(int).tolist(),
        }
        for name, gate in saturation(trace).items()
    }


def _introduction(guesses: Guesses, trace: Trace, model: ModelConfig) -> str:
    """Return a sentence on the model, the text and the mean surprisal."""
    layers = f"{model.num_layers} layers" if model.num_layers > 1 else "1 layer"
    length = len(trace.ids)
    characters = f"{length:,} characters" if length > 1 else "1 character"
    kind = f"{model.architecture.article.capitalize()} {model.architecture.name}"
    sentence = f"{kind} with {layers} of {model.hidden_size:,} units read {characters}"
    known = guesses.surprisal[np.isfinite(guesses.surprisal)]
    return f"{sentence}, at {known.mean(dtype=np.float64):.2f} bits per character." if len(known) else f"{sentence}."
