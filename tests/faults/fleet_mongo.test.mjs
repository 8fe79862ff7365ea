// The store of a fleet breaks: the primary of a replica set of three is killed, stopped and told to
// step down. Sockets stay; nothing acknowledged is lost, and whoever sends waits about as long as
// MongoDB itself takes to accept a write again.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet } from '../harness/fleet.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';

/** How much longer than for MongoDB itself somebody may wait: a retry, and a busy machine. */
const BEYOND_FAILOVER_MS = 2_000;

const longestWait = (crowd) => Math.max(...crowd.talkers.map((talker) => talker.longestWaitMs));

describe('a fleet on a replica set of three', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ store: 'replicaSet' });
  });
  after(() => fleet?.stop());

  /** `fault` takes the primary away, and gives what heals it. */
  const scenario = (name, fault) =>
    it(name, { timeout: scaled(180_000) }, async () => {
      const crowd = await gather(fleet.node);
      try {
        let failover;
        await underLoad(name, crowd, async () => {
          const began = Date.now();
          const heal = await fault(fleet.mongo);
          const elected = Date.now() - began;
          await fleet.mongo.writable();
          failover = Date.now() - began;
          await crowd.answered();
          await heal?.();
          return `another primary after ${elected} ms, a write taken after ${failover} ms, longest wait for an answer ${longestWait(crowd)} ms`;
        }, { stays: true });
        const bound = failover + scaled(BEYOND_FAILOVER_MS);
        assert.ok(longestWait(crowd) < bound, `an answer took ${longestWait(crowd)} ms, the failover ${failover} ms`);
      } finally {
        crowd.close();
      }
    });

  scenario('the primary of mongodb killed', (mongo) => mongo.killPrimary());
  scenario('the primary of mongodb stopped', (mongo) => mongo.pausePrimary());
  scenario('the primary of mongodb steps down', (mongo) => mongo.stepDown());
});
