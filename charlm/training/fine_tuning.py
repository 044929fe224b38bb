"""Another model's weights under a larger vocabulary: known symbols keep their rows, new ones get the mean row.

Starting a new symbol at the mean of the others bounds how much the model's predictions change (Hewitt 2021,
"Initializing New Word Embeddings for Pretrained Language Models").
"""

import numpy as np

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.sealed_file import Tensors
from charlm.text.vocabulary import Vocabulary


def widened(checkpoint: Checkpoint, vocabulary: Vocabulary) -> Tensors:
    """Return the weights of ``checkpoint`` for ``vocabulary``, which must contain all of its symbols."""
    place_of = {symbol: place for place, symbol in enumerate(vocabulary.symbols)}
    places = [place_of[symbol] for symbol in checkpoint.vocabulary.symbols]
    tensors = checkpoint.part("model")
    by_symbol = {"head.weight": 0, "head.bias": 0}
    by_symbol |= {"embedding.weight": 0} if "embedding.weight" in tensors else {"rnn.weight_ih_l0": 1}
    for name, axis in by_symbol.items():
        rows = np.moveaxis(tensors[name], axis, 0)  # (V before, …)
        more = np.repeat(rows.mean(axis=0, keepdims=True), len(vocabulary), axis=0)  # (V, …)
        more[places] = rows
        tensors[name] = np.ascontiguousarray(np.moveaxis(more, 0, axis))
    return tensors
