// Socket.IO's own recovery: who loses the connection comes back on another gateway and is told what
// was missed, by the official client alone, whatever died meanwhile.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { TRANSPORTS, converse, device, person, rest, socketOf } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

const seqs = (messages) => messages.map((message) => message.seq);
const upTo = (last) => Array.from({ length: last }, (_, i) => i + 1);

describe('recovery of a connection', () => {
  let fleet;
  before(async () => {
    fleet = await startFleet({ haproxy: true });
  });
  after(() => fleet?.stop());

  const post = async (node, who, id, content) => {
    const answer = await rest(node.url, who.token).post(`/conversations/${id}/messages`, { content });
    assert.equal(answer.status, 201, JSON.stringify(answer.data));
    return answer.data.message;
  };
  const nodeOf = (socket) => {
    const name = socket.of('authenticated').at(-1).node;
    return fleet.nodes[Number(name.slice(1)) - 1];
  };
  const delays = { reconnectionDelay: scaled(1_000), reconnectionDelayMax: scaled(1_000) };
  const back = (socket, times) =>
    until('it to be back', () => socket.connected && socket.of('authenticated').length === times, 20_000);

  const ways = [
    ['websocket', false],
    ['websocket', true],
    ['polling', false],
    ['upgrade', false],
  ];
  for (const [transport, emptied] of ways) {
    const name = `works on another gateway by ${transport} after the first was killed`;
    it(emptied ? `${name} and Redis emptied` : name, { timeout: scaled(90_000) }, async () => {
      const [ann, bob, cat] = [await person(fleet.haproxy), await person(fleet.haproxy), await person(fleet.haproxy)];
      const ids = [(await converse(ann, [bob])).id];
      for (let i = 0; i < 4; i += 1) ids.push((await converse(ann, [bob, cat])).id);
      const silent = ids.pop();
      await post(fleet.haproxy, ann, ids[2], 'long before');
      const socket = await device(fleet.haproxy, bob, {
        transports: TRANSPORTS[transport],
        withCredentials: true,
        ...delays,
      });
      assert.equal(socket.recovered, false);
      const held = nodeOf(socket);
      const [other] = fleet.nodes.filter((node) => node !== held);
      let restarted = Promise.resolve();
      try {
        for (const id of ids) await post(held, ann, id, 'before');
        await until('it to be heard', () => socket.received().length === ids.length);
        await held.kill();
        if (emptied) await fleet.redis.cli('flushall');
        for (const word of ['missed 1', 'missed 2', 'missed 3']) {
          for (const id of ids.slice(0, 3)) await post(other, ann, id, word);
        }
        await rest(other.url, ann.token).patch(`/messages/${(await post(other, ann, ids[0], 'tpyo')).id}`, { content: 'typo' });
        const { id: made } = await converse({ ...ann, api: rest(other.url, ann.token) }, [cat, bob]);
        await post(other, ann, made, 'in a new one');
        await back(socket, 2);
        assert.equal(socket.recovered, true);
        assert.notEqual(nodeOf(socket), held);
        for (const id of [...ids, made]) await post(other, ann, id, 'live');
        const heard = (id, count) => until(`${count} in ${id}`, () => socket.received(id).length >= count);
        await Promise.all([heard(ids[0], 6), heard(ids[1], 5), heard(ids[2], 5), heard(ids[3], 2), heard(made, 2)]);
        await sleep(300);
        assert.deepEqual(seqs(socket.received(ids[0])), upTo(6));
        assert.equal(socket.received(ids[0])[4].content, 'typo');
        assert.deepEqual(seqs(socket.received(ids[1])), upTo(5));
        assert.deepEqual(seqs(socket.received(ids[2])), [2, 3, 4, 5, 6]);
        assert.deepEqual(seqs(socket.received(ids[3])), upTo(2));
        assert.deepEqual(seqs(socket.received(made)), upTo(2));
        assert.deepEqual(seqs(socket.received(silent)), []);
        assert.equal(socket.of('conversation_created').filter((e) => e.conversation.id === made).length, 1);
      } finally {
        socket.disconnect();
        restarted = held.restart();
      }
      await restarted;
    });
  }

  it('loses and doubles nothing while the connection breaks again and again', { timeout: scaled(60_000) }, async () => {
    const [ann, bob] = [await person(fleet.haproxy), await person(fleet.haproxy)];
    const ids = [(await converse(ann, [bob])).id];
    for (let i = 0; i < 24; i += 1) ids.push((await converse(ann, [bob], 'group')).id);
    const socket = await device(fleet.haproxy, bob, { reconnectionDelay: 50, reconnectionDelayMax: 150 });
    const results = [];
    socket.on('connect', () => results.push(socket.recovered));
    let [talking, sent] = [true, 0];
    const talk = async (turn) => {
      for (let i = turn; talking; i += 1) {
        await post(fleet.node(i), ann, ids[(i * 7) % ids.length], `word ${i}`);
        sent += 1;
      }
    };
    const talkers = [talk(0), talk(1), talk(2)];
    for (let i = 0; i < 15; i += 1) {
      await sleep(300);
      await until('it to be there', () => socket.connected);
      socket.io.engine.transport.ws?.terminate();
      await until('it to be away', () => !socket.connected);
    }
    await sleep(500);
    talking = false;
    await Promise.all(talkers);
    await until('all to be heard', () => socket.received().length >= sent, 10_000);
    await sleep(300);
    for (const id of ids) {
      const got = seqs(socket.received(id));
      assert.deepEqual(got, upTo(got.length), `in ${id}`);
    }
    assert.equal(socket.received().length, sent);
    assert.deepEqual(results, results.map(() => true));
    assert.ok(results.length >= 15, `${results.length} returns`);
    socket.disconnect();
  });

  it('begins where the offset says, and nowhere for who has none', { timeout: scaled(60_000) }, async () => {
    const [ann, bob, eve] = [await person(fleet.haproxy), await person(fleet.haproxy), await person(fleet.haproxy)];
    const { id } = await converse(ann, [bob, eve]);
    const first = await device(fleet.node(0), bob);
    const offsets = [first._lastOffset];
    for (let i = 1; i <= 3; i += 1) {
      await post(fleet.node(1), ann, id, `word ${i}`);
      await until('it to be heard', () => first.received(id).length === i);
      offsets.push(first._lastOffset);
    }
    const pid = first._pid;
    assert.ok(offsets.every((offset) => offset.length < 100), offsets.join(' '));
    first.disconnect();

    const comeAs = async (who, state) => {
      const socket = socketOf(fleet.node(2), { auth: { token: who.token }, autoConnect: false });
      Object.assign(socket, state).connect();
      await socket.hears('authenticated');
      return socket;
    };
    for (const [had, offset] of offsets.entries()) {
      const socket = await comeAs(bob, { _pid: pid, _lastOffset: offset });
      assert.equal(socket.recovered, true);
      await until('what was missed', () => socket.received(id).length === 3 - had);
      await sleep(100);
      assert.deepEqual(seqs(socket.received(id)), upTo(3).slice(had));
      socket.disconnect();
    }
    const wrong = [
      [eve, { _pid: pid, _lastOffset: offsets[0] }],
      [bob, { _pid: 'Q87KQhvQ87KQhvQ87KQh', _lastOffset: offsets[0] }],
      [bob, { _pid: pid, _lastOffset: 'Q87KQhv.0' }],
      [bob, { _pid: pid, _lastOffset: `${offsets[0].slice(0, -2)}AA` }],
      [bob, { _pid: pid, _lastOffset: undefined }],
      [bob, { _pid: pid, _lastOffset: 'A'.repeat(90_000) }],
      [bob, { _pid: 'A'.repeat(90_000), _lastOffset: offsets[0] }],
      [bob, { _pid: pid, _lastOffset: { $gt: '' } }],
    ];
    for (const [who, state] of wrong) {
      const socket = await comeAs(who, state);
      const what = JSON.stringify(state).slice(0, 80);
      assert.equal(socket.recovered, false, what);
      await sleep(100);
      assert.deepEqual(socket.received(id), [], what);
      assert.notEqual(socket._pid, pid);
      const { seq } = await post(fleet.node(1), ann, id, 'live');
      await until('it to be heard', () => socket.received(id).length === 1);
      assert.equal(socket.received(id)[0].seq, seq);
      socket.disconnect();
    }
    assert.ok((await total(fleet.nodes, 'syncchat_recoveries_total{result="recovered"}')) >= offsets.length);
    assert.ok((await total(fleet.nodes, 'syncchat_recoveries_total{result="invalid"}')) >= wrong.length);
  });

  it('is honest when it cannot be had', { timeout: scaled(30_000) }, async () => {
    const [ann, bob] = [await person(fleet.haproxy), await person(fleet.haproxy)];
    const { id } = await converse(ann, [bob], 'group');
    const socket = await device(fleet.node(0), bob, { reconnectionDelay: scaled(700), reconnectionDelayMax: scaled(700) });
    await post(fleet.node(1), ann, id, 'before');
    await until('it to be heard', () => socket.received(id).length === 1);
    socket.io.engine.transport.ws.terminate();
    const removed = await rest(fleet.node(1).url, ann.token).delete(`/conversations/${id}/participants/${bob.id}`);
    assert.ok(removed.status < 300, JSON.stringify(removed.data));
    await post(fleet.node(1), ann, id, 'not for bob');
    await back(socket, 2);
    assert.equal(socket.recovered, false);
    await sleep(300);
    assert.deepEqual(seqs(socket.received(id)), [1]);
    socket.disconnect();
  });

  it('goes on after an end of its own too, unless the client asks to begin anew', { timeout: scaled(30_000) }, async () => {
    const [ann, bob] = [await person(fleet.haproxy), await person(fleet.haproxy)];
    const { id } = await converse(ann, [bob]);
    const socket = await device(fleet.node(0), bob);
    for (const [auth, recovered, heard] of [
      [{ token: bob.token }, true, [1]],
      [{ token: bob.token, pid: null }, false, [1]],
      [{ token: bob.token }, true, [1, 3]],
    ]) {
      socket.disconnect();
      await post(fleet.node(1), ann, id, 'meanwhile');
      socket.auth = auth;
      const times = socket.of('authenticated').length;
      socket.connect();
      await back(socket, times + 1);
      assert.equal(socket.recovered, recovered);
      await sleep(300);
      assert.deepEqual(seqs(socket.received(id)), heard);
    }
    socket.disconnect();
  });
});
