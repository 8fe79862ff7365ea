// Edits, deletions and titles: whatever meets or is lost on the way, every client ends with what is stored,
// and is never shown an earlier version after a later one.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, converse, device, person, say, wholeLog } from '../harness/people.mjs';
import { HOST, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';
import { scaled } from '../harness/speed.mjs';

const ROUNDS = Number(process.env.SYNCCHAT_TEST_ROUNDS ?? 40);
const CHANGES = ['msg_edited', 'msg_deleted'];

/** What a socket was told of changes of a message, in order. */
const told = (socket, id) => socket.heard.filter(({ event, args }) => CHANGES.includes(event) && args[0].id === id).map(({ args }) => args[0]);

/** That a socket was shown nothing backwards. */
function assertRising(socket) {
  const shown = new Map();
  for (const { event, args } of socket.heard) {
    const message = event === 'msg_sent' ? args[0].message : args[0];
    if (![...CHANGES, 'receive_msg', 'msg_sent'].includes(event)) continue;
    assert.ok(message.rev >= (shown.get(message.id) ?? 1), `${event} of version ${message.rev} after ${shown.get(message.id)}`);
    shown.set(message.id, message.rev);
  }
}

describe('changes that meet', () => {
  let fleet;
  let proxy;
  const open = [];
  before(async () => {
    fleet = await startFleet({
      flags: { 'rate-messages': null, 'rate-requests': 'off' },
      flagsOf: async (i, { redis }) => {
        if (i !== 1) return {};
        proxy = await startProxy(redis.port);
        return { backplane: `redis://${HOST}:${proxy.port}` };
      },
    });
    await reached();
  });
  after(async () => {
    open.forEach((socket) => socket.disconnect());
    await fleet?.stop();
    await proxy?.stop();
  });
  const reached = () =>
    until('every node to reach redis', async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === 3, 15_000);
  const join = async (i, who, options) => {
    const socket = await device(fleet.node(i), who, options);
    open.push(socket);
    return socket;
  };
  /** Ann with a phone and a desk on different nodes, and a reader on the third. */
  const cast = async () => {
    const [ann, bob] = [await person(fleet.node(0)), await person(fleet.node(1))];
    const { id } = await converse(ann, [bob], 'group', 'title');
    return { ann, bob, id, phone: await join(2, ann), desk: await join(0, ann), reader: await join(1, bob) };
  };
  /** That each message is shown as it is stored, once that is so. */
  const assertShown = async (socket, who, id) => {
    const stored = await wholeLog(who, id);
    for (const message of stored.filter(({ rev }) => rev > 1)) {
      await until(`version ${message.rev} of message ${message.seq}`, () => told(socket, message.id).at(-1)?.rev === message.rev);
      assert.equal(told(socket, message.id).at(-1).content, message.content);
    }
    assertRising(socket);
  };

  it('an edit and a deletion at once end deleted on every client', { timeout: scaled(120_000) }, async () => {
    const { bob, id, phone, desk, reader } = await cast();
    for (let round = 0; round < ROUNDS; round += 1) {
      const { id: messageId } = await say(desk, id, `${round}`);
      const [edited, deleted] = await Promise.all([
        ask(phone, 'edit_msg', { messageId, content: 'edited' }),
        ask(desk, 'delete_msg', { messageId }),
      ]);
      assert.ok(deleted.ok && (edited.ok || edited.error.code === 'conflict'));
      if (edited.ok) assert.ok(edited.message.rev < deleted.message.rev);
      await until('the deletion', () => told(reader, messageId).at(-1)?.deleted);
    }
    await assertShown(reader, bob, id);
  });

  it('two edits at once end as they are stored on every client', { timeout: scaled(120_000) }, async () => {
    const { bob, id, phone, desk, reader } = await cast();
    for (let round = 0; round < ROUNDS; round += 1) {
      const { id: messageId } = await say(desk, id, `${round}`);
      const acks = await Promise.all([phone, desk].map((socket, i) => ask(socket, 'edit_msg', { messageId, content: `${i}` })));
      const last = Math.max(...acks.map((ack) => ack.message.rev));
      assert.notEqual(acks[0].message.rev, acks[1].message.rev);
      await until('both', () => told(reader, messageId).at(-1)?.rev === last);
    }
    await assertShown(reader, bob, id);
  });

  it('titles at once end as they are stored on every client', { timeout: scaled(120_000) }, async () => {
    const { ann, bob, id, reader, phone, desk } = await cast();
    const at = (i, title) => ann.api.patch(`${fleet.node(i).url}/api/conversations/${id}`, { title });
    for (let round = 0; round < ROUNDS / 4; round += 1) await Promise.all([at(0, `a${round}`), at(2, `b${round}`)]);
    const { title, rev } = (await bob.api.get(`/conversations/${id}`)).data.conversation;
    for (const socket of [reader, phone, desk]) {
      const titles = () => socket.of('conversation_updated').map((event) => event.conversation);
      await until('the last title', () => titles().at(-1)?.rev === rev);
      assert.equal(titles().at(-1).title, title);
      assert.deepEqual(titles().map((one) => one.rev), titles().map((one) => one.rev).toSorted((a, b) => a - b));
    }
  });

  it('what was changed while a client was away comes with sync, once', async () => {
    const { bob, id, desk, reader } = await cast();
    const [first, second] = [await say(desk, id, 'one'), await say(desk, id, 'two')];
    await reader.hears('receive_msg', ({ seq }) => seq === 2);
    const before = await ask(reader, 'sync', { cursors: { [id]: 2 }, changes: { [id]: 0 } });
    assert.deepEqual([before.conversations[0].changes, before.conversations[0].changeSeq], [[], 1]);
    reader.disconnect();
    await ask(desk, 'edit_msg', { messageId: second.id, content: 'zwei' });
    await ask(desk, 'delete_msg', { messageId: first.id });
    const again = await join(2, bob);
    const sync = async (changeSeq) => (await ask(again, 'sync', { cursors: { [id]: 2 }, changes: { [id]: changeSeq } })).conversations[0];
    const missed = await sync(1);
    assert.deepEqual(missed.changes.map(({ seq, content, deleted, rev }) => [seq, content, deleted, rev]), [
      [2, 'zwei', false, 2],
      [1, '', true, 3],
    ]);
    assert.deepEqual([missed.changeSeq, (await sync(missed.changeSeq)).changes], [3, []]);
  });

  it('a deletion by a gateway that ended while another was cut off reaches every client', { timeout: scaled(90_000) }, async () => {
    const { ann, bob, id, desk, reader } = await cast();
    const eve = await person(fleet.node(1));
    await ann.api.post(`/conversations/${id}/participants`, { userId: eve.id });
    const away = await join(1, eve);
    await away.hears('authenticated');
    const first = await say(desk, id, 'hello');
    await away.hears('receive_msg', (m) => m.id === first.id);
    away.io.reconnection(false);
    away.io.engine.close();
    const secret = await say(desk, id, 'a secret');
    await reader.hears('receive_msg', (m) => m.id === secret.id);
    proxy.cut();
    await until('the cut to be noticed', async () => (await total([fleet.node(1)], 'syncchat_backplane_connected')) === 0, 15_000);
    assert.ok((await ask(desk, 'delete_msg', { messageId: secret.id })).ok);
    // No other node has heard of it, and the one that said it is gone.
    fleet.node(0).signal('SIGTERM');
    await fleet.node(0).exited();
    await reader.hears('msg_deleted', (m) => m.id === secret.id, 5_000);
    away.connect();
    await until('eve to be back', () => away.connected);
    const got = await away.hears('receive_msg', (m) => m.id === secret.id);
    assert.deepEqual([got.content, got.deleted, away.recovered], ['', true, true]);
    proxy.heal();
    await until('the cut to be healed', async () => (await total([fleet.node(1)], 'syncchat_backplane_connected')) === 1, 15_000);
    assert.equal(told(reader, secret.id).length, 1);
    assertRising(reader);
    await assertShown(reader, bob, id);
  });
});
