"""The text that a model was trained on, read again and verified by its digest."""

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.corpus import Corpus
from charlm.text.vocabulary import Ids


def read_corpus(checkpoint: Checkpoint, split: str) -> Corpus:
    """Return the text that the model was trained on; ``split`` names the requested part in errors.

    Raises TextError when the text is missing or has changed since training.
    """
    data = checkpoint.config.data
    unreadable = f"the {split} text of this model cannot be read:"
    changed = _lost(f"{unreadable} {', '.join(data.path)} has changed since training.")
    try:
        corpus = Corpus.read(data, checkpoint.vocabulary)
    except UnknownCharactersError as error:
        raise changed from error
    except TextError as error:
        raise _lost(f"{unreadable} {error}") from error
    if corpus.sha256 != checkpoint.corpus.sha256:
        raise changed
    return corpus


def split_of(corpus: Corpus, split: str) -> Ids:
    """Return the ids of the validation or the test text; raises TextError where there is no test text."""
    ids = corpus.validation if split == "validation" else corpus.test
    if len(ids) < 2:
        raise TextError(
            "this model has no test text: its config has data.test_fraction 0.",
            "Use the validation text.",
            kind="no test text",
        )
    return ids


def _lost(problem: str) -> TextError:
    return TextError(problem, "Restore the corpus, or use another text.", kind="no corpus")
