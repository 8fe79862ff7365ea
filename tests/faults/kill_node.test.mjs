// A node killed with SIGKILL under load, 20 times: it starts again by itself on the same data, and
// nothing acknowledged is lost, doubled or out of place.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { converse, person, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';
import { Listener, Talker, judge, seedOfRun, seeded } from './workload.mjs';

const KILLS = 20;

for (const storeName of storeNames) {
  describe(`SIGKILL of the node on ${storeName}`, () => {
    it(`loses nothing acknowledged in ${KILLS} kills`, { timeout: scaled(240_000) }, async () => {
      const random = seeded(seedOfRun());
      const store = await openStore(storeName);
      const node = await startNode({ ...store.flags, 'access-ttl': '1h' });
      const people = await Promise.all(Array.from({ length: 4 }, () => person(node)));
      const rooms = [await converse(people[0], people.slice(1)), await converse(people[0], [people[1]])];
      const talkers = [];
      for (const [i, who] of people.entries()) talkers.push(new Talker(node, who, rooms[0].id, `r0-${i}`));
      for (const [i, who] of people.slice(0, 2).entries()) talkers.push(new Talker(node, who, rooms[1].id, `r1-${i}`));
      const listeners = [new Listener(node, people[1], rooms.map((room) => room.id)), new Listener(node, people[3], [rooms[0].id])];
      try {
        await Promise.all(listeners.map((listener) => listener.open()));
        const talk = Promise.all(talkers.map((talker) => talker.run()));
        const acked = () => talkers.reduce((sum, talker) => sum + talker.acked.size, 0);
        for (let kill = 0; kill < KILLS; kill += 1) {
          // A kill finds people talking: some must have been heard since the last one.
          const before = acked();
          await until('people to talk again', () => acked() >= before + talkers.length);
          await sleep(random() * 400);
          await node.kill();
          await node.restart();
        }
        await sleep(1_500);
        talkers.forEach((talker) => talker.stop());
        await talk;
        for (const room of rooms) {
          const verdict = await judge(await wholeLog(people[1], room.id), talkers, listeners, room.id);
          console.log(`${storeName}: ${KILLS} kills, ${verdict.acked} acknowledged, ${verdict.stored} stored, ${verdict.faults.length} faults`);
          assert.deepEqual(verdict.faults, []);
          assert.ok(verdict.acked > KILLS, 'the load was real');
        }
        assert.ok(listeners[0].connections > KILLS / 2, 'the kills were felt');
      } finally {
        talkers.forEach((talker) => talker.stop());
        [...talkers, ...listeners].forEach((one) => one.close());
        await node.stop();
        await store.stop();
      }
    });
  });
}
