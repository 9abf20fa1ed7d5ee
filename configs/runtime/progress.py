"""Progress: one bar with the time left on a terminal; a log line now and then elsewhere."""

import logging
import sys
import time

from tqdm import tqdm

SECONDS_BETWEEN_LINES = 30.0

log = logging.getLogger(__name__)


class Progress(tqdm):
    """Context that reports how much of a piece of work is done.

    Args:
        title: of the work; None: nothing is shown.
        total: units of work.
        unit: their name, plural.
        done: units that were done before; they do not count for the speed.
    """

    def __init__(self, title: str | None, total: int, unit: str, done: int = 0) -> None:
        hidden = title is None or not sys.stderr.isatty()
        super().__init__(total=total, initial=done, desc=title, unit=f" {unit}", disable=hidden)
        self._title, self._total, self._unit = title, total, unit
        self._before, self._done = done, done
        self._start = self._said = time.monotonic()
        self._shown = ""

    def show(self, text: str) -> None:
        """What stands behind the count from now on, such as a loss."""
        self._shown = text
        self.set_postfix_str(text, refresh=False)

    def update(self, n: float | None = 1) -> None:
        """`n` more units are done."""
        super().update(n)
        self._done += n or 0
        now = time.monotonic()
        due = self._title is not None and now - self._said >= SECONDS_BETWEEN_LINES
        if self.disable and due:
            self._said = now
            left = (self._total - self._done) * (now - self._start) / (self._done - self._before)
            log.info(
                "%s: %d of %d %s, about %.0f s left%s",
                self._title,
                self._done,
                self._total,
                self._unit,
                left,
                f" ({self._shown})" if self._shown else "",
            )
