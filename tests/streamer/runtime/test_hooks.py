"""What the hooks keep a user from."""

from __future__ import annotations

import torch

from streamer.config import StreamSettings
from tests.streamer.tower import Tower, stream_tower


def test_parameters_keep_shape_type_and_device_while_they_are_away():
    tower = Tower()
    facts = [(name, p.shape, p.dtype, p.device) for name, p in tower.named_parameters()]
    handle, _ = stream_tower(tower, StreamSettings(4096))
    with handle, torch.no_grad():
        tower(torch.zeros(1, 16))
        assert [(name, p.shape, p.dtype, p.device) for name, p in tower.named_parameters()] == facts
