"""Decides when a checkpoint is due, and writes it: on the first rank alone."""

import time
from pathlib import Path

import torch

from core.disk import is_disk_full
from core.training.checkpoint import State, save_checkpoint
from core.training.errors import DivergedError
from core.training.journal import Journal
from core.training.methods.base import Method
from core.training.ranks import Ranks

BEST_SHARE = 0.1


class CheckpointWriter:
    def __init__(self, directory: Path, journal: Journal, ranks: Ranks, *, interval_seconds: float) -> None:
        self._directory = directory
        self._journal = journal
        self._ranks = ranks
        self._interval_seconds = interval_seconds
        self._saved_at = time.monotonic()
        self._saved_step: int | None = None
        self._lacks_space = False

    def save_if_due(self, state: State, method: Method, optimizer: torch.optim.SGD) -> None:
        """The end of an epoch that is better than all before waits for a tenth of the interval alone."""
        is_better = self._journal.is_best(state.counters) and state.counters.epochs_without_gain == 0
        share = BEST_SHARE if is_better else 1.0
        if time.monotonic() - self._saved_at >= self._interval_seconds * share:
            self.save(state, (method, optimizer))

    def save(self, state: State, training: tuple[Method, torch.optim.SGD] | None) -> None:
        """Once a step; raises DivergedError rather than replace a good checkpoint by a broken one.

        Training goes on where the disk is too full for it: the next one may fit.
        """
        step = state.counters.total_step
        if not self._ranks.is_first or self._saved_step == step:
            return
        if training is not None:
            _check_weights(training[0])
        self._saved_at = time.monotonic()
        try:
            save_checkpoint(self._directory / str(step), state, training)
        except Exception as exc:  # libraries say a full disk in errors of their own; any other is raised again
            if not is_disk_full(exc):
                raise
            self._say_no_space(exc)
            return
        self._saved_step, self._lacks_space = step, False
        self._journal.say_checkpoint(state.counters, self._directory / str(step))

    def _say_no_space(self, error: Exception) -> None:
        """Once, not at every try."""
        if not self._lacks_space:
            self._journal.say_no_space(error)
        self._lacks_space = True


def _check_weights(method: Method) -> None:
    sums = [parameter.detach().sum() for parameter in method.parameters()]  # a sum is finite if all of it is
    if not bool(torch.stack(sums).isfinite().all()):
        raise DivergedError("the weights are no numbers any more")
