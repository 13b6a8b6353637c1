"""Any tree of modules streams: here twelve layers within the room of three.

python examples/any_module.py
"""

from __future__ import annotations

import torch
from safetensors.torch import save_file
from torch import nn

import streamer

torch.manual_seed(0)
model = nn.Sequential(*(nn.Sequential(nn.Linear(512, 512), nn.GELU()) for _ in range(12))).eval()
save_file(model.state_dict(), "layers.safetensors")
numbers = torch.randn(4, 512)
with torch.no_grad():
    want = model(numbers)

handle = streamer.attach(model, "layers.safetensors", vram_budget="3.2MB", device="cpu")
for _ in range(3):
    if not torch.equal(model(numbers), want):
        raise SystemExit("streaming never changes a result")
totals = handle.stats.totals
print(f"{handle.plan.total_nbytes:,} bytes of weights in {handle.device_nbytes:,}: {totals.steps} forwards, all equal")

handle.detach()  # an ordinary module again
if not torch.equal(model(numbers), want):
    raise SystemExit("nor does detaching")
