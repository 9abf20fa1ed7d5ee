"""Ranks: the processes of one distributed run, and the sums they form together.

Parts of a sum are computed by turns and added in one order on every rank, so a sum is the same, to
the last bit, however many ranks form it.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

Item = TypeVar("Item")


@dataclass(frozen=True)
class Ranks:
    """This process is number `rank` of `world`; they speak through torch.distributed."""

    rank: int = 0
    world: int = 1

    def spread(
        self,
        items: Sequence[Item],
        compute: Callable[[Item], Tensor],
        shape: Callable[[Item], Sequence[int]],
    ) -> Iterator[Tensor]:
        """compute(item) of every item, in order, on every rank; each is computed on one.

        Args:
            shape: of compute(item), whose type and device are those of all items.
        """
        if self.world == 1:
            yield from map(compute, items)
            return
        for start in range(0, len(items), self.world):
            group = items[start : start + self.world]
            own = compute(group[self.rank % len(group)])
            for owner, item in enumerate(group):
                yield self._from(owner, own, shape(item))

    def agree(self, decision: bool) -> bool:
        """The decision of rank 0, on every rank: disks of different machines may disagree."""
        if self.world == 1:
            return decision
        told = torch.tensor([decision])
        distributed.broadcast(told, 0)
        return bool(told)

    def _from(self, owner: int, own: Tensor, shape: Sequence[int]) -> Tensor:
        # gloo carries CPU tensors between any two machines.
        part = own.cpu() if owner == self.rank else torch.empty(tuple(shape), dtype=own.dtype)
        distributed.broadcast(part, owner)
        return part.to(own.device)


ALONE = Ranks()


def current_ranks() -> Ranks:
    """The ranks of the process group, `ALONE` where there is none."""
    if not distributed.is_available() or not distributed.is_initialized():
        return ALONE
    return Ranks(distributed.get_rank(), distributed.get_world_size())


@contextmanager
def joined(rank: int, world: int) -> Iterator[None]:
    """Within it the processes that a launcher started speak to each other over gloo.

    Without MASTER_ADDR (plain srun) they stay alone, and each computes what it needs itself.
    """
    if world == 1 or "MASTER_ADDR" not in os.environ or "MASTER_PORT" not in os.environ:
        yield
        return
    distributed.init_process_group("gloo", rank=rank, world_size=world)
    try:
        yield
    finally:
        distributed.destroy_process_group()
