/** How long to go on without the other end. */

import { setTimeout } from "node:timers/promises";

import { ApiError } from "./errors.js";

/** Milliseconds of failing attempts, after which a helper gives up. */
export const PATIENCE = 300_000;
const FIRST_PAUSE = 200; // milliseconds
const LONGEST_PAUSE = 5_000;

/** Pauses between attempts, which grow and differ. It ends when attempts have failed for `limit` milliseconds. */
export class Patience {
  #lostAt: number | undefined;
  #longest = FIRST_PAUSE;

  constructor(
    readonly limit: number,
    readonly signal: AbortSignal | undefined,
  ) {}

  /** The other end has said something. */
  contact(): void {
    this.#lostAt = undefined;
    this.#longest = FIRST_PAUSE;
  }

  /** Waits before the next attempt. Throws `error` when it is a final one or the time is over. */
  async pause(error: ApiError): Promise<void> {
    this.signal?.throwIfAborted();
    this.#lostAt ??= performance.now();
    if (!error.transient || performance.now() - this.#lostAt > this.limit) {
      throw error;
    }
    // Many callers lose a gateway at the same instant: they must not come back at one.
    const pause = this.#longest * (0.5 + Math.random() / 2);
    this.#longest = Math.min(this.#longest * 2, LONGEST_PAUSE);
    await setTimeout(pause, undefined, this.signal ? { signal: this.signal } : {}).catch(() => undefined);
    this.signal?.throwIfAborted();
  }
}

/** The answer to a call that changes nothing: it is asked for again while the other end cannot be reached. */
export async function repeated<T>(call: () => Promise<T>): Promise<T> {
  const left = new Patience(PATIENCE, undefined);
  while (true) {
    try {
      return await call();
    } catch (error) {
      await left.pause(ApiError.of(error));
    }
  }
}
