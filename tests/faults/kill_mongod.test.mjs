// mongod killed, and stopped for a while, as clients send: the node is never restarted, its sockets
// stay, nothing waits longer than its bound, and nothing acknowledged is lost or doubled.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { converse, person, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';
import { Listener, Talker, judge, seedOfRun, seeded } from './workload.mjs';

// The core answers within 10 s whatever the store does; the rest is the client's and the machine's.
const LONGEST_WAIT_MS = 13_000;

if (storeNames.includes('mongodb')) {
  describe('mongod dies under the node', () => {
    it('heals by itself, with nothing lost or doubled', { timeout: scaled(240_000) }, async () => {
      const random = seeded(seedOfRun());
      const store = await openStore('mongodb');
      const node = await startNode({ ...store.flags, 'access-ttl': '1h' });
      const people = await Promise.all(Array.from({ length: 3 }, () => person(node)));
      const room = await converse(people[0], people.slice(1));
      const talkers = people.map((who, i) => new Talker(node, who, room.id, `t${i}`));
      const listeners = people.slice(1).map((who) => new Listener(node, who, [room.id]));
      try {
        await Promise.all(listeners.map((listener) => listener.open()));
        const talk = Promise.all(talkers.map((talker) => talker.run()));
        for (let kill = 0; kill < 4; kill += 1) {
          await sleep(500 + random() * 800);
          await store.mongod.kill();
          await sleep(random() * 2_000);
          await store.mongod.restart();
        }
        await sleep(1_000);
        store.mongod.signal('SIGSTOP');
        await until('readyz to turn', async () => (await fetch(`${node.admin}/readyz`)).status === 503, 15_000);
        await sleep(12_000);
        store.mongod.signal('SIGCONT');
        await until('readyz to return', async () => (await fetch(`${node.admin}/readyz`)).ok, 15_000);
        await sleep(2_000);
        talkers.forEach((talker) => talker.stop());
        await talk;
        const verdict = await judge(await wholeLog(people[1], room.id), talkers, listeners, room.id);
        const longest = Math.max(...talkers.map((talker) => talker.longestWaitMs));
        console.log(`mongod: ${verdict.acked} acknowledged, ${verdict.stored} stored, ${verdict.faults.length} faults, longest wait ${longest} ms`);
        assert.deepEqual(verdict.faults, []);
        assert.ok(verdict.acked > 20, 'the load was real');
        assert.ok(longest < scaled(LONGEST_WAIT_MS), `an answer took ${longest} ms`);
        assert.ok(listeners.every((listener) => listener.connections === 1), 'the sockets stayed');
      } finally {
        talkers.forEach((talker) => talker.stop());
        [...talkers, ...listeners].forEach((one) => one.close());
        await node.stop();
        await store.stop();
      }
    });
  });
}
