// One gateway of a fleet loses its way to MongoDB. Sockets stay; nothing acknowledged is lost, and the
// others go on.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet } from '../harness/fleet.mjs';
import { HOST, sleep, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';

// The core answers within 10 s whatever the store does; the rest is the client's and the machine's.
const LONGEST_WAIT_MS = 13_000;

const longestWait = (crowd) => Math.max(...crowd.talkers.map((talker) => talker.longestWaitMs));

describe('one gateway without its store', () => {
  let fleet;
  let proxy;
  let crowd;
  before(async () => {
    fleet = await startFleet({
      flagsOf: async (i, { mongo }) => {
        if (i !== 2) return {};
        proxy = await startProxy(mongo.port);
        return { store: `mongodb://${HOST}:${proxy.port}/syncchat?directConnection=true` };
      },
    });
  });
  after(async () => {
    await fleet?.stop();
    await proxy?.stop();
  });
  const scenario = (name, breaks) =>
    it(name, { timeout: scaled(180_000) }, async () => {
      crowd = await gather(fleet.node);
      try {
        await underLoad(name, crowd, async () => {
          breaks(proxy);
          await sleep(8_000);
          proxy.heal();
          await until('the gateway to be ready', async () => (await fetch(`${fleet.node(2).admin}/readyz`)).ok, 15_000);
          return `longest wait for an answer ${longestWait(crowd)} ms`;
        }, { stays: true });
        assert.ok(longestWait(crowd) < scaled(LONGEST_WAIT_MS), `an answer took ${longestWait(crowd)} ms`);
      } finally {
        crowd.close();
      }
    });

  scenario('one gateway cut off from mongodb', (network) => network.cut());
  scenario('one gateway on a dead network to mongodb', (network) => network.freeze());
  scenario('one gateway on a slow network to mongodb', (network) => {
    network.delay(40);
    network.throttle(400_000);
  });
});
