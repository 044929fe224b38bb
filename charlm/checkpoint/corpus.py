"""The text that a model was trained on, found again and checked by its digest."""

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.corpus import Corpus
from charlm.text.vocabulary import Ids


def read_corpus(checkpoint: Checkpoint, split: str) -> Corpus:
    """Return the text that the model was trained on; ``split`` says in errors which part of it was wanted.

    Raises TextError when it is gone or has changed since.
    """
    data = checkpoint.config.data
    unreadable, instead = f"the {split} text of this model cannot be read:", "Use another text, or restore the corpus."
    changed = f"{unreadable} {', '.join(data.path)} has changed since training. {instead}"
    try:
        corpus = Corpus.read(data, checkpoint.vocabulary)
    except UnknownCharactersError as error:
        raise TextError(changed) from error
    except TextError as error:
        raise TextError(f"{unreadable} {error}", instead) from error
    if corpus.sha256 != checkpoint.corpus.sha256:
        raise TextError(changed)
    return corpus


def split_of(corpus: Corpus, split: str) -> Ids:
    """Return the ids of the validation or the test text; raises TextError where none was kept."""
    ids = corpus.validation if split == "validation" else corpus.test
    if len(ids) < 2:
        raise TextError("this model kept no test text: its config has data.test_fraction 0. Use the validation text.")
    return ids
