"""The text that a model was trained on, read again and verified by its digest.

A checkpoint may come from anyone. Only the files that it records are opened, no pattern in it is searched for, and no
more is read of each file than was read in training. Where the text has moved, a caller names its files himself; these
are found and opened as those of a config are.
"""

import glob
from collections import Counter
from collections.abc import Iterator, Sequence

from charlm.checkpoint.checkpoint import Checkpoint
from charlm.checkpoint.corpus_identity import MOST_FILES, MOST_REPEATS, CorpusIdentity
from charlm.errors import TextError, UnknownCharactersError
from charlm.text.corpus import Corpus
from charlm.text.files import MissingFileError, TextFile, check_size, files_here, find_files, listed, stored_size
from charlm.text.vocabulary import Ids


def read_corpus(checkpoint: Checkpoint, split: str, corpus: Sequence[str] | None = None) -> Corpus:
    """Return the text that the model was trained on; ``split`` names the requested part in errors.

    ``corpus`` names its files, as paths and globs in the order of training, where they are no longer those that the
    checkpoint records. Raises TextError when the text is missing, or is not the one that was trained on.
    """
    if corpus:
        return _given(checkpoint, corpus)
    identity, unreadable = checkpoint.corpus, f"the {split} text of this model cannot be read:"
    try:
        files = list(_recorded_files(identity))
        return Corpus.read_files(files, checkpoint.config.data, checkpoint.vocabulary, identity.sha256)
    except UnknownCharactersError as error:
        raise _lost(f"{unreadable} {listed(identity.path)} is not the text of its vocabulary.") from error
    except TextError as error:
        raise _lost(f"{unreadable} {error}") from error


def _given(checkpoint: Checkpoint, corpus: Sequence[str]) -> Corpus:
    """Return the text of the files that a caller names; raises TextError unless it is the one that was trained on."""
    try:
        files = list(map(TextFile, find_files(corpus)))
        return Corpus.read_files(files, checkpoint.config.data, checkpoint.vocabulary, checkpoint.corpus.sha256)
    except TextError as error:
        remedy = "Name the text that the model was trained on, unchanged; several files in the order of training."
        raise TextError(str(error), remedy, field="corpus") from error


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


def _recorded_files(identity: CorpusIdentity) -> Iterator[TextFile]:
    """Yield the files to read, none of which was opened; raises TextError where one is missing or has changed."""
    names = identity.names
    name, times = max(Counter(names).items(), key=lambda pair: pair[1], default=("", 0))
    if len(names) > MOST_FILES or times > MOST_REPEATS:
        raise TextError(
            f"{len(names):,} files are recorded, {listed([name])} {times:,} times; at most {MOST_FILES:,} are read, "
            f"each at most {MOST_REPEATS} times."
        )
    for index, name in enumerate(names):
        place = identity.place(name)
        try:
            size = identity.sizes[index] if identity.sizes else stored_size(place)
            check_size(place, size)
        except MissingFileError as error:
            raise TextError(f"{error}{_why_no_other(identity, name)}") from error
        yield TextFile(place, size)


def _why_no_other(identity: CorpusIdentity, name: str) -> str:
    """Return a sentence on why a missing file is not searched for; empty where nothing resembles it."""
    if not identity.files:
        if glob.has_magic(name):
            return " The checkpoint does not record which files this pattern matched."
        return "" if identity.place(name).is_absolute() else " Relative paths start at the working directory."
    here = files_here(identity.path[:MOST_FILES])
    moved = f" {listed(here)} in this folder may be the same text, but only the recorded file is read."
    return moved if here else ""


def _lost(problem: str) -> TextError:
    return TextError(problem, "Restore the corpus, give its files as corpus, or use another text.", kind="no corpus")
