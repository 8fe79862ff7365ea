// One room in which people on all gateways write as fast as they can: it goes on, and nobody waits
// for the others to fall silent.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { gather } from '../faults/crowd.mjs';
import { startFleet } from '../harness/fleet.mjs';
import { sleep } from '../harness/process.mjs';

const SPAN_MS = 6_000;
const LONGEST_WAIT_MS = 2_000;

it('a hot room starves no gateway', { timeout: 120_000 }, async () => {
  const fleet = await startFleet();
  try {
    const crowd = await gather(fleet.node, { rooms: 1, members: 6, pauseMs: 0 });
    try {
      crowd.begin();
      await sleep(SPAN_MS);
      const hot = crowd.talkers.filter((talker) => talker.conversationId === crowd.rooms[0]);
      const counts = hot.map((talker) => talker.acked.size);
      const waits = hot.map((talker) => talker.longestWaitMs);
      const verdict = await crowd.end();
      const sum = counts.reduce((a, b) => a + b);
      console.log(`hot room: ${Math.round((sum * 1_000) / SPAN_MS)} messages/s by ${counts.join(', ')}; longest waits ${waits.join(', ')} ms`);
      assert.deepEqual(verdict.faults, []);
      assert.ok(Math.max(...waits) < LONGEST_WAIT_MS, `somebody waited ${Math.max(...waits)} ms`);
      assert.ok(Math.min(...counts) * 10 > sum / counts.length, `somebody was starved: ${counts.join(', ')}`);
    } finally {
      crowd.close();
    }
  } finally {
    await fleet.stop();
  }
});
