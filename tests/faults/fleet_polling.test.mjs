// Clients that poll, through a balancer with no stickiness at all: every request may reach another
// gateway than the one that holds the session, and nobody is to notice, in a rolling restart either.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startBalancer } from '../harness/balancer.mjs';
import { startFleet } from '../harness/fleet.mjs';
import { TRANSPORTS } from '../harness/people.mjs';
import { sleep } from '../harness/process.mjs';
import { gather, underLoad } from './crowd.mjs';

describe('a balancer without stickiness', () => {
  let fleet;
  let balancer;
  before(async () => {
    fleet = await startFleet({ flags: { drain: '3s' } });
    balancer = await startBalancer(fleet.nodes);
  });
  after(async () => {
    await balancer?.stop();
    await fleet?.stop();
  });
  const seen = () => [...balancer.statuses].sort().map(([status, times]) => `${status}: ${times}`).join(', ');

  for (const name of ['polling', 'upgrade']) {
    it(`loses nothing, and answers no 400, by ${name}`, { timeout: 120_000 }, async () => {
      balancer.statuses.clear();
      const crowd = await gather(() => balancer, { options: { transports: TRANSPORTS[name] } });
      try {
        await underLoad(`no stickiness, ${name}`, crowd, async () => {
          await sleep(3_000);
          return seen();
        }, { stays: true });
        assert.equal(balancer.statuses.get(400) ?? 0, 0, seen());
      } finally {
        crowd.close();
      }
    });
  }

  it('goes on so while the gateways are restarted one by one', { timeout: 180_000 }, async () => {
    balancer.statuses.clear();
    const crowd = await gather(() => balancer, { members: 6, options: { transports: TRANSPORTS.polling } });
    try {
      await underLoad('no stickiness, polling, rolling restart', crowd, async () => {
        for (const node of fleet.nodes) {
          node.signal('SIGTERM');
          assert.equal((await node.exited()).code, 0);
          await node.restart();
          await sleep(1_000);
        }
        return seen();
      });
      assert.equal(balancer.statuses.get(400) ?? 0, 0, seen());
    } finally {
      crowd.close();
    }
  });
});
