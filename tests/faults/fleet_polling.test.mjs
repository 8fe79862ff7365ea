// Clients that poll, through a balancer with no stickiness at all: every request may reach another
// gateway than the one that holds the session, and nobody is to notice, in a rolling restart either.
import assert from 'node:assert/strict';
import { after, afterEach, before, beforeEach, describe, it } from 'node:test';
import { startBalancer } from '../harness/balancer.mjs';
import { startFleet } from '../harness/fleet.mjs';
import { TRANSPORTS } from '../harness/people.mjs';
import { sleep } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';

describe('a balancer without stickiness', () => {
  let fleet;
  let balancer;
  before(async () => {
    fleet = await startFleet({ flags: { drain: '3s' } });
  });
  after(() => fleet?.stop());
  beforeEach(async () => {
    balancer = await startBalancer(fleet.nodes);
  });
  afterEach(() => balancer?.stop());
  const seen = () => [...balancer.statuses].sort().map(([status, times]) => `${status}: ${times}`).join(', ');
  /** No request of a session was refused, by any status. A handshake is, by a gateway that drains. */
  const assertNoneRefused = () => {
    assert.deepEqual(balancer.refusals, [], seen());
    assert.equal(balancer.statuses.get(400) ?? 0, 0, seen());
  };

  for (const name of ['polling', 'upgrade']) {
    it(`loses nothing, and answers no 400, by ${name}`, { timeout: scaled(120_000) }, async () => {
      const crowd = await gather(() => balancer, { options: { transports: TRANSPORTS[name] } });
      try {
        await underLoad(`no stickiness, ${name}`, crowd, async () => {
          await sleep(3_000);
          return seen();
        }, { stays: true });
        assertNoneRefused();
      } finally {
        crowd.close();
      }
    });
  }

  it('goes on so while the gateways are restarted one by one', { timeout: scaled(180_000) }, async () => {
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
      assertNoneRefused();
    } finally {
      crowd.close();
    }
  });
});
