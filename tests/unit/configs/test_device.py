"""The device of every stage, and its memory."""

import pytest
import torch

from configs.runtime import device
from configs.runtime.errors import ConfigError

CPU = torch.device("cpu")


def test_an_absent_gpu_is_an_error_only_when_asked_for(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert device.pick_device("auto").type == "cpu"
    with pytest.raises(ConfigError, match="no CUDA GPU is available"):
        device.pick_device("cuda")


def test_total_memory_obeys_the_control_group(monkeypatch, tmp_path):
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(device, "CGROUP_LIMITS", (limit,))
    machine = device.total_memory(CPU)
    assert machine > 2**28
    limit.write_text("max\n")
    assert device.total_memory(CPU) == machine
    limit.write_text("12345678\n")
    assert device.total_memory(CPU) == 12345678
