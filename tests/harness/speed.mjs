// How fast this machine is, measured once a run: time limits of tests are divided by it, so that they
// fail for a fault and not for a slow day. tests/run.mjs hands the figure to all that it starts, in
// SYNCCHAT_TEST_SPEED; a suite that is started by hand measures for itself.

/** What `work` takes, in milliseconds, on the machine that the tests' limits were chosen on. */
const REFERENCE_MS = 38;
/** An odd number, so that the median is one that was measured. */
const ROUNDS = 9;
/** However slow the machine seems, limits are at most ten times as long. */
const SPEED_MIN = 0.1;

/** Arithmetic and memory in the proportion of what the tests do most: no library, no system calls. */
function work() {
  const values = new Float64Array(200_000);
  let state = 1;
  for (let i = 0; i < values.length; i += 1) {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    values[i] = (t ^ (t >>> 14)) >>> 0;
  }
  return values.sort()[0];
}

/** The speed of this machine, from 0.1 to 1: 0.5 takes twice as long as the reference. */
function measure() {
  const times = [];
  work();
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = performance.now();
    work();
    times.push(performance.now() - began);
  }
  const median = times.sort((a, b) => a - b)[(ROUNDS - 1) / 2];
  return Math.min(1, Math.max(SPEED_MIN, REFERENCE_MS / median));
}

const given = Number(process.env.SYNCCHAT_TEST_SPEED);

/** The speed that this run goes by. */
export const speed = given > 0 ? given : measure();
process.env.SYNCCHAT_TEST_SPEED ??= speed.toFixed(2);

/** A time limit of the reference machine, in milliseconds, as it is on this one. */
export const scaled = (ms) => Math.ceil(ms / speed);
