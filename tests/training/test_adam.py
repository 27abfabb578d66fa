"""AdamW without torch's compiler: the same steps, and no import of it."""

import subprocess
import sys

import torch

from skebm.training._adam import AdamW

STEP_ALONE = """
import sys, torch
from skebm.training._adam import AdamW
weight = torch.nn.Parameter(torch.ones(2))
optimizer = AdamW([weight], fused=True)
optimizer.zero_grad()
weight.grad = torch.ones(2)
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""


def test_the_steps_are_those_of_torch():
    weights = []
    for optimizer_type in (AdamW, torch.optim.AdamW):
        weight = torch.nn.Parameter(torch.linspace(-1, 1, 5))
        options = {"lr": 0.1, "weight_decay": 0.01, "fused": True}
        optimizer = optimizer_type([weight], **options)
        for _ in range(3):
            optimizer.zero_grad()
            weight.pow(3).sum().backward()
            optimizer.step()
        weights.append(weight.detach())
    torch.testing.assert_close(*weights, rtol=0, atol=0)


def test_no_step_imports_the_compiler():
    """It takes a second, in each process."""
    subprocess.run([sys.executable, "-c", STEP_ALONE], check=True)
