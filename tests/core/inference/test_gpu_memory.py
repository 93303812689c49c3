import pytest
import torch

from core.inference.gpu_memory import limit_gpu_memory


def test_on_a_cpu_nothing_happens() -> None:
    limit_gpu_memory(torch.device("cpu"), share=0.5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_what_is_beyond_the_share_is_out_of_memory() -> None:
    limit_gpu_memory(torch.device("cuda"), share=0.01)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            torch.empty(torch.cuda.get_device_properties(0).total_memory // 10, dtype=torch.uint8, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
