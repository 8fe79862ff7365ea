// Everything at once, by seed: gateways, Redis and the primary of MongoDB are killed and stopped in
// any order and at the same time, for SYNCCHAT_CHAOS_SECONDS (a short while without it).
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { startFleet } from '../harness/fleet.mjs';
import { sleep } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';
import { seedOfRun, seeded } from './workload.mjs';

const SECONDS = Number(process.env.SYNCCHAT_CHAOS_SECONDS ?? 20);

it(`${SECONDS} s of chaos`, { timeout: scaled((SECONDS + 240) * 1_000) }, async () => {
  const random = seeded(seedOfRun());
  const fleet = await startFleet({
    store: 'replicaSet',
    haproxy: true,
    flags: { drain: '2s', 'ping-interval': '2s', 'ping-timeout': '2s' },
  });
  const some = () => fleet.node(Math.floor(random() * 3));
  const faults = {
    'gateway killed': async () => {
      const node = some();
      await node.kill();
      await sleep(random() * 2_000);
      await node.restart();
    },
    'gateway drained': async () => {
      const node = some();
      node.signal('SIGTERM');
      assert.equal((await node.exited()).code, 0);
      await node.restart();
    },
    'gateway stopped': async () => {
      const node = some();
      node.signal('SIGSTOP');
      await sleep(1_000 + random() * 5_000);
      node.signal('SIGCONT');
    },
    'redis killed': async () => {
      await fleet.redis.kill();
      await sleep(random() * 4_000);
      await fleet.redis.restart();
    },
    'redis stopped': async () => {
      fleet.redis.signal('SIGSTOP');
      await sleep(random() * 4_000);
      fleet.redis.signal('SIGCONT');
    },
    'redis emptied': () => fleet.redis.cli('flushall'),
    'primary killed': async () => {
      const back = await fleet.mongo.killPrimary();
      await sleep(random() * 2_000);
      await back();
    },
    'primary stopped': async () => {
      const goOn = await fleet.mongo.pausePrimary();
      await sleep(random() * 2_000);
      await goOn();
    },
    'primary steps down': () => fleet.mongo.stepDown(),
  };
  const kinds = Object.keys(faults);
  const crowd = await gather(() => fleet.haproxy, { members: 6, rooms: 3 });
  const end = Date.now() + SECONDS * 1_000;
  const done = new Map();
  // Faults of one server come one after the other; those of different servers overlap.
  const nemesis = async (which) => {
    while (Date.now() < end) {
      const own = kinds.filter((kind) => kind.startsWith(which));
      const kind = own[Math.floor(random() * own.length)];
      await faults[kind]();
      done.set(kind, (done.get(kind) ?? 0) + 1);
      await sleep(300 + random() * 2_000);
    }
  };
  try {
    await underLoad(`${SECONDS} s of chaos`, crowd, async () => {
      await Promise.all(['gateway', 'redis', 'primary'].map(nemesis));
      return [...done].map(([kind, times]) => `${kind} ${times}x`).join(', ');
    }, { afterMs: 3_000 });
  } finally {
    crowd.close();
    await fleet.stop();
  }
});
