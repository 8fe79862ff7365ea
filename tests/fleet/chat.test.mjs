// One chat on three gateways, with the official client: whoever is where hears everything, once and
// in order.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startFleet, total } from '../harness/fleet.mjs';
import { TRANSPORTS, ask, converse, device, person, rest, say, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';

const upTo = (n) => Array.from({ length: n }, (_, i) => i + 1);

for (const backplane of (process.env.SYNCCHAT_TEST_BACKPLANES ?? 'redis,cluster').split(',')) {
  describe(`chat across gateways on ${backplane}`, () => {
    let fleet;
    const open = [];
    before(async () => {
      fleet = await startFleet({ backplane, flags: { 'rate-messages': null } });
      await until('redis to be reached', async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === 3);
    });
    after(async () => {
      open.forEach((socket) => socket.disconnect());
      await fleet?.stop();
    });
    const join = async (i, who, options) => {
      const socket = await device(fleet.node(i), who, options);
      open.push(socket);
      return socket;
    };
    const crowd = (n) => Promise.all(Array.from({ length: n }, (_, i) => person(fleet.node(i))));

    it('knows on every gateway who was registered on one', async () => {
      const ann = await person(fleet.node(0));
      for (const node of fleet.nodes) {
        const answer = await rest(node.url, ann.token).get('/users/me');
        assert.equal(answer.status, 200);
        assert.equal(answer.data.user.id, ann.id);
      }
      const again = await rest(fleet.node(2).url).post('/auth/refresh', { refreshToken: ann.refreshToken });
      assert.equal(again.status, 200);
      const names = await Promise.all(fleet.nodes.map(async (_, i) => (await (await join(i, ann)).hears('authenticated')).node));
      assert.deepEqual(names, ['n1', 'n2', 'n3']);
    });

    it('carries a message to every device of every member, wherever they are', async () => {
      const [ann, bob, eve] = await crowd(3);
      const { id } = await converse(ann, [bob]);
      const a = [await join(0, ann), await join(1, ann)];
      const b = [await join(1, bob), await join(2, bob, { transports: TRANSPORTS.polling })];
      const stranger = await join(1, eve);
      const message = await say(a[0], id, 'hello');
      for (const socket of [a[1], ...b]) assert.deepEqual(await socket.hears('receive_msg', (m) => m.id === message.id), message);
      const answer = await say(b[1], id, 'hello to you');
      assert.equal(answer.seq, 2);
      for (const socket of [...a, b[0]]) await socket.hears('receive_msg', (m) => m.id === answer.id);
      await sleep(200);
      assert.deepEqual([a[0], a[1], b[0], b[1]].map((socket) => socket.received(id).map((m) => m.seq)), [[2], [1, 2], [1, 2], [1]]);
      assert.equal(stranger.received().length, 0);
    });

    it('keeps one order while all gateways write into one room', async () => {
      const people = await crowd(6);
      const { id } = await converse(people[0], people.slice(1));
      const writers = await Promise.all(people.map((who, i) => join(i, who)));
      const watchers = await Promise.all(fleet.nodes.map((_, i) => join(i, people[0])));
      const each = 15;
      const acks = await Promise.all(
        writers.flatMap((socket, who) => upTo(each).map((n) => say(socket, id, `${who}:${n}`, { clientMsgId: `${who}:${n}` }))),
      );
      const all = upTo(each * people.length);
      assert.deepEqual(acks.map((m) => m.seq).sort((x, y) => x - y), all);
      for (const watcher of watchers) {
        await until('everything at a watcher', () => watcher.received(id).length >= all.length);
        assert.deepEqual(watcher.received(id).map((m) => m.seq), all);
      }
      const log = await wholeLog(people[1], id);
      for (const who of people.keys()) {
        const own = log.filter((m) => m.content.startsWith(`${who}:`)).map((m) => Number(m.content.split(':')[1]));
        assert.deepEqual(own, upTo(each));
      }
    });

    it('makes one message of a resend on another gateway', async () => {
      const [ann, bob] = await crowd(2);
      const { id } = await converse(ann, [bob]);
      const [a1, a2] = [await join(0, ann), await join(2, ann)];
      const b = await join(1, bob);
      const clientMsgId = 'once only';
      const [one, two] = await Promise.all([say(a1, id, 'x', { clientMsgId }), say(a2, id, 'x', { clientMsgId })]);
      assert.deepEqual(one, two);
      await say(a1, id, 'next');
      await b.hears('receive_msg', (m) => m.content === 'next');
      assert.deepEqual(b.received(id).map((m) => m.seq), [1, 2]);
    });

    it('carries edits, deletions and receipts', async () => {
      const [ann, bob] = await crowd(2);
      const { id } = await converse(ann, [bob]);
      const [a, b] = [await join(0, ann), await join(1, bob)];
      const message = await say(a, id, 'frist');
      await ask(a, 'edit_msg', { messageId: message.id, content: 'first' });
      assert.equal((await b.hears('msg_edited')).content, 'first');
      await ask(b, 'mark_delivered', { conversationId: id, seq: 1 });
      await ask(b, 'mark_read', { conversationId: id, seq: 1 });
      assert.deepEqual(await a.hears('msg_status', (s) => s.status === 'read'), { conversationId: id, userId: bob.id, status: 'read', seq: 1 });
      await ask(a, 'delete_msg', { messageId: message.id });
      assert.equal((await b.hears('msg_deleted')).content, '');
      assert.equal((await wholeLog({ api: rest(fleet.node(2).url, bob.token) }, id))[0].content, '');
    });

    it('shows typing, and its end', async () => {
      const [ann, bob] = await crowd(2);
      const { id } = await converse(ann, [bob]);
      const [a, b] = [await join(0, ann), await join(1, bob)];
      // Best effort: said until it is heard.
      const begun = await until('typing', async () => {
        b.emit('typing', { conversationId: id, typing: true });
        await sleep(100);
        return a.of('typing')[0];
      });
      assert.deepEqual(begun, { conversationId: id, userId: bob.id, typing: true });
      await a.hears('typing', (t) => !t.typing, 9_000);
    });

    it('follows membership at once, on every gateway', async () => {
      const [ann, bob, eve] = await crowd(3);
      const a = await join(0, ann);
      const [b, e1, e2] = [await join(1, bob), await join(1, eve), await join(2, eve)];
      const { id } = await converse(ann, [bob], 'group', 'first title');
      await b.hears('conversation_created', (c) => (c.conversation ?? c).id === id);
      await say(a, id, 'before eve');
      const added = await rest(fleet.node(2).url, bob.token).post(`/conversations/${id}/participants`, { userId: eve.id });
      assert.ok([200, 201, 204].includes(added.status), `${added.status} ${JSON.stringify(added.data)}`);
      const system = await b.hears('receive_msg', (m) => m.type === 'system' && m.event?.kind === 'added');
      assert.equal(system.event.userId, eve.id);
      for (const socket of [e1, e2]) await until('eve to be told', () => socket.of('member_added').length + socket.of('conversation_created').length > 0);
      const welcome = await say(a, id, 'welcome');
      for (const socket of [b, e1, e2]) await socket.hears('receive_msg', (m) => m.id === welcome.id);
      assert.equal((await say(e2, id, 'hello all')).seq, welcome.seq + 1);
      const renamed = await rest(fleet.node(1).url, ann.token).patch(`/conversations/${id}`, { title: 'second title' });
      assert.equal(renamed.status, 200);
      await e1.hears('receive_msg', (m) => m.event?.kind === 'renamed');
      const removed = await rest(fleet.node(1).url, ann.token).delete(`/conversations/${id}/participants/${eve.id}`);
      assert.ok([200, 204].includes(removed.status), `${removed.status} ${JSON.stringify(removed.data)}`);
      // Whoever was removed at n never sees n + 1, on any node: said at once, from another gateway.
      const secret = await say(a, id, 'without eve');
      await b.hears('receive_msg', (m) => m.id === secret.id);
      const late = await ask(e2, 'send_msg', { conversationId: id, content: 'let me in' });
      assert.equal(late.error.code, 'not_found');
      for (const node of fleet.nodes) assert.equal((await rest(node.url, eve.token).get(`/conversations/${id}`)).status, 404);
      await sleep(500);
      for (const socket of [e1, e2]) assert.equal(socket.received(id).some((m) => m.id === secret.id), false);
      assert.deepEqual(b.received(id).map((m) => m.seq), upTo(b.received(id).length));
    });

    it('syncs on another gateway what was missed on the first', async () => {
      const [ann, bob] = await crowd(2);
      const { id } = await converse(ann, [bob]);
      const a = await join(0, ann);
      const b = await join(1, bob);
      await say(a, id, 'seen');
      await b.hears('receive_msg');
      b.disconnect();
      for (let i = 0; i < 5; i += 1) await say(a, id, `missed ${i}`);
      const back = await join(2, bob);
      const answer = await ask(back, 'sync', { cursors: { [id]: 1 }, all: true });
      const mine = answer.conversations.find((conversation) => conversation.id === id);
      assert.deepEqual(mine.messages.map((m) => m.seq), [2, 3, 4, 5, 6]);
      await say(a, id, 'live');
      await back.hears('receive_msg', (m) => m.seq === 7);
    });

    it('counts a person\'s messages on all gateways together', async () => {
      const ann = await person(fleet.node(0));
      const { id } = await converse(ann, [await person(fleet.node(1))]);
      const sockets = await Promise.all(fleet.nodes.map((_, i) => join(i, ann)));
      const began = Date.now();
      const acks = await Promise.all(upTo(240).map((n) => ask(sockets[n % 3], 'send_msg', { conversationId: id, content: `${n}` }, 20_000)));
      const seconds = (Date.now() - began) / 1_000;
      const accepted = acks.filter((ack) => ack.ok).length;
      // 20/s with a burst of 100, whatever the number of gateways.
      assert.ok(accepted >= 100 && accepted <= 100 + 20 * seconds + 5, `${accepted} accepted in ${seconds} s`);
      assert.ok(acks.filter((ack) => !ack.ok).every((ack) => ack.error.code === 'rate_limited'));
    });

    it('ends log-ins on every gateway', async () => {
      const ann = await person(fleet.node(0));
      const socket = await join(1, ann, { reconnection: false });
      const refresh = (i, refreshToken) => rest(fleet.node(i).url).post('/auth/refresh', { refreshToken });
      const next = await refresh(0, ann.refreshToken);
      assert.equal(next.status, 200);
      // Until its successor is used, a used token gives that one again, on any gateway.
      const again = await refresh(2, ann.refreshToken);
      assert.deepEqual([again.status, again.data.refreshToken], [200, next.data.refreshToken]);
      assert.equal((await refresh(1, next.data.refreshToken)).status, 200);
      // Used after its successor, it revokes its whole family, sockets and all.
      assert.equal((await refresh(2, ann.refreshToken)).status, 401);
      await until('the socket to be gone', () => !socket.connected);
    });

    it('does not trouble a gateway that has nobody in the room', async () => {
      const [ann, bob] = await crowd(2);
      const { id } = await converse(ann, [bob]);
      const [a, b] = [await join(0, ann), await join(1, bob)];
      await say(a, id, 'warm');
      await b.hears('receive_msg');
      const heard = async (i) => {
        const metrics = await fleet.node(i).metrics();
        return metrics.get('syncchat_backplane_messages_total{direction="in"}') ?? 0;
      };
      await sleep(1_000);
      const before = [await heard(1), await heard(2)];
      for (let i = 0; i < 50; i += 1) await say(a, id, `m${i}`);
      await until('all at bob', () => b.received(id).length === 51);
      const after = [await heard(1), await heard(2)];
      assert.ok(after[0] - before[0] > 0, 'the other member\'s gateway was told');
      assert.equal(after[1] - before[1], 0, 'the third was not');
      console.log(`50 messages: ${after[0] - before[0]} hints at the member's gateway, ${after[1] - before[1]} at the other`);
    });
  });
}
