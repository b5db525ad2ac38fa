/** Repeating calls that fail because the other end cannot be reached. */

import { setTimeout } from "node:timers/promises";

import { ApiError } from "./errors.js";

/** Milliseconds of failing attempts, after which a helper gives up. */
export const RETRY_TIMEOUT = 300_000;
const FIRST_PAUSE = 200; // milliseconds
const MAX_PAUSE = 5_000;

/** Pauses between attempts, which grow and differ. It ends when attempts have failed for `timeout` milliseconds. */
export class Backoff {
  #lostAt: number | undefined;
  #maxPause = FIRST_PAUSE;

  constructor(
    readonly timeout: number,
    readonly signal: AbortSignal | undefined,
  ) {}

  /** The other end has said something. */
  reset(): void {
    this.#lostAt = undefined;
    this.#maxPause = FIRST_PAUSE;
  }

  /** Waits before the next attempt. Throws `error` when it is a final one or the time is over. */
  async pause(error: ApiError): Promise<void> {
    this.signal?.throwIfAborted();
    this.#lostAt ??= performance.now();
    if (!error.transient || performance.now() - this.#lostAt > this.timeout) {
      throw error;
    }
    // Many callers lose a gateway at the same instant: they must not come back at one.
    const pause = this.#maxPause * (0.5 + Math.random() / 2);
    this.#maxPause = Math.min(this.#maxPause * 2, MAX_PAUSE);
    await setTimeout(pause, undefined, this.signal ? { signal: this.signal } : {}).catch(() => undefined);
    this.signal?.throwIfAborted();
  }
}

/** The answer to a call that changes nothing: it is asked for again while the other end cannot be reached. */
export async function repeated<T>(call: () => Promise<T>): Promise<T> {
  const backoff = new Backoff(RETRY_TIMEOUT, undefined);
  while (true) {
    try {
      return await call();
    } catch (error) {
      await backoff.pause(ApiError.of(error));
    }
  }
}
