// Redis dies, hangs, forgets or is cut off while people talk across three gateways. They all stay
// connected and every message arrives: late while Redis is away (at most 2 s), at once after.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';

// The contract's word, and what a busy machine with two cores may add to it.
const AWAY_MS_MAX = 2_000;
const SLACK_MS = 500;
const OFFLINE_MS_MAX = 5_000;
// A long run is asked for by `make chaos`; `make test` leaves out what takes long, or shows the same.
const LONG = Number(process.env.SYNCCHAT_CHAOS_SECONDS ?? 0) > 0;

const median = (values) => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)];

/** A fault in which nobody may be disconnected and nothing may be later than promised. */
async function stayed(name, crowd, fault, options) {
  const { during, after: then } = await underLoad(name, crowd, fault, { stays: true, ...options });
  assert.ok(Math.max(...during) <= scaled(AWAY_MS_MAX + SLACK_MS), `a message took ${Math.max(...during)} ms while redis was away`);
  assert.ok(median(then) < scaled(100), `after it, messages still take ${median(then)} ms`);
  assert.ok(Math.max(...then) <= scaled(AWAY_MS_MAX), `after it, a message took ${Math.max(...then)} ms`);
}

const reached = (nodes) =>
  until('every node to reach redis', async () => (await total(nodes, 'syncchat_backplane_connected')) === nodes.length, 15_000);

describe('a fleet without its Redis', () => {
  let fleet;
  let proxy;
  let crowd;
  before(async () => {
    fleet = await startFleet({
      flagsOf: async (i, { redis }) => {
        // The last node reaches Redis by a network of its own.
        if (i !== 2) return {};
        proxy = await startProxy(redis.port);
        return { backplane: `redis://${HOST}:${proxy.port}` };
      },
    });
  });
  after(async () => {
    await fleet?.stop();
    await proxy?.stop();
  });
  const scenario = (name, ms, run, { skip = false } = {}) =>
    it(name, { timeout: scaled(ms), skip }, async () => {
      await reached(fleet.nodes);
      crowd = await gather(fleet.node);
      try {
        await run(name);
      } finally {
        crowd.close();
      }
    });
  const nobodyGone = () => {
    const ghost = crowd.longestGhostMs();
    assert.ok(ghost < scaled(OFFLINE_MS_MAX), `somebody connected was shown offline for ${ghost} ms`);
  };
  const killedFor = (seconds) => async (name) => {
    await stayed(name, crowd, async () => {
      const gaps = await total(fleet.nodes, 'syncchat_backplane_gaps_total');
      const filled = await total(fleet.nodes, 'syncchat_backfilled_messages_total');
      await fleet.redis.kill();
      await sleep(seconds * 1_000);
      await fleet.redis.restart();
      await reached(fleet.nodes);
      return `gaps ${(await total(fleet.nodes, 'syncchat_backplane_gaps_total')) - gaps}, backfilled ${
        (await total(fleet.nodes, 'syncchat_backfilled_messages_total')) - filled
      }, shown offline while connected for ${crowd.longestGhostMs()} ms`;
    });
    nobodyGone();
  };

  const long = { skip: LONG ? false : 'in make chaos' };

  scenario('nothing happens', 60_000, (name) => stayed(name, crowd, () => sleep(2_000)), long);

  scenario('redis killed for 3 s', 90_000, killedFor(3));

  for (const seconds of [20, 60]) scenario(`redis killed for ${seconds} s`, 180_000, killedFor(seconds), long);

  scenario('redis emptied', 60_000, (name) =>
    stayed(name, crowd, async () => {
      await fleet.redis.cli('flushall');
      await sleep(1_000);
    }),
  );

  scenario('every connection of redis cut', 60_000, (name) =>
    stayed(name, crowd, async () => {
      for (let i = 0; i < 3; i += 1) {
        await fleet.redis.cli('client', 'kill', 'type', 'pubsub');
        await fleet.redis.cli('client', 'kill', 'type', 'normal', 'skipme', 'yes');
        await sleep(300);
      }
      await reached(fleet.nodes);
    }),
  );

  const stopped = LONG ? 10 : 4;
  scenario(`redis stopped for ${stopped} s`, 120_000, async (name) => {
    await stayed(name, crowd, async () => {
      fleet.redis.signal('SIGSTOP');
      await sleep(stopped * 1_000);
      fleet.redis.signal('SIGCONT');
      await reached(fleet.nodes);
      // Who is believed to be gone is told by then.
      await sleep(LONG ? 6_000 : 3_500);
      return `shown offline while connected for ${crowd.longestGhostMs()} ms`;
    });
    nobodyGone();
  });

  scenario('one gateway cut off from redis', 90_000, (name) =>
    stayed(name, crowd, async () => {
      proxy.cut();
      await sleep(4_000);
      proxy.heal();
      await reached(fleet.nodes);
    }),
  );

  scenario('one gateway on a dead network to redis', 90_000, (name) =>
    stayed(name, crowd, async () => {
      proxy.freeze();
      await sleep(8_000);
      proxy.heal();
      await reached(fleet.nodes);
    }),
    long,
  );

  scenario('one gateway on a slow network to redis', 90_000, (name) =>
    stayed(name, crowd, async () => {
      proxy.delay(150);
      await sleep(3_000);
      proxy.heal();
      proxy.throttle(20_000);
      await sleep(3_000);
      proxy.heal();
      await sleep(1_000);
    }),
    long,
  );
});

describe('a fleet on Sentinel', () => {
  it('goes on when the master fails over', { timeout: scaled(180_000) }, async () => {
    const fleet = await startFleet({ backplane: 'sentinel' });
    try {
      await reached(fleet.nodes);
      const crowd = await gather(fleet.node);
      try {
        await stayed('redis failed over by sentinel', crowd, async () => {
          await fleet.redis.failOver();
          await reached(fleet.nodes);
        });
      } finally {
        crowd.close();
      }
    } finally {
      await fleet.stop();
    }
  });
});

describe('a fleet on a Redis cluster', () => {
  it('delivers over sharded pub/sub, and goes on when a master is gone for a while', { timeout: scaled(180_000) }, async () => {
    const fleet = await startFleet({ backplane: 'cluster' });
    try {
      await reached(fleet.nodes);
      const crowd = await gather(fleet.node, { rooms: 4 });
      try {
        await stayed('one master of a redis cluster killed for 3 s', crowd, async () => {
          await fleet.redis.servers[1].kill();
          await sleep(3_000);
          await fleet.redis.servers[1].restart();
          await reached(fleet.nodes);
        });
      } finally {
        crowd.close();
      }
    } finally {
      await fleet.stop();
    }
  });
});
