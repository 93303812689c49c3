"""Predict and training may share a GPU: each process is held to its share of the memory."""

import torch


def limit_gpu_memory(device: torch.device, *, share: float) -> None:
    """For this process; what needs more is an out-of-memory error. On a CPU nothing happens."""
    if device.type == "cuda" and share < 1:
        torch.cuda.set_per_process_memory_fraction(share)  # of the current device: `cuda` alone names no other
