"""What `charlm train` says when it ends: the results, or how to go on."""

import re
import shlex
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from charlm.checkpoint.checkpoint import Progress
    from charlm.runs.directory import RunDirectory
    from charlm.text.corpus import Corpus


def outcome(progress: "Progress", run: "RunDirectory", corpus: "Corpus") -> list[tuple[str, object]]:
    """Return the results of a run as names and values, with a command to try next."""
    from charlm.runs.history import REPORT
    from charlm.runs.step_report import bits_per_character

    best = progress.best_validation_loss or 0.0
    prompt = _prompt(corpus)
    trying = f' --prompt "{prompt}"' if prompt else ""
    return [
        ("best validation loss", f"{best:.4f} nats ({bits_per_character(best):.3f} bits) per character"),
        ("characters seen", f"{progress.characters:,} in {progress.seconds:,.1f} s"),
        ("checkpoint", run.best),
        ("report", run.path / REPORT),
        ("next", f"charlm sample --checkpoint {shlex.quote(str(run.path))}{trying}"),
    ]


def way_on(run: "RunDirectory", *options: str) -> str:
    """Return the command that resumes a run, with these further options."""
    from charlm.config.reading import override
    from charlm.config.settings import RunConfig

    words = ["charlm", "train", "--resume", "--name", run.path.name]
    directory = str(run.path.parent)
    if directory != RunConfig.default("directory"):
        words += ["--set", override("run.directory", directory)]
    return shlex.join([*words, *options])


def _prompt(corpus: "Corpus") -> str:
    """Return the first letters of the training text's first long lower-case word, as an example prompt."""
    words = re.findall(r"\w{4,}", corpus.vocabulary.decode(corpus.train[:1000]))
    return next((word[:3] for word in words if word == word.lower()), "")
