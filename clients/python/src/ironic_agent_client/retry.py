"""Repeating calls that fail because the other end cannot be reached."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from ironic_agent_client.errors import ApiError, typed_errors

T = TypeVar("T")
RETRY_TIMEOUT = 300.0  # seconds of failing attempts, after which a helper gives up
FIRST_PAUSE = 0.2  # seconds
MAX_PAUSE = 5.0


class Backoff:
    """Pauses between attempts, which grow and differ. It ends when attempts have failed for `timeout` seconds."""

    def __init__(self, timeout: float):
        self.timeout = timeout
        self.lost_at: float | None = None
        self.max_pause = FIRST_PAUSE

    def reset(self) -> None:
        """The other end has said something."""
        self.lost_at = None
        self.max_pause = FIRST_PAUSE

    async def pause(self, error: ApiError) -> None:
        """Waits before the next attempt. Raises `error` when it is a final one or the time is over."""
        now = time.monotonic()
        self.lost_at = now if self.lost_at is None else self.lost_at
        if not error.transient or now - self.lost_at > self.timeout:
            raise error
        # Many callers lose a gateway at the same instant: they must not come back at one.
        await asyncio.sleep(random.uniform(self.max_pause / 2, self.max_pause))
        self.max_pause = min(self.max_pause * 2, MAX_PAUSE)


async def repeated(call: Callable[[], Awaitable[T]]) -> T:
    """The answer to a call that changes nothing: it is asked for again while the other end cannot be reached."""
    backoff = Backoff(RETRY_TIMEOUT)
    while True:
        try:
            with typed_errors():
                return await call()
        except ApiError as error:
            await backoff.pause(error)
