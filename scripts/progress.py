"""progress: a bar with the time left on a terminal, elsewhere a line of the log now and then."""

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

Item = TypeVar("Item")
EVERY = 30.0  # seconds between two lines of the log

logger = logging.getLogger(__name__)


def progress(
    items: Iterable[Item],
    title: str,
    unit: str,
    total: int,
    *,
    done: int = 0,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Item]:
    """`items` as they are; says how many are done and how long the others will take.

    Args:
        unit: what is counted, such as "fit".
        total: all units, with the `done` ones that were finished before.
        clock: seconds.
    """
    start = said = clock()
    with tqdm(total=total, initial=done, desc=title, unit=unit, disable=None) as bar:
        for count, item in enumerate(items, start=1):
            yield item
            bar.update()
            now = clock()
            if bar.disable and now - said >= EVERY:
                left = (now - start) / count * (total - done - count)
                minutes = f"about {left / 60:.1f} min left"
                logger.info("%s: %d of %d %ss, %s", title, done + count, total, unit, minutes)
                said = now
