// A gateway of three is killed, stopped, or told to go, behind HAProxy. Its people come back on the
// others; nothing acknowledged is lost.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { converse, person } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { gather, underLoad } from './crowd.mjs';
import { Listener, seedOfRun, seeded } from './workload.mjs';

// A short form of it all is part of `make test`, the long one of `make chaos`.
const LONG = Number(process.env.SYNCCHAT_CHAOS_SECONDS ?? 0) > 0;
const KILLS = LONG ? 20 : 3;
const STOP_S = LONG ? 15 : 9;
const DRAIN_S = LONG ? 10 : 3;
const SOCKETS = LONG ? 3_000 : 150;

const ready = (haproxy) =>
  until('haproxy to see all gateways', async () => [...(await haproxy.servers()).values()].every((s) => s === 'UP'), 20_000);

describe('a gateway of a fleet', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ haproxy: true, flags: { 'ping-interval': '2s', 'ping-timeout': '2s' } });
  });
  after(() => fleet?.stop());
  const front = () => fleet.haproxy;

  it('is killed again and again', { timeout: scaled(240_000) }, async () => {
    const random = seeded(seedOfRun());
    const crowd = await gather(front, { members: 6 });
    try {
      const away = [];
      await underLoad(`a gateway killed ${KILLS} times`, crowd, async () => {
        for (let kill = 0; kill < KILLS; kill += 1) {
          const node = fleet.node(Math.floor(random() * 3));
          await sleep(200 + random() * 500);
          const began = Date.now();
          await node.kill();
          await crowd.answered();
          away.push(Date.now() - began);
          await node.restart();
          await ready(front());
        }
        return `everybody answered again after ${away.join(', ')} ms`;
      });
      assert.ok(crowd.listeners.some((listener) => listener.connections > 1), 'the kills were felt');
    } finally {
      crowd.close();
    }
  });

  it(`stops for ${STOP_S} s, as a partition would have it`, { timeout: scaled(120_000) }, async () => {
    await ready(front());
    const crowd = await gather(front, { members: 6 });
    const node = fleet.node(1);
    try {
      await underLoad(`a gateway stopped for ${STOP_S} s`, crowd, async () => {
        node.signal('SIGSTOP');
        try {
          const began = Date.now();
          await crowd.answered(STOP_S * 1_000 + 10_000);
          const answered = Date.now() - began;
          await sleep(STOP_S * 1_000 - answered);
          return `everybody answered again after ${answered} ms`;
        } finally {
          node.signal('SIGCONT');
        }
      });
    } finally {
      node.signal('SIGCONT');
      crowd.close();
    }
  });
});

describe('a gateway that is told to go', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ haproxy: true, flags: { drain: `${DRAIN_S}s` } });
  });
  after(() => fleet?.stop());
  const front = () => fleet.haproxy;

  it(`leaves with a third of ${SOCKETS} sockets`, { timeout: scaled(300_000) }, async () => {
    const crowd = await gather(front, { members: 6 });
    // A room of its own for those who only listen: everyone in it hears all that is said there.
    const [speaker, ...audience] = await Promise.all(Array.from({ length: 21 }, () => person(front(), 'audience')));
    const { id } = await converse(speaker, audience, 'group');
    const listeners = [];
    for (let i = 0; i < SOCKETS; i += 1) {
      // Every third begins with polls, as the official client does unless told otherwise.
      const options = i % 3 === 0 ? { transports: ['polling', 'websocket'], withCredentials: true } : {};
      listeners.push(new Listener(front(), audience[i % audience.length], [id], options));
    }
    const leaving = fleet.node(0);
    const handshakes = () => total(fleet.nodes.slice(1), 'syncchat_handshakes_total');
    let gone = false;
    try {
      for (let i = 0; i < SOCKETS; i += 50) await Promise.all(listeners.slice(i, i + 50).map((one) => one.open()));
      const held = (await leaving.metrics()).get('syncchat_connections');
      const said = await underLoad(`SIGTERM with ${held} of ${SOCKETS} sockets`, crowd, async () => {
        const rates = [];
        let count = await handshakes();
        const began = Date.now();
        let last = began;
        leaving.signal('SIGTERM');
        const exit = leaving.exited();
        exit.then(() => {
          gone = true;
        });
        while (!gone || !listeners.every((one) => one.socket.connected)) {
          if (Date.now() - began > DRAIN_S * 1_000 + scaled(5_000)) break;
          await sleep(500);
          const now = await handshakes();
          rates.push(Math.round(((now - count) * 1_000) / (Date.now() - last)));
          [count, last] = [now, Date.now()];
        }
        const back = Date.now() - began;
        assert.equal((await exit).code, 0);
        assert.ok(listeners.every((one) => one.socket.connected), `not all are back ${back} ms after SIGTERM`);
        const errors = listeners.reduce((sum, one) => sum + one.connectErrors, 0);
        return `all back after ${back} ms (drain ${DRAIN_S} s), at most ${Math.max(...rates)} handshakes a second, ${errors} failed tries to connect`;
      });
      assert.ok(said.during.length > 0);
      const moved = listeners.filter((one) => one.connections > 1).length;
      assert.ok(moved >= held * 0.5, `only ${moved} of ${held} moved`);
      // What is said now reaches them all, wherever they are.
      for (let i = 1; i <= 5; i += 1) {
        const answer = await speaker.api.post(`/conversations/${id}/messages`, { content: `word ${i}` });
        assert.equal(answer.status, 201);
      }
      await until('all to hold the words', () => listeners.every((one) => one.held.get(id).size === 5), 10_000);
      assert.deepEqual(listeners.flatMap((one) => one.faults), []);
    } finally {
      crowd.close();
      listeners.forEach((one) => one.close());
      if (gone) await leaving.restart();
    }
  });
});
