// Socket.IO's own recovery: who loses the connection comes back on another gateway and is told what
// was missed, by the official client alone, whatever died meanwhile.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet } from '../harness/fleet.mjs';
import { converse, device, person, rest } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';

describe('recovery of a connection', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ haproxy: true });
  });
  after(() => fleet?.stop());

  for (const [what, emptied] of [['', false], [' although Redis was emptied', true]]) {
    it(`works on another gateway after the first was killed${what}`, { timeout: 60_000 }, async () => {
      const [ann, bob] = [await person(fleet.haproxy), await person(fleet.haproxy)];
      const { id } = await converse(ann, [bob]);
      const socket = await device(fleet.haproxy, bob, { reconnectionDelay: 1_000, reconnectionDelayMax: 1_000 });
      const first = socket.of('authenticated')[0].node;
      const held = fleet.nodes[Number(first.slice(1)) - 1];
      const others = fleet.nodes.filter((node) => node !== held);
      const say = async (content) => {
        const answer = await rest(others[0].url, ann.token).post(`/conversations/${id}/messages`, { content });
        assert.equal(answer.status, 201);
      };
      try {
        await say('before');
        await until('it to be heard', () => socket.received(id).length === 1);
        await held.kill();
        if (emptied) await fleet.redis.cli('flushall');
        for (const word of ['missed 1', 'missed 2', 'missed 3']) await say(word);
        await until('it to be back', () => socket.connected && socket.of('authenticated').length > 1, 20_000);
        assert.equal(socket.recovered, true);
        await say('live');
        await until('all to be heard', () => socket.received(id).length === 5);
        assert.deepEqual(socket.received(id).map((m) => m.seq), [1, 2, 3, 4, 5]);
        assert.notEqual(socket.of('authenticated').at(-1).node, first);
      } finally {
        socket.disconnect();
        await held.restart();
      }
    });
  }
});
