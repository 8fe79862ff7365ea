/** How the time that something takes grows with its input, for tests: no machine is too slow for it. */

/** Ten times the input may take so many times as long: what grows by the square takes a hundred. */
export const GROWTH_MAX = 50;
/** Clocks of browsers are coarse; what takes less counts as this, in milliseconds. */
const RESOLUTION_MS = 0.1;
const ROUNDS = 5;

/** The shortest of some rounds: what else runs on the machine only makes one longer. */
function shortest(work: () => unknown): number {
  let least = Infinity;
  for (let round = 0; round < ROUNDS; round += 1) {
    const began = performance.now();
    work();
    least = Math.min(least, performance.now() - began);
  }
  return Math.max(RESOLUTION_MS, least);
}

/** How many times as long the large one takes as the small one. */
export function growth(small: () => unknown, large: () => unknown): number {
  return shortest(large) / shortest(small);
}
