// Writes whose outcome is unknown: the store has them, and the node was not told so. Whatever they were,
// everybody who is connected hears of them, on the socket they had.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, converse, device, person, say } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

/** MongoDB's code for a write that was done and is not known to be on most members. */
const WRITE_CONCERN_TIMEOUT = 64;
/** From when the store answers again: the contract's two seconds, on a busy machine. */
const KNOWN_MS = 4_000;
/** Long enough for a request that the store does not answer. */
const REQUEST_MS = 20_000;

const named = (id) => (created) => created.conversation.id === id;
const created = (socket, id) => socket.of('conversation_created').filter(named(id)).length;
const seqs = (socket, id) => socket.received(id).map((message) => message.seq);

/** Two nodes, x on the first, y and z on the second; only z shares a group with x. */
async function gather(fleet) {
  const [x, y, z] = [await person(fleet.node(0), 'x'), await person(fleet.node(1), 'y'), await person(fleet.node(1), 'z')];
  const sx = await device(fleet.node(0), x);
  const [sy, sz] = [await device(fleet.node(1), y, { reconnection: false }), await device(fleet.node(1), z, { reconnection: false })];
  const close = () => [sx, sy, sz].forEach((socket) => socket.disconnect());
  return { x, y, z, sx, sy, sz, close };
}

describe('mongodb does not say whether it has written', () => {
  let fleet;
  let people;
  before(async () => {
    fleet = await startFleet({ nodes: 2 });
    people = await gather(fleet);
  });
  after(async () => {
    people?.close();
    await fleet?.stop();
  });

  /** Runs `write` while MongoDB does what it is told and says that it does not know. */
  const unsaid = async (failCommands, write) => {
    const writeConcernError = { code: WRITE_CONCERN_TIMEOUT, errmsg: 'waiting for replication timed out' };
    await fleet.mongo.fail({ failCommands, writeConcernError });
    try {
      return await write();
    } finally {
      await fleet.mongo.heal();
    }
  };

  it('a private conversation', { timeout: scaled(60_000) }, async () => {
    const { x, y, sx, sy } = people;
    const request = { type: 'private', participants: [y.id] };
    const refused = await unsaid(['commitTransaction'], () => x.api.post('/conversations', request));
    assert.equal(refused.status, 503);
    const made = await sy.hears('conversation_created', (event) => event.conversation.type === 'private', KNOWN_MS);
    const again = await x.api.post('/conversations', request);
    const { id } = again.data.conversation;
    assert.equal(made.conversation.id, id);
    for (const content of ['are', 'you', 'there?']) await say(sx, id, content);
    await until('y to hear all of it', () => seqs(sy, id).length === 3);
    assert.deepEqual(seqs(sy, id), [1, 2, 3]);
    assert.equal(created(sy, id), 1, 'told once');
    assert.equal(created(sx, id), 1);
  });

  it('an addition, a title, a removal', { timeout: scaled(60_000) }, async () => {
    const { x, y, z, sx, sy, sz } = people;
    const { id } = await converse(x, [z], 'group', 'old');
    await sz.hears('conversation_created', named(id));
    await say(sx, id, '1');
    // The node finds it by its id when it tries again, and answers as usual.
    const added = await unsaid(['commitTransaction'], () =>
      x.api.post(`/conversations/${id}/participants`, { userId: y.id }));
    assert.equal(added.status, 200);
    await sy.hears('conversation_created', named(id), KNOWN_MS);
    await say(sx, id, 'welcome');
    await until('y to hear it', () => seqs(sy, id).length === 2);
    assert.deepEqual(seqs(sy, id), [2, 3]);
    const renamed = await unsaid(['commitTransaction'], () => x.api.patch(`/conversations/${id}`, { title: 'new' }));
    assert.equal(renamed.status, 200);
    await sy.hears('conversation_updated', (event) => event.conversation.title === 'new', KNOWN_MS);
    const removed = await unsaid(['commitTransaction'], () => x.api.delete(`/conversations/${id}/participants/${y.id}`));
    assert.ok(removed.status < 300, String(removed.status));
    await sy.hears('member_removed', (event) => event.userId === y.id, KNOWN_MS);
    await say(sx, id, 'behind their back');
    await sz.hears('receive_msg', (message) => message.content === 'behind their back');
    assert.deepEqual(seqs(sy, id), [2, 3, 4, 5]);
    assert.equal(created(sy, id), 1, 'told once');
  });

  it('an edit, a deletion, a cursor', { timeout: scaled(60_000) }, async () => {
    const { x, z, sx, sz } = people;
    const { id } = await converse(x, [z], 'group', 'g');
    await sz.hears('conversation_created', named(id));
    const secret = await say(sx, id, 'hunter2');
    await sz.hears('receive_msg', (message) => message.id === secret.id);
    const writes = ['update', 'commitTransaction'];
    const edited = await unsaid(writes, () => x.api.patch(`/messages/${secret.id}`, { content: 'hunter3' }));
    assert.equal(edited.status, 503);
    await sz.hears('msg_edited', (message) => message.content === 'hunter3', KNOWN_MS);
    const deleted = await unsaid(writes, () => x.api.delete(`/messages/${secret.id}`));
    assert.equal(deleted.status, 503);
    await sz.hears('msg_deleted', (message) => message.id === secret.id, KNOWN_MS);
    const heard = sz.of('msg_deleted').length;
    const again = await x.api.delete(`/messages/${secret.id}`);
    assert.equal(again.status, 200);
    assert.equal(again.data.message.content, '');
    // It is announced again, for nodes that did not hear of it; who has it is not told twice.
    await say(sx, id, 'and on');
    await sz.hears('receive_msg', (message) => message.content === 'and on');
    assert.equal(sz.of('msg_deleted').length, heard);
    const marked = await unsaid(writes, () => ask(sz, 'mark_read', { conversationId: id, seq: 1 }, REQUEST_MS));
    assert.equal(marked.ok, false);
    await sx.hears('msg_status', (event) => event.conversationId === id && event.status === 'read', KNOWN_MS);
  });

  it('is counted', async () => {
    assert.ok((await total([fleet.node(0)], 'syncchat_in_doubt_writes_found_total')) >= 3);
    assert.equal(await total(fleet.nodes, 'syncchat_commit_doubts_dropped_total'), 0);
  });
});

describe('the secondaries stand still for a while', () => {
  let fleet;
  let people;
  before(async () => {
    fleet = await startFleet({ nodes: 2, store: 'slowReplicaSet' });
    people = await gather(fleet);
  });
  after(async () => {
    people?.close();
    await fleet?.stop();
  });

  /** Runs `write`, and again while it is refused; the secondaries go on after `ms`. */
  const slowly = async (ms, write) => {
    const thaw = await fleet.mongo.freezeSecondaries();
    const timer = setTimeout(thaw, ms);
    try {
      let answer = await write();
      const first = answer.status;
      clearTimeout(timer);
      thaw();
      await fleet.mongo.writable();
      while (answer.status === 503) answer = await write();
      assert.ok(answer.status < 300, String(answer.status));
      return { first, data: answer.data };
    } finally {
      clearTimeout(timer);
      thaw();
    }
  };

  for (const pause of [4_000, 7_000]) {
    it(`for ${pause / 1_000} s`, { timeout: scaled(180_000) }, async () => {
      const { x, y, z, sx, sy, sz } = people;
      const w = await person(fleet.node(0), 'w');
      const sw = await device(fleet.node(1), w, { reconnection: false });
      const { id: group } = await converse(x, [z], 'group', 'g');
      await sz.hears('conversation_created', named(group));
      const made = await slowly(pause, () => x.api.post('/conversations', { type: 'private', participants: [w.id] }));
      const { id: pair } = made.data.conversation;
      const hello = await say(sx, pair, 'are you there?');
      await sw.hears('receive_msg', (message) => message.id === hello.id, KNOWN_MS);
      assert.equal(created(sw, pair), 1);
      const added = await slowly(pause, () => x.api.post(`/conversations/${group}/participants`, { userId: y.id }));
      const welcome = await say(sx, group, 'welcome');
      await sy.hears('receive_msg', (message) => message.id === welcome.id, KNOWN_MS);
      assert.equal(created(sy, group), 1);
      const secret = await say(sx, group, 'hunter2');
      await sy.hears('receive_msg', (message) => message.id === secret.id);
      const deleted = await slowly(pause, () => x.api.delete(`/messages/${secret.id}`));
      await sy.hears('msg_deleted', (message) => message.id === secret.id, KNOWN_MS);
      console.log(`first answers: ${made.first}, ${added.first}, ${deleted.first}`);
      sw.disconnect();
    });
  }
});
