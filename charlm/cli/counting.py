"""How ``charlm train`` makes a Markov model: it counts, in one pass, without torch."""

import sys
import time

from tqdm import tqdm

from charlm.checkpoint import Checkpoint, CorpusIdentity, Progress
from charlm.cli.display import is_watched
from charlm.cli.run_page import RunPage
from charlm.config.settings import Config
from charlm.errors import CheckpointError
from charlm.evaluation import Score, evaluate
from charlm.models.counting import counted
from charlm.models.markov import MarkovModel
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams
from charlm.training.drift import check_resume, check_way, same_corpus
from charlm.training.environment import software
from charlm.training.report import bits_per_character
from charlm.training.runs import RunDirectory


def plan(config: Config) -> list[tuple[str, object]]:
    """Return what would be counted, as names and values."""
    corpus = Corpus.read(config.data)
    return [
        ("text", corpus.sizes),
        ("vocabulary", f"{len(corpus.vocabulary):,} symbols"),
        ("model", f"markov, counts of what follows up to {config.model.order} {config.data.unit}s"),
        ("passes", "1, and nothing to go on from afterwards"),
    ]


def count(config: Config, corpus: Corpus, quiet: bool) -> tuple[MarkovModel, Checkpoint]:
    """Count the training text and score the validation text; return the model, and the same at rest."""
    vocabulary = corpus.vocabulary
    started = time.perf_counter()
    levels = counted(corpus.train, config.model.order, len(vocabulary), vocabulary.end)
    shown = tqdm(levels, total=config.model.order + 1, unit="order", file=sys.stderr, disable=quiet or not is_watched())
    model = MarkovModel(list(shown), len(vocabulary))
    streams = evaluation_streams(corpus.validation, config.training.evaluation_lanes, vocabulary.end)
    score = evaluate(model, vocabulary, streams)
    checkpoint = Checkpoint(
        config=config,
        vocabulary=vocabulary,
        progress=_progress(score, len(corpus.train), time.perf_counter() - started),
        corpus=CorpusIdentity(path=list(corpus.paths), sha256=corpus.sha256),
        tensors={f"model.{name}": value for name, value in model.tensors().items()},
        versions=software(),
    )
    return model, checkpoint


def keep(run: RunDirectory, checkpoint: Checkpoint, corpus: Corpus, sample: str) -> None:
    """Write the model, its one line of metrics and its page into the run's folder."""
    progress = checkpoint.progress
    run.record(_metrics(progress) | {"sample": sample})
    run.save_best(checkpoint)
    RunPage(run, checkpoint.config, corpus, checkpoint.versions).write()


def check_counted(run: RunDirectory, config: Config) -> bool:
    """Return whether this run has its model already; raises CheckpointError when it is one of another kind or text."""
    check_way(run.config(), config)
    try:
        checkpoint = Checkpoint.load(run.best)
    except CheckpointError:
        return False
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
    """Return the one line of ``metrics.jsonl``; counting has no training loss, no rate and no gradient."""
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
