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

  it('traces a message over all gateways', async () => {
    const [ann, bob, away] = await Promise.all(Array.from({ length: 3 }, () => person(fleet.haproxy)));
    const { id } = await converse(ann, [bob, away]);
    const [a, b1, b2] = [await device(fleet.node(0), ann), await device(fleet.node(1), bob), await device(fleet.node(1), bob)];
    open.push(a, b1, b2);
    const message = await say(a, id, 'where does it go?');
    for (const socket of [b1, b2]) await socket.hears('receive_msg', (m) => m.id === message.id);
    assert.equal((await ask(b1, 'mark_read', { conversationId: id, seq: 1 })).ok, true);
    const said = await fleet.command('trace', message.id);
    const lines = said.trimEnd().split('\n').map((line) => line.replace(/[+-]\d+ ms( to [+-]\d+ ms)?/, 'T'));
    const under = (heading) => {
      const from = lines.findIndex((line) => line.startsWith(heading));
      const next = lines.findIndex((line, i) => i > from && !line.startsWith(' '));
      return lines.slice(from, next < 0 ? undefined : next).map((line) => line.slice(11)).sort();
    };
    assert.deepEqual(under('message'), [`${message.id}, seq 1 of conversation ${id}`]);
    assert.equal(under('committed')[0], `accepted ${message.createdAt} from ${ann.id}`);
    assert.deepEqual(under('published'), ['by n1, T']);
    assert.deepEqual(under('seen'), ['n1 T', 'n2 T', 'n3 not, or too long ago']);
    assert.deepEqual(under('written'), ['n1 to 1 socket, T', 'n2 to 2 sockets, T']);
    assert.ok(under('read').includes(`${bob.id} yes, up to 1`) && under('read').includes(`${away.id} no, up to 0`), said);
    assert.ok(under('delivered').includes(`${bob.id} yes, up to 1`), said);
    await assert.rejects(fleet.command('trace', 'f'.repeat(24)), /there is no message/);
    assert.equal((await fetch(`${fleet.node(0).url}/internal/trace/${message.id}`)).status, 404);
  });

  it('counts log-ins that fail on all gateways together', async () => {
    const who = await person(fleet.haproxy);
    const { api } = who;
    const codes = [];
    for (let i = 0; i < 6; i += 1) codes.push((await api.post('/auth/login', { login: who.username, password: 'wrong wrong' })).status);
    assert.deepEqual(codes, [401, 401, 401, 429, 429, 429]);
  });
});
