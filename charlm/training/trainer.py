"""Truncated backpropagation through time, as an iterator of reports.

    window      |  a b c  |  d e f  |  g h i  |
    state       0 ──────▶ h ──────▶ h ──────▶ h      carried forward across the cut
    gradient    ◀──────── | ◀────── | ◀───────       cut at the window's start

Each step reads one window of every lane, starting from the final state of the previous window, and backpropagates to
the window's first time step, no further (Williams & Peng 1990). At the beginning of the text the state is zero.

The trainer neither prints nor saves: it yields a StepReport after every step, and its caller does both.
"""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy

from charlm.checkpoint.checkpoint import Checkpoint, Progress
from charlm.checkpoint.corpus_identity import CorpusIdentity
from charlm.config.settings import Config
from charlm.errors import DivergenceError
from charlm.models.device import find_device
from charlm.models.masks import MaskSource
from charlm.models.network import NetworkState, make_network, restarted
from charlm.models.precision import autocast
from charlm.runs.step_report import Meter, Rollback, StepReport
from charlm.text.batches import PADDING, Batch
from charlm.text.corpus import Corpus
from charlm.text.streams import evaluation_streams, training_streams
from charlm.training.divergence import MOST_ROLLBACKS, DivergenceMonitor
from charlm.training.optimization import clip_gradient, learning_rate, make_optimizer
from charlm.training.progress import Taken, after_step, with_known_best
from charlm.training.state import detached, environment, pack, unpack
from charlm.training.validation import on_device, validation_loss


class Trainer:
    """Trains one network on one corpus.

    Seeds torch's global random state, which ``model.dropout`` uses; the masks of the other dropouts are functions of
    the seed and the step. Raises TextError when the text is too short for its lanes, and ConfigError when the device
    is not available.
    """

    def __init__(self, config: Config, corpus: Corpus) -> None:
        training = config.training
        self.config = config
        self.corpus = corpus
        self.streams = training_streams(corpus.train, training, corpus.vocabulary.end)
        self.validation_streams = evaluation_streams(
            corpus.validation, training.evaluation_lanes, corpus.vocabulary.end
        )
        self.device = find_device(training.device)
        torch.manual_seed(training.seed)
        self.network = make_network(config.model, len(corpus.vocabulary), training.seed, self.device)
        self.optimizer = make_optimizer(self.network, training)
        self.progress = Progress()
        self._state: NetworkState = None
        self.masks = MaskSource(config.model, len(corpus.vocabulary), training.seed, self.device)
        self._watch = DivergenceMonitor(training)
        self._rollback_point: Checkpoint | None = None

    @property
    def total_steps(self) -> int:
        """Number of steps of the whole run, including those before it was resumed."""
        if self.config.training.steps is not None:
            return self.config.training.steps
        left = (self.config.training.epochs or 1) - self.progress.lanes_began_at_epoch
        return self.progress.lanes_began_at_step + max(math.ceil(left * len(self.streams)), 0)

    @property
    def weights(self) -> int:
        """Number of trainable parameters."""
        return sum(weight.numel() for weight in self.network.parameters())

    @property
    def evaluate_every(self) -> int:
        """Number of steps between evaluations."""
        return self.config.training.evaluate_every or len(self.streams)

    @property
    def finished(self) -> bool:
        """Whether all steps are taken, or ``training.patience`` is exhausted."""
        patience = self.config.training.patience
        impatient = patience is not None and self.progress.evaluations_without_better >= patience
        return impatient or self.progress.step >= self.total_steps

    def run(self) -> Iterator[StepReport | Rollback]:
        """Train until finished, yielding a report after every step.

        The last step is always evaluated. When a loss or gradient is not finite, DivergenceError is raised before the
        weights are changed; with ``training.on_divergence: rollback`` a Rollback is yielded instead, at most three
        times, and training continues at half the learning rate from the last scheduled checkpoint, or from the start.
        """
        if self._can_roll_back and self._rollback_point is None:
            self._scheduled_checkpoint()
        while not self.finished:
            try:
                yield from self._run()
            except DivergenceError as error:
                yield self._roll_back(error)

    def _run(self) -> Iterator[StepReport]:
        started = time.perf_counter() - self.progress.seconds
        meter = Meter(self.progress.nats_since_evaluation, self.progress.characters_since_evaluation)
        while not self.finished:
            step = self.progress.step
            read = step - self.progress.lanes_began_at_step
            rate = learning_rate(self.config.training, step, self.total_steps, self.progress.rate_factor)
            batch = self.streams.at(read)
            loss, norm = self.train_step(batch, rate)
            meter.add(loss, batch.characters)
            due = (read + 1) % self.evaluate_every == 0 or step + 1 == self.total_steps
            validation_loss = self.evaluate() if due else None
            best = self._advance(meter, batch.characters, started, validation_loss)
            scheduled = self._is_scheduled(read + 1)
            yield StepReport(
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
                checkpoint=self._scheduled_checkpoint() if scheduled else self.checkpoint() if due else None,
                scheduled=scheduled,
            )
            if due:
                meter = Meter()

    def train_step(self, batch: Batch, rate: float) -> tuple[float, float]:
        """Take one optimizer step on a batch; return its mean loss in nats per character, and its gradient norm."""
        training = self.config.training
        before = restarted(self._state, batch.fresh) if training.carry_state else None
        masks = self.masks.at(self.progress.step, len(batch.inputs))
        self.network.train()
        with autocast(self.device, training.precision):
            logits, state = self.network(on_device(batch.inputs, self.device), before, masks)
        targets = on_device(batch.targets, self.device).flatten()
        loss = cross_entropy(logits.float().flatten(0, 1), targets, ignore_index=PADDING)
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # untyped in torch
        norm = clip_gradient(self.network.parameters(), training.gradient_clip)
        nats = loss.item()
        self._watch.check_step(self.progress.step + 1, nats, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self._state = detached(state)  # truncated BPTT: the state is carried, the gradient is cut
        return nats, norm

    def evaluate(self) -> float:
        """Return the validation loss in nats per character, without changing the training state.

        Raises DivergenceError when the loss is not finite.
        """
        loss = validation_loss(self.network, self.validation_streams, self.device)
        self._watch.check_validation(self.progress.step + 1, loss)
        return loss

    def checkpoint(self) -> Checkpoint:
        """Return a full checkpoint, from which training continues exactly.

        Raises DivergenceError when a number in it is not finite.
        """
        tensors = pack(self.network, self.optimizer, self._state, self.device)
        self._watch.check_weights(self.progress.step, tensors)
        return Checkpoint(
            config=self.config,
            vocabulary=self.corpus.vocabulary,
            progress=self.progress,
            corpus=CorpusIdentity.of(self.corpus),
            tensors=tensors,
            versions=environment(self.device),
        )

    @classmethod
    def resume(cls, checkpoint: Checkpoint, corpus: Corpus, rollback_point: Checkpoint | None = None) -> Self:
        """Return a trainer that continues from ``checkpoint``, which must be a full one.

        ``rollback_point`` is the checkpoint of ``progress.rollback_step``, to which a divergence goes back; without
        it, a divergence goes back to ``checkpoint``. Raises CheckpointError when torch cannot load its random state.
        """
        trainer = cls(checkpoint.config, corpus)
        trainer.progress = checkpoint.progress
        if trainer._can_roll_back:
            point = trainer._rollback_point = rollback_point or checkpoint
            trainer.progress = checkpoint.progress.model_copy(update={"rollback_step": point.progress.step})
        trainer._state = unpack(checkpoint.tensors, trainer.network, trainer.optimizer, trainer.device)
        return trainer

    @classmethod
    def fine_tune(cls, config: Config, corpus: Corpus, weights: Mapping[str, NDArray[np.float32]]) -> Self:
        """Return a trainer of a new run that starts with another model's weights, by torch's names."""
        trainer = cls(config, corpus)
        trainer.network.load_tensors(weights)
        return trainer

    @property
    def _can_roll_back(self) -> bool:
        return self.config.training.on_divergence == "rollback"

    def _is_scheduled(self, read: int) -> bool:
        """Return whether a full checkpoint is due at this step, after ``read`` windows of the current lanes."""
        save_every = self.config.run.save_every
        return read % self.evaluate_every == 0 if save_every is None else self.progress.step % save_every == 0

    def _scheduled_checkpoint(self) -> Checkpoint:
        """Return a full checkpoint, to which a divergence rolls back from now on."""
        step = self.progress.step if self._can_roll_back else None
        self.progress = self.progress.model_copy(update={"rollback_step": step})
        checkpoint = self.checkpoint()
        self._rollback_point = checkpoint if self._can_roll_back else None
        return checkpoint

    def _roll_back(self, error: DivergenceError) -> Rollback:
        """Restore the rollback point at half the rate; raise ``error`` where rollbacks are disabled or used up."""
        good, count = self._rollback_point, self.progress.rollbacks + 1
        if not self._can_roll_back or good is None or count > MOST_ROLLBACKS:
            raise error
        good = with_known_best(good, self.progress)
        self._state = unpack(good.tensors, self.network, self.optimizer, self.device)
        then = good.progress
        factor = then.rate_factor * 0.5 ** (count - then.rollbacks)
        self.progress = then.model_copy(update={"rollbacks": count, "rate_factor": factor, "rollback_step": then.step})
        self._watch = DivergenceMonitor(self.config.training)
        return Rollback(str(error), good, count, factor)

    def _advance(self, meter: Meter, characters: int, started: float, validation_loss: float | None) -> bool:
        """Update the progress after a step; return whether it has the lowest validation loss so far."""
        passes = self.streams.fraction(self.progress.step + 1 - self.progress.lanes_began_at_step)
        taken = Taken(passes, characters, time.perf_counter() - started)
        self.progress, best = after_step(self.progress, taken, meter, validation_loss, self.config.training)
        return best
