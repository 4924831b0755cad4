"""From the host to the device without waiting for what it still computes.

CUDA copies from pageable memory through a buffer of its own, and above 64 KB the call waits for the
stream; so everything goes by pinned memory, and whole numbers as int32.
"""

import numpy as np
import torch


def to_device(values: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """The values on `device`, with their dtype."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def ids_to_device(values: np.ndarray | torch.Tensor, device: torch.device) -> torch.Tensor:
    """Indices below 2^31 as int64 on `device`; int32 on the way there."""
    tensor = torch.from_numpy(values) if isinstance(values, np.ndarray) else values
    if device.type != "cuda" or tensor.is_cuda:
        return tensor.to(device, torch.long)
    return to_device(tensor.to(torch.int32), device).long()
