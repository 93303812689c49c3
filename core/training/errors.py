"""How training ends before its time."""


class InterruptedTraining(Exception):  # noqa: N818 - not an error: it was asked to stop
    """SIGTERM was obeyed; if a step was done, a checkpoint is written."""


class DivergedError(Exception):
    """The loss is not a number any more."""
