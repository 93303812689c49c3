"""Tells when there is no memory left."""

import torch

CPU_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory")  # torch has no class for it


def is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(part in str(error) for part in CPU_OUT_OF_MEMORY)
