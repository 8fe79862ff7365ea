// A small part of the proof, for every change: some faults, each for some seconds. `make proof` runs all of it.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { seedOfRun } from '../faults/workload.mjs';
import { scaled } from '../harness/speed.mjs';
import { startProofFleet } from './fleet.mjs';
import { prove } from './run.mjs';

const SECONDS = 6;

describe('the promise for everything', () => {
  let proof;
  const seed = seedOfRun();
  before(async () => {
    proof = await startProofFleet();
  });
  after(() => proof?.stop());

  for (const fault of ['a gateway is killed', 'a gateway is cut off from redis', "mongodb's primary is killed"]) {
    it(`holds while ${fault}`, { timeout: scaled(180_000) }, async (t) => {
      const result = await prove({ ...proof, fault, seed, seconds: SECONDS });
      t.diagnostic(`${result.total} facts, whole after ${result.wholeMs} ms`);
      assert.deepEqual(result.faults.slice(0, 10), []);
      assert.ok(result.total > 200, `${result.total} facts`);
      await proof.ready();
    });
  }
});
