"""What goes to a GPU goes by pinned memory, in few bytes, and arrives as it was."""

from types import SimpleNamespace

import numpy as np
import torch

from nuggets_ray.score.transfer import ids_to_device, to_device

CPU = torch.device("cpu")


def test_values_arrive_as_they_were():
    ids = np.array([[1, 2], [3, 2**31 - 1]])
    for given in (ids, torch.from_numpy(ids), torch.from_numpy(ids).int()):
        arrived = ids_to_device(given, CPU)
        assert arrived.dtype == torch.long and arrived.tolist() == ids.tolist()
    weights = np.array([0.5, 0.25], np.float32)
    assert to_device(weights, CPU).tolist() == weights.tolist()


def test_to_a_gpu_they_go_pinned_and_as_int32_and_nothing_waits(monkeypatch):
    sent = []

    def pin(tensor):
        def to(device, non_blocking):
            sent.append((tensor.dtype, device.type, non_blocking))
            return tensor

        return SimpleNamespace(to=to)

    monkeypatch.setattr(torch.Tensor, "pin_memory", pin)
    assert ids_to_device(torch.arange(3), torch.device("cuda")).dtype == torch.long
    to_device(torch.zeros(2), torch.device("cuda"))
    assert sent == [(torch.int32, "cuda", True), (torch.float32, "cuda", True)]
