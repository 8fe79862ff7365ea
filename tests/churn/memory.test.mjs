// Whether a node's memory grows while people come and go all the time. Memory is all that is
// judged: other tests may run meanwhile.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { load, scenario } from '../harness/load.mjs';
import { startNode } from '../harness/node.mjs';
import { tempDir } from '../harness/process.mjs';

let node;
let folder;
before(async () => {
  folder = await tempDir('churn');
  node = await startNode();
});
after(async () => {
  await node?.stop();
  await folder.remove();
});

test('ten thousand who come and go leave nothing behind', async (t) => {
  const { code, output, result } = await load(folder.dir, scenario('churn-ci'), '--url', node.url);
  const { low, slope, high } = result?.figures.memorySlope ?? {};
  t.diagnostic(`KiB a minute: ${slope}, between ${low} and ${high}`);
  assert.equal(code, 0, output);
  assert.ok(result.counts.cuts > 5_000, `${result.counts.cuts} went and came back`);
  assert.deepEqual([result.lost, result.counts.doubled, result.counts.misplaced], [0, 0, 0]);
});
