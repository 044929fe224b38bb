"""Truncated backpropagation through time, as an iterator of reports.

    window      |  a b c  |  d e f  |  g h i  |
    state       0 ──────▶ h ──────▶ h ──────▶ h      carried forward across the cut
    gradient    ◀──────── | ◀────── | ◀───────       cut at the window's edge

Each step reads one window of every lane, starting from the state the last one ended with, and follows the
gradient back to the window's first step, no further (Williams & Peng 1990). At the beginning of the
text the state starts fresh.

The trainer never prints and never saves: it yields a Report after every step, and whoever drives it does so.
"""

import math
import time
from collections.abc import Iterator
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import cross_entropy

from charlm.checkpoint import Checkpoint, CorpusIdentity, Progress
from charlm.config.settings import Config
from charlm.errors import ConfigError, DivergenceError
from charlm.models.device import find_device
from charlm.models.network import NetworkState, RecurrentNetwork
from charlm.text.corpus import Corpus
from charlm.text.streams import Window, evaluation_streams, training_streams
from charlm.training.optimization import clip_gradient, learning_rate, make_optimizer, plateau_factor
from charlm.training.report import Meter, Report
from charlm.training.state import detached, environment, pack, unpack


class Trainer:
    """Trains one network on one corpus.

    Seeds torch's global random state, which dropout draws from. Raises TextError when the text is too
    short for its lanes, and ConfigError when the device or the precision cannot be had.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        training = config.training
        self.config = config
        self.corpus = corpus
        self.streams = training_streams(corpus.train, training)
        self.validation_streams = evaluation_streams(corpus.validation, training)
        self.total_steps = training.steps or (training.epochs or 1) * len(self.streams)
        self.evaluate_every = training.evaluate_every or len(self.streams)
        self.device = find_device(training.device)
        torch.manual_seed(training.seed)
        self.network = RecurrentNetwork(config.model, len(corpus.vocabulary), training.seed).to(self.device)
        self.optimizer = make_optimizer(self.network, training)
        self.progress = Progress()
        self._state: NetworkState = None
        self._check_precision()

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or patience is at its end."""
        patience = self.config.training.patience
        impatient = patience is not None and self.progress.evaluations_without_better >= patience
        return impatient or self.progress.step >= self.total_steps

    def run(self) -> Iterator[Report]:
        """Train until finished, yielding a report after every step.

        The last step is always evaluated. Raises DivergenceError, before the weights are touched, when a
        loss or gradient is not finite.
        """
        started = time.perf_counter() - self.progress.seconds
        meter = Meter()
        while not self.finished:
            step = self.progress.step
            rate = learning_rate(self.config.training, step, self.total_steps, self.progress.rate_factor)
            window = self.streams.at(step)
            loss, norm = self.train_step(window, rate)
            meter.add(loss, window.targets.size)
            due = (step + 1) % self.evaluate_every == 0 or step + 1 == self.total_steps
            validation_loss = self.evaluate() if due else None
            best = self._advance(window, meter, started, validation_loss)
            yield Report(
                step=self.progress.step,
                epoch=self.progress.epoch,
                characters=self.progress.characters,
                loss=loss,
                train_loss=meter.loss,
                learning_rate=rate,
                gradient_norm=norm,
                characters_per_second=meter.speed,
                seconds=self.progress.seconds,
                validation_loss=validation_loss,
                best=best,
            )
            if due:
                meter = Meter()

    def train_step(self, window: Window, rate: float) -> tuple[float, float]:
        """Descend the gradient of one window; return its loss in nats a character and the gradient's norm."""
        fresh = window.fresh or not self.config.training.carry_state
        self.network.train()
        with self._autocast():
            logits, state = self.network(self._tensor(window.inputs), None if fresh else self._state)
        loss = cross_entropy(logits.float().flatten(0, 1), self._tensor(window.targets).flatten())
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        norm = clip_gradient(self.network.parameters(), self.config.training.gradient_clip)
        nats = loss.item()
        self._check_finite(nats, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._state = detached(state)  # remember, but follow the gradient no further back: truncated BPTT
        return nats, norm

    def evaluate(self) -> float:
        """Return the validation loss in nats a character; training state and random states stay untouched."""
        nats, state = 0.0, None
        self.network.eval()
        with torch.inference_mode():
            for step in range(len(self.validation_streams)):
                window = self.validation_streams.at(step)
                logits, state = self.network(self._tensor(window.inputs), state)
                targets = self._tensor(window.targets).flatten()
                nats += cross_entropy(logits.flatten(0, 1), targets, reduction="sum").item()
        return nats / self.validation_streams.characters

    def checkpoint(self) -> Checkpoint:
        """Return a full checkpoint of this moment: whoever resumes from it goes on as if nothing had been."""
        return Checkpoint(
            config=self.config,
            vocabulary=self.corpus.vocabulary,
            progress=self.progress,
            corpus=CorpusIdentity(path=list(self.corpus.paths), sha256=self.corpus.sha256),
            tensors=pack(self.network, self.optimizer, self._state, self.device),
            versions=environment(self.device),
        )

    @classmethod
    def resume(cls, checkpoint: Checkpoint, corpus: Corpus) -> Self:
        """Return a trainer that goes on where ``checkpoint``, a full one, was taken."""
        trainer = cls(checkpoint.config, corpus)
        trainer.progress = checkpoint.progress
        trainer._state = unpack(checkpoint.tensors, trainer.network, trainer.optimizer, trainer.device)
        return trainer

    def _advance(self, window: Window, meter: Meter, started: float, validation_loss: float | None) -> bool:
        """Count the step that was taken; return whether it brought the lowest validation loss so far."""
        before = self.progress
        step = before.step + 1
        changes: dict[str, float | None] = {
            "step": step,
            "epoch": self.streams.fraction(step),
            "characters": before.characters + window.targets.size,
            "seconds": time.perf_counter() - started,
        }
        best = False
        if validation_loss is not None:
            best = before.best_validation_loss is None or validation_loss < before.best_validation_loss
            without = 0 if best else before.evaluations_without_better + 1
            changes |= {
                "train_loss": meter.loss,
                "validation_loss": validation_loss,
                "best_validation_loss": validation_loss if best else before.best_validation_loss,
                "evaluations_without_better": without,
                "rate_factor": plateau_factor(self.config.training, before.rate_factor, without),
            }
        self.progress = before.model_copy(update=changes)
        return best

    def _tensor(self, ids: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(ids, dtype=np.int64)).to(self.device)

    def _autocast(self) -> torch.autocast:
        enabled = self.config.training.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=enabled)

    def _check_precision(self) -> None:
        """Try one backward pass where the precision is one that not every machine has."""
        if self.config.training.precision == "float32":
            return
        try:
            with torch.random.fork_rng(), self._autocast():
                logits, _ = self.network(self._tensor(np.zeros((1, 2))))
                logits.sum().backward()
        except RuntimeError as error:
            raise ConfigError(
                f"training.precision: bfloat16 cannot be trained with on this {self.device.type} "
                f"({str(error).splitlines()[0]}). Use float32."
            ) from error
        self.optimizer.zero_grad()

    def _check_finite(self, loss: float, norm: float) -> None:
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise DivergenceError(
                f"training diverged at step {self.progress.step + 1}: loss {loss:.4g}, gradient norm {norm:.4g}. "
                "The weights were left as they were before it. Lower training.learning_rate (now "
                f"{self.config.training.learning_rate:g}) or training.gradient_clip."
            )
