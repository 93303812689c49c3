"""What makes a run repeat, beside randomness without state."""

import os

import torch


def make_deterministic(device: torch.device, *, num_threads: int | None) -> None:
    """For this process. Sums depend on the number of threads; None leaves it as it is."""
    if num_threads is not None:
        torch.set_num_threads(num_threads)
    if device.type == "cuda":
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(mode=True, warn_only=True)  # a warning in the log rather than a dead job
