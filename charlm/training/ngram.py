"""Building a Markov model: n-grams are counted in one pass, without torch."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.config.settings import Config
from charlm.errors import CheckpointError
from charlm.evaluation import Score, evaluate
from charlm.generation import sample_of
from charlm.models.markov import MarkovModel
from charlm.models.ngram_counts import Counts, counted
from charlm.runs.directory import RunDirectory
from charlm.runs.environment import software
from charlm.runs.resume_policy import as_recorded, check_resume, check_way, same_corpus
from charlm.runs.step_report import bits_per_character
from charlm.split_check import suspect_split
from charlm.text.corpus import Corpus
from charlm.text.findings import Note
from charlm.text.streams import evaluation_streams

Watch = Callable[[Iterable[Counts]], Iterable[Counts]]
"""Wraps the iterable of each order's counts, and may show progress while it is consumed."""


@dataclass(frozen=True)
class Counting:
    """A prepared run of a Markov model."""

    config: Config
    corpus: Corpus
    _run: RunDirectory | None
    _resuming: bool
    _held: ExitStack

    def run(self, watch: Watch = iter) -> tuple[RunDirectory, Checkpoint]:
        """Count, and write the model and its single line of metrics into the run's folder.

        Raises StorageError when writing fails.
        """
        model, checkpoint = count(self.config, self.corpus, watch)
        if self._run:
            run = self._run
            run.rewind(None, self.config)
        else:
            make = RunDirectory.begin if self._resuming else RunDirectory.create
            run = self._held.enter_context(make(self.config))
        run.record(_metrics(checkpoint.progress) | {"sample": sample_of(model, checkpoint)})
        run.save_best(checkpoint)
        return run, checkpoint


@contextmanager
def prepare_counting(config: Config, *, resume: bool = False, note: Note) -> Iterator[Counting | RunDirectory]:
    """Read the text and lock the run's folder; with ``resume``, yield the folder of a run that is already complete.

    ``note`` is called with sentences about the text. Raises TextError like `Corpus.read`, and with ``resume``
    CheckpointError for a run of another kind or text.
    """
    with ExitStack() as held:
        run = RunDirectory.reopen(config) if resume else None
        if run:
            held.enter_context(run)
            if _is_counted(run, config):
                yield run
                return
        yield Counting(config, _read(config, note), run, resume, held)


def plan(config: Config, note: Note) -> list[tuple[str, object]]:
    """Return the plan of a counting run as names and values; ``note`` is called with sentences about the text."""
    corpus = _read(config, note)
    return [
        ("text", corpus.sizes),
        ("vocabulary", f"{len(corpus.vocabulary):,} symbols"),
        ("model", f"markov, counts of what follows up to {config.model.order} {config.data.unit}s"),
        ("passes", "1; a counted model cannot be trained further"),
    ]


def count(config: Config, corpus: Corpus, watch: Watch = iter) -> tuple[MarkovModel, Checkpoint]:
    """Count the training text and score the validation text; return the model and its checkpoint."""
    vocabulary = corpus.vocabulary
    started = time.perf_counter()
    levels = counted(corpus.train, config.model.order, len(vocabulary), vocabulary.end)
    model = MarkovModel(list(watch(levels)), len(vocabulary))
    streams = evaluation_streams(corpus.validation, config.training.evaluation_lanes, vocabulary.end)
    score = evaluate(model, vocabulary, streams)
    checkpoint = Checkpoint(
        config=config,
        vocabulary=vocabulary,
        progress=_progress(score, len(corpus.train), time.perf_counter() - started),
        corpus=CorpusIdentity.of(corpus),
        tensors={f"model.{name}": value for name, value in model.tensors().items()},
        versions=software(),
    )
    return model, checkpoint


def _read(config: Config, note: Note) -> Corpus:
    corpus = Corpus.read(config.data)
    suspect = suspect_split(corpus, config.data)
    for sentence in (*corpus.notes, *([suspect] if suspect else [])):
        note(sentence)
    return corpus


def _is_counted(run: RunDirectory, config: Config) -> bool:
    """Return whether this run is already complete; raises CheckpointError when it has another kind or text."""
    check_way(run.config(), config)
    try:
        checkpoint = Checkpoint.load(run.best)
    except CheckpointError:
        return False
    config = as_recorded(checkpoint.config, config)
    check_resume(checkpoint.config, config, [])
    same_corpus(checkpoint, config)
    return True


def _progress(score: Score, characters: int, seconds: float) -> Progress:
    return Progress(
        step=1,
        epoch=1.0,
        characters=characters,
        seconds=seconds,
        validation_loss=score.nats_per_character,
        best_validation_loss=score.nats_per_character,
        best_step=1,
    )


def _metrics(progress: Progress) -> dict[str, object]:
    """Return the single line of ``metrics.jsonl``; counting has no training loss, learning rate or gradient."""
    loss = progress.validation_loss or 0.0
    return {
        "step": progress.step,
        "epoch": progress.epoch,
        "characters": progress.characters,
        "train_loss": None,
        "validation_loss": loss,
        "bits_per_character": bits_per_character(loss),
        "learning_rate": None,
        "gradient_norm": None,
        "characters_per_second": round(progress.characters / max(progress.seconds, 1e-9), 1),
        "seconds": round(progress.seconds, 3),
    }
