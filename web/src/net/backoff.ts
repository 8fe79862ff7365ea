/** Growing, jittered waits. */

export interface Wait {
  readonly firstMs: number;
  readonly maxMs: number;
}

/** The wait before try `attempt` (0 is the first repetition): half of it fixed, half random. */
export function backoff(attempt: number, { firstMs, maxMs }: Wait, random = Math.random): number {
  const full = Math.min(maxMs, firstMs * 2 ** Math.min(attempt, 16));
  return full / 2 + (full / 2) * random();
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
