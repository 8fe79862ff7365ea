// Through HAProxy, as people come in: every transport, and the address of the client.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { TRANSPORTS, ask, converse, device, person, say } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';

describe('a fleet behind HAProxy', () => {
  let fleet;
  const open = [];
  before(async () => {
    fleet = await startFleet({ haproxy: true, flags: { 'rate-logins': '10/m:3' } });
  });
  after(async () => {
    open.forEach((socket) => socket.disconnect());
    await fleet?.stop();
  });
  const join = async (who, options) => {
    const socket = await device(fleet.haproxy, who, { withCredentials: true, ...options });
    open.push(socket);
    return socket;
  };

  for (const [name, transports] of Object.entries(TRANSPORTS)) {
    it(`serves ${name}`, async () => {
      const people = await Promise.all(Array.from({ length: 4 }, () => person(fleet.haproxy)));
      const { id } = await converse(people[0], people.slice(1));
      const sockets = await Promise.all(people.map((who) => join(who, { transports })));
      if (name === 'upgrade') {
        for (const socket of sockets) await until('the upgrade', () => socket.io.engine.transport.name === 'websocket');
      }
      for (const [i, socket] of sockets.entries()) for (let n = 0; n < 5; n += 1) await say(socket, id, `${i} ${n}`);
      for (const socket of sockets) {
        await until('the others\' messages', () => socket.received(id).length === 15);
        const seqs = socket.received(id).map((m) => m.seq);
        assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y));
      }
    });
  }

  for (const name of ['polling', 'upgrade']) {
    it(`serves ${name} to clients that keep no cookie`, async () => {
      const people = await Promise.all(Array.from({ length: 3 }, () => person(fleet.haproxy)));
      const { id } = await converse(people[0], people.slice(1));
      const options = { transports: TRANSPORTS[name], withCredentials: false };
      const sockets = await Promise.all(people.map((who) => join(who, options)));
      if (name === 'upgrade') {
        for (const socket of sockets) await until('the upgrade', () => socket.io.engine.transport.name === 'websocket');
      }
      for (const socket of sockets) for (let n = 0; n < 5; n += 1) await say(socket, id, `word ${n}`);
      for (const socket of sockets) await until('the others\' messages', () => socket.received(id).length === 10);
      assert.ok((await total(fleet.nodes, 'syncchat_forwarded_requests_total')) > 0);
    });
  }

  it('spreads sockets over the gateways', async () => {
    const who = await person(fleet.haproxy);
    const sockets = await Promise.all(Array.from({ length: 9 }, () => join(who)));
    const nodes = sockets.map((socket) => socket.of('authenticated')[0].node);
    assert.equal(new Set(nodes).size, 3, nodes.join(' '));
    assert.equal((await ask(sockets[0], 'sync', { cursors: {}, all: true })).ok, true);
  });

  it('counts log-ins that fail on all gateways together', async () => {
    const who = await person(fleet.haproxy);
    const { api } = who;
    const codes = [];
    for (let i = 0; i < 6; i += 1) codes.push((await api.post('/auth/login', { login: who.username, password: 'wrong wrong' })).status);
    assert.deepEqual(codes, [401, 401, 401, 429, 429, 429]);
  });
});
