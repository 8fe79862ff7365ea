// The fault matrix: what is broken, and how it is mended. Each `strike` gives what heals it.
import { setTimeout as delay } from 'node:timers/promises';

/** How long what is stopped stays so. */
const STOPPED_MS = 5_000;

const restart = (node) => () => node.restart();

export const FAULTS = {
  'nothing at all': async () => async () => {},
  'a gateway is killed': async ({ fleet }) => {
    await fleet.node(1).kill();
    return restart(fleet.node(1));
  },
  'a gateway is told to stop': async ({ fleet }) => {
    fleet.node(1).signal('SIGTERM');
    await fleet.node(1).exited();
    return restart(fleet.node(1));
  },
  'a gateway stands still': async ({ fleet }) => {
    fleet.node(1).signal('SIGSTOP');
    await delay(STOPPED_MS);
    return async () => fleet.node(1).signal('SIGCONT');
  },
  'redis is killed': async ({ fleet }) => {
    await fleet.redis.kill();
    await delay(STOPPED_MS);
    return () => fleet.redis.restart();
  },
  'redis stands still': async ({ fleet }) => {
    fleet.redis.signal('SIGSTOP');
    await delay(STOPPED_MS);
    return async () => fleet.redis.signal('SIGCONT');
  },
  'a gateway is cut off from redis': async ({ proxy }) => {
    proxy.freeze();
    await delay(STOPPED_MS);
    return async () => proxy.heal();
  },
  "mongodb's primary is killed": async ({ fleet }) => fleet.mongo.killPrimary(),
  "mongodb's primary stands still": async ({ fleet }) => {
    const thaw = await fleet.mongo.pausePrimary();
    await delay(STOPPED_MS);
    return thaw;
  },
  "mongodb's primary steps down": async ({ fleet }) => {
    await fleet.mongo.stepDown();
    return async () => {};
  },
  'the store is slow': async ({ fleet }) => {
    // Writes wait for most members, again and again, too briefly for an election.
    for (let i = 0; i < 4; i += 1) {
      const thaw = await fleet.mongo.freezeSecondaries();
      await delay(600);
      thaw();
      await delay(600);
    }
    return async () => {};
  },
  'a gateway, redis and the primary at once': async ({ fleet }) => {
    const [, , back] = await Promise.all([fleet.node(2).kill(), fleet.redis.kill(), fleet.mongo.killPrimary()]);
    await delay(STOPPED_MS / 2);
    return () => Promise.all([fleet.node(2).restart(), fleet.redis.restart(), back()]);
  },
};
