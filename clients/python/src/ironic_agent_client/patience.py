"""How long to go on without the other end."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ironic_agent_client.errors import ApiError, typed_errors

T = TypeVar("T")
PATIENCE = 300.0  # seconds of failing attempts, after which a helper gives up
FIRST_PAUSE = 0.2  # seconds
LONGEST_PAUSE = 5.0


class Patience:
    """Pauses between attempts, which grow and differ. It ends when attempts have failed for `limit` seconds."""

    def __init__(self, limit: float):
        self.limit = limit
        self.lost_at: float | None = None
        self.longest = FIRST_PAUSE

    def contact(self) -> None:
        """The other end has said something."""
        self.lost_at = None
        self.longest = FIRST_PAUSE

    async def pause(self, error: ApiError) -> None:
        """Waits before the next attempt. Raises `error` when it is a final one or the time is over."""
        now = time.monotonic()
        self.lost_at = now if self.lost_at is None else self.lost_at
        if not error.transient or now - self.lost_at > self.limit:
            raise error
        # Many callers lose a gateway at the same instant: they must not come back at one.
        await asyncio.sleep(random.uniform(self.longest / 2, self.longest))
        self.longest = min(self.longest * 2, LONGEST_PAUSE)


async def repeated(call: Callable[[], Awaitable[T]]) -> T:
    """The answer to a call that changes nothing: it is asked for again while the other end cannot be reached."""
    left = Patience(PATIENCE)
    while True:
        try:
            with typed_errors():
                return await call()
        except ApiError as error:
            await left.pause(error)
