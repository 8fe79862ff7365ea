import { expect, it } from 'vitest';

import { backoff } from './backoff';

it('doubles up to its end, at least half of it fixed', () => {
  const grows = { firstMs: 500, maxMs: 10_000 };
  expect([0, 1, 2, 10, 1_000].map((attempt) => backoff(attempt, grows, () => 1))).toEqual([
    500, 1_000, 2_000, 10_000, 10_000,
  ]);
  expect([0, 10].map((attempt) => backoff(attempt, grows, () => 0))).toEqual([250, 5_000]);
});
