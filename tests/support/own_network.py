"""own_network: the source of a module as a user would write it."""


def own_network(factor: object = 1, imports: str = "") -> str:
    """A module with a class Net of one layer, whose input is multiplied by `factor`."""
    return f"""
import torch
{imports}

class Net(torch.nn.Module):
    def __init__(self, in_channels, length, num_outputs):
        super().__init__()
        self.head = torch.nn.Linear(in_channels * length, num_outputs)

    def forward(self, x):
        return self.head({factor} * x.flatten(1))
"""
