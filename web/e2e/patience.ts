/** Time limits as they are on this machine. */

/**
 * How fast it is, from 0.1 to 1, where 1 is the machine that the limits were chosen on:
 * `tests/run.mjs` measures it once for all tests.
 */
const SPEED = Number(process.env.SYNCCHAT_TEST_SPEED ?? 1);

/** A limit in milliseconds of the machine that it was chosen on, as it is on this one. */
export const scaled = (ms: number) => Math.ceil(ms / SPEED);
