// The whole message flow with the official client, in all three transport settings, on both stores.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { TRANSPORTS, ask, converse, device, person, say, socketOf, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';

for (const storeName of storeNames) {
  describe(`chat on ${storeName}`, () => {
    let store;
    let node;
    before(async () => {
      store = await openStore(storeName);
      node = await startNode(store.flags);
    });
    after(async () => {
      await node?.stop();
      await store?.stop();
    });

    for (const [name, transports] of Object.entries(TRANSPORTS)) {
      describe(`by ${name}`, () => {
        const open = [];
        const join = async (who) => {
          const socket = await device(node, who, { transports });
          open.push(socket);
          return socket;
        };
        after(() => open.forEach((socket) => socket.disconnect()));

        it('refuses a bad token in the handshake', async () => {
          const socket = socketOf(node, { transports, auth: { token: 'nonsense' } });
          open.push(socket);
          const error = await new Promise((resolve) => socket.on('connect_error', resolve));
          assert.equal(error.message, 'Authentication error');
          assert.deepEqual(error.data, { code: 'unauthorized' });
        });

        it('authenticates afterwards, and not before', async () => {
          const ann = await person(node, 'late');
          const socket = socketOf(node, { transports });
          open.push(socket);
          await until('connect', () => socket.connected);
          const early = await ask(socket, 'send_msg', { conversationId: '0'.repeat(24), content: 'x' });
          assert.equal(early.ok, false);
          assert.equal(early.error.code, 'unauthorized');
          socket.emit('sync', { cursors: {} });
          const told = await socket.hears('error_msg');
          assert.equal(told.error.code, 'unauthorized');
          assert.equal(told.event, 'sync');
          const ack = await ask(socket, 'authenticate', { token: ann.token });
          assert.equal(ack.ok, true);
          assert.equal(ack.user.id, ann.id);
          const heard = await socket.hears('authenticated');
          assert.equal(heard.user.id, ann.id);
          assert.equal(heard.user.status, 'online');
          assert.ok(heard.node && heard.expiresAt);
        });

        it('carries a message to every device of every member but the one that sent it', async () => {
          const [ann, bob, eve] = [await person(node), await person(node), await person(node)];
          const conversation = await converse(ann, [bob]);
          const [a1, a2, b1, b2, e1] = [await join(ann), await join(ann), await join(bob), await join(bob), await join(eve)];
          const clientMsgId = `c-${Math.random()}`;
          const message = await say(a1, conversation.id, 'hello <b>&"\u2028 \u{1f980}\n\ttab', { clientMsgId });
          assert.deepEqual(Object.keys(message).sort(), [
            ...['attachments', 'clientMsgId', 'content', 'conversationId', 'createdAt', 'deleted', 'edited', 'id'],
            ...['readBy', 'replyTo', 'rev', 'sender', 'seq', 'status', 'type', 'updatedAt'],
          ]);
          assert.equal(message.seq, 1);
          assert.equal(message.content, 'hello <b>&"\u2028 \u{1f980}\n\ttab');
          assert.equal(message.sender, ann.id);
          assert.equal(message.status, 'sent');
          assert.equal(message.type, 'text');
          for (const socket of [a2, b1, b2]) {
            const heard = await socket.hears('receive_msg', (m) => m.id === message.id);
            assert.deepEqual(heard, message);
          }
          const sent = await a1.hears('msg_sent', (m) => m.clientMsgId === clientMsgId);
          assert.deepEqual(sent.message, message);
          await sleep(100);
          assert.equal(a1.received(conversation.id).length, 0);
          assert.equal(e1.received().length, 0);

          const again = await say(a1, conversation.id, message.content, { clientMsgId });
          assert.deepEqual(again, message, 'a resend gets the first result');
          const other = await ask(a1, 'send_msg', { conversationId: conversation.id, content: 'other words', clientMsgId });
          assert.equal(other.error.code, 'conflict');
          const next = await say(b1, conversation.id, 'answer', { replyTo: message.id });
          assert.equal(next.seq, 2);
          assert.equal(next.replyTo, message.id);
          for (const socket of [a1, b2]) await socket.hears('receive_msg', (m) => m.seq === 2);
          assert.equal(b2.received(conversation.id).length, 2);
        });

        it('keeps one order for everybody while all talk at once', async () => {
          const people = await Promise.all([person(node), person(node), person(node)]);
          const conversation = await converse(people[0], people.slice(1));
          const sockets = await Promise.all(people.map(join));
          const watcher = await join(people[0]);
          const each = 30;
          const acks = await Promise.all(
            sockets.flatMap((socket, who) =>
              Array.from({ length: each }, (_, i) => say(socket, conversation.id, `${who}:${i}`, { clientMsgId: `${who}:${i}` })),
            ),
          );
          const total = each * people.length;
          assert.deepEqual(acks.map((m) => m.seq).sort((x, y) => x - y), Array.from({ length: total }, (_, i) => i + 1));
          await until('everything at the watcher', () => watcher.received(conversation.id).length === total);
          assert.deepEqual(watcher.received(conversation.id).map((m) => m.seq), Array.from({ length: total }, (_, i) => i + 1));
          for (const [who, socket] of sockets.entries()) {
            await until('the others at each', () => socket.received(conversation.id).length === total - each);
            const seqs = socket.received(conversation.id).map((m) => m.seq);
            assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y));
            const own = acks.filter((m) => m.sender === people[who].id).map((m) => m.content);
            assert.deepEqual(own, Array.from({ length: each }, (_, i) => `${who}:${i}`));
          }
          const log = await wholeLog(people[1], conversation.id);
          assert.deepEqual(log.map((m) => m.seq), Array.from({ length: total }, (_, i) => i + 1));
          // What one sender sent one after the other on one socket stays in that order.
          for (const [who] of people.entries()) {
            const own = log.filter((m) => m.content.startsWith(`${who}:`)).map((m) => Number(m.content.split(':')[1]));
            assert.deepEqual(own, Array.from({ length: each }, (_, i) => i));
          }
        });

        it('edits and deletes', async () => {
          const [ann, bob] = [await person(node), await person(node)];
          const conversation = await converse(ann, [bob]);
          const [a, b] = [await join(ann), await join(bob)];
          const message = await say(a, conversation.id, 'frist');
          const edited = await ask(a, 'edit_msg', { messageId: message.id, content: 'first' });
          assert.equal(edited.ok, true);
          assert.equal(edited.message.content, 'first');
          assert.equal(edited.message.edited, true);
          assert.equal((await b.hears('msg_edited')).content, 'first');
          const forbidden = await ask(b, 'edit_msg', { messageId: message.id, content: 'mine' });
          assert.equal(forbidden.error.code, 'forbidden');
          const deleted = await ask(a, 'delete_msg', { messageId: message.id });
          assert.equal(deleted.message.content, '');
          assert.equal(deleted.message.deleted, true);
          assert.equal((await b.hears('msg_deleted')).content, '');
          assert.equal((await ask(a, 'edit_msg', { messageId: message.id, content: 'again' })).ok, false);
          assert.equal((await wholeLog(bob, conversation.id))[0].content, '');
        });

        it('tells who has it and who has read it, and counts the unread', async () => {
          const [ann, bob] = [await person(node), await person(node)];
          const conversation = await converse(ann, [bob]);
          const [a, b] = [await join(ann), await join(bob)];
          for (let i = 0; i < 3; i += 1) await say(a, conversation.id, `m${i}`);
          const unread = async (who) => (await who.api.get(`/conversations/${conversation.id}`)).data.conversation.unread;
          assert.equal(await unread(bob), 3);
          assert.equal(await unread(ann), 0, 'own messages are never unread');
          assert.equal((await ask(b, 'mark_delivered', { conversationId: conversation.id, seq: 3 })).ok, true);
          assert.deepEqual(await a.hears('msg_status', (s) => s.status === 'delivered'), {
            conversationId: conversation.id,
            userId: bob.id,
            status: 'delivered',
            seq: 3,
          });
          const read = await ask(b, 'mark_read', { conversationId: conversation.id, seq: 2 });
          assert.equal(read.unread, 1);
          await a.hears('msg_status', (s) => s.status === 'read' && s.seq === 2);
          const back = await ask(b, 'mark_read', { conversationId: conversation.id, seq: 1 });
          assert.equal(back.unread, 1, 'a cursor never falls');
          const log = await wholeLog(ann, conversation.id);
          assert.deepEqual(log.map((m) => m.status), ['read', 'read', 'delivered']);
          assert.deepEqual(log.map((m) => m.readBy), [[bob.id], [bob.id], []]);
        });

        it('shows typing and presence', async () => {
          const [ann, bob] = [await person(node), await person(node)];
          const conversation = await converse(ann, [bob]);
          const a = await join(ann);
          const b = await join(bob);
          await a.hears('presence', (p) => p.userId === bob.id && p.status === 'online');
          b.emit('typing', { conversationId: conversation.id, typing: true });
          const typing = await a.hears('typing');
          assert.deepEqual(typing, { conversationId: conversation.id, userId: bob.id, typing: true });
          const asked = await ask(a, 'presence', { userIds: [bob.id] });
          assert.equal(asked.presence[0].status, 'online');
          await a.hears('typing', (t) => t.typing === false, 9_000);
          b.disconnect();
          await a.hears('presence', (p) => p.userId === bob.id && p.status === 'offline');
        });

        it('syncs what was missed, in one round trip', async () => {
          const [ann, bob] = [await person(node), await person(node)];
          const one = await converse(ann, [bob]);
          const two = await converse(ann, [bob], 'group');
          const a = await join(ann);
          for (let i = 1; i <= 60; i += 1) await say(a, one.id, `one ${i}`);
          for (let i = 1; i <= 3; i += 1) await say(a, two.id, `two ${i}`);
          const b = await join(bob);
          const named = await ask(b, 'sync', { cursors: { [one.id]: 58 } });
          assert.equal(named.conversations.length, 1);
          assert.deepEqual(named.conversations[0].messages.map((m) => m.seq), [59, 60]);
          assert.equal(named.conversations[0].more, false);
          const all = await ask(b, 'sync', { cursors: { [two.id]: 3 }, all: true });
          const by = Object.fromEntries(all.conversations.map((c) => [c.id, c]));
          assert.equal(by[one.id].messages[0].seq, 1);
          assert.equal(by[one.id].more, true);
          assert.equal(by[one.id].lastSeq, 60);
          assert.equal(by[one.id].unread, 60);
          assert.deepEqual(by[two.id].messages, []);
          assert.equal(by[two.id].lastSeq, 3);
          const stranger = await join(await person(node));
          assert.deepEqual((await ask(stranger, 'sync', { cursors: { [one.id]: 0 } })).conversations, []);
        });

        it('follows membership at once, on all devices', async () => {
          const [ann, bob, eve] = [await person(node), await person(node), await person(node)];
          const [a, b, e1, e2] = [await join(ann), await join(bob), await join(eve), await join(eve)];
          const made = await ask(a, 'create_conversation', { type: 'group', participants: [bob.id], title: 'Team' });
          assert.equal(made.ok, true);
          const { id } = made.conversation;
          assert.equal((await b.hears('conversation_created')).conversation?.id ?? (await b.hears('conversation_created')).id, id);
          await say(a, id, 'one');
          await b.hears('receive_msg', (m) => m.conversationId === id && m.seq === 1);
          assert.equal((await ask(e1, 'send_msg', { conversationId: id, content: 'x' })).error.code, 'not_found');

          const added = await ann.api.post(`/conversations/${id}/participants`, { userId: eve.id });
          assert.ok([200, 201].includes(added.status), JSON.stringify(added.data));
          for (const socket of [e1, e2, b, a]) {
            const system = await socket.hears('receive_msg', (m) => m.conversationId === id && m.type === 'system');
            assert.equal(system.seq, 2);
            assert.deepEqual(system.event, { kind: 'added', by: ann.id, userId: eve.id });
            await socket.hears('member_added');
          }
          await say(e1, id, 'three');
          await e2.hears('receive_msg', (m) => m.conversationId === id && m.seq === 3);
          const removed = await bob.api.delete(`/conversations/${id}/participants/${eve.id}`);
          assert.ok([200, 204].includes(removed.status), JSON.stringify(removed.data));
          for (const socket of [e1, e2]) {
            await socket.hears('receive_msg', (m) => m.seq === 4 && m.event?.kind === 'removed');
            await socket.hears('member_removed');
          }
          await say(a, id, 'five, without eve');
          await b.hears('receive_msg', (m) => m.seq === 5);
          await sleep(100);
          for (const socket of [e1, e2]) assert.ok(socket.received(id).every((m) => m.seq <= 4));
          assert.equal((await eve.api.get(`/conversations/${id}`)).status, 404);
          assert.equal((await eve.api.get(`/conversations/${id}/messages`)).status, 404);
          assert.equal((await ask(e1, 'send_msg', { conversationId: id, content: 'x' })).error.code, 'not_found');
          const renamed = await bob.api.patch(`/conversations/${id}`, { title: 'New name' });
          assert.equal(renamed.data.conversation.title, 'New name');
          await a.hears('conversation_updated');
        });

        it('names what is wrong and lives on', async () => {
          const ann = await person(node);
          const bob = await person(node);
          const conversation = await converse(ann, [bob]);
          const a = await join(ann);
          const good = { conversationId: conversation.id, content: 'x' };
          const bad = [
            ['conversationId', { ...good, conversationId: { $ne: null } }],
            ['conversationId', { ...good, conversationId: 'short' }],
            ['content', { ...good, content: { $gt: '' } }],
            ['content', { ...good, content: '  \n' }],
            ['content', { ...good, content: 'x'.repeat(4001) }],
            ['content', { ...good, content: 'a\u0000b' }],
            ['content', { conversationId: conversation.id }],
            ['type', { ...good, type: 'system' }],
            ['clientMsgId', { ...good, clientMsgId: 7 }],
            ['clientMsgId', { ...good, clientMsgId: 'x'.repeat(65) }],
            ['replyTo', { ...good, replyTo: 'f'.repeat(24) }],
            ['attachments', { ...good, attachments: ['f'.repeat(24)] }],
          ];
          for (const [field, payload] of bad) {
            const ack = await ask(a, 'send_msg', payload);
            assert.equal(ack.ok, false, JSON.stringify(payload).slice(0, 80));
            assert.ok(['invalid', 'not_found'].includes(ack.error.code), JSON.stringify(ack));
            assert.ok(ack.error.message.includes(field), `${field}: ${JSON.stringify(ack)}`);
          }
          for (const payload of [undefined, null, 7, 'text', [], [[]]]) {
            assert.equal((await ask(a, 'send_msg', payload)).error.code, 'invalid', JSON.stringify(payload));
          }
          assert.equal((await ask(a, 'no_such_event', {})).ok, false);
          a.emit('send_msg', { ...good, content: '', clientMsgId: 'c1' });
          const told = await a.hears('error_msg', (m) => m.clientMsgId === 'c1');
          assert.equal(told.error.code, 'invalid');
          assert.equal(told.event, 'send_msg');
          assert.equal((await say(a, conversation.id, 'still here')).seq, 1);
        });

        it('leaves acknowledgements and binary intact for the transport', async () => {
          const ann = await person(node);
          const a = await join(ann);
          const ack = await ask(a, 'send_msg', { conversationId: Buffer.from([1, 2, 3]), content: Buffer.alloc(10) });
          assert.equal(ack.error.code, 'invalid');
          assert.equal(a.connected, true);
        });
      });
    }

    it('upgrades to WebSocket by default', async () => {
      const ann = await person(node);
      const socket = await device(node, ann, { transports: TRANSPORTS.upgrade });
      await until('the upgrade', () => socket.io.engine.transport.name === 'websocket');
      socket.disconnect();
    });

    it('pages through history in both directions', async () => {
      const [ann, bob] = [await person(node), await person(node)];
      const conversation = await converse(ann, [bob]);
      for (let i = 1; i <= 120; i += 1) {
        const answer = await ann.api.post(`/conversations/${conversation.id}/messages`, { content: `m${i}` });
        assert.equal(answer.status, 201);
        assert.equal(answer.data.message.seq, i);
      }
      const page = async (params) => (await bob.api.get(`/conversations/${conversation.id}/messages`, { params })).data;
      const seqs = (answer) => [answer.messages.length, answer.messages[0]?.seq, answer.messages.at(-1)?.seq, answer.more];
      assert.deepEqual(seqs(await page({})), [50, 71, 120, true]);
      assert.deepEqual(seqs(await page({ before: 71 })), [50, 21, 70, true]);
      assert.deepEqual(seqs(await page({ before: 21 })), [20, 1, 20, false]);
      assert.deepEqual(seqs(await page({ after: 100 })), [20, 101, 120, false]);
      assert.deepEqual(seqs(await page({ after: 0, limit: 120 })), [120, 1, 120, false]);
      assert.deepEqual(seqs(await page({ after: 0, limit: 119 })), [119, 1, 119, true]);
      assert.deepEqual(seqs(await page({ after: 120 })), [0, undefined, undefined, false]);
      const whole = await wholeLog(bob, conversation.id);
      const since = await page({ since: whole[60].createdAt, limit: 200 });
      assert.ok(since.messages[0].seq <= 61 && since.messages.at(-1).seq === 120);
      for (const params of [{ limit: 0 }, { limit: 201 }, { limit: 'x' }, { before: -1 }, { before: 1, after: 1 }, { since: 'yesterday' }]) {
        const answer = await bob.api.get(`/conversations/${conversation.id}/messages`, { params });
        assert.equal(answer.status, 400, JSON.stringify(params));
      }
    });

    it('lists conversations newest first, by pages', async () => {
      const ann = await person(node);
      const others = await Promise.all([person(node), person(node), person(node)]);
      const made = [];
      for (const other of others) made.push(await converse(ann, [other]));
      const again = await ann.api.post('/conversations', { type: 'private', participants: [others[0].id] });
      assert.equal(again.status, 200);
      assert.equal(again.data.conversation.id, made[0].id);
      await others[1].api.post(`/conversations/${made[1].id}/messages`, { content: 'bump' });
      const first = (await ann.api.get('/conversations', { params: { limit: 2 } })).data;
      assert.equal(first.conversations[0].id, made[1].id);
      assert.equal(first.conversations[0].lastMessage.content, 'bump');
      assert.equal(first.conversations[0].unread, 1);
      assert.equal(first.conversations[0].lastSeq, 1);
      assert.ok(first.next);
      const second = (await ann.api.get('/conversations', { params: { limit: 2, cursor: first.next } })).data;
      assert.equal(second.next ?? null, null);
      const ids = [...first.conversations, ...second.conversations].map((c) => c.id);
      assert.deepEqual([...ids].sort(), made.map((c) => c.id).sort());
    });

    it('renews a token on the live socket, warns before the end, and ends', async () => {
      const short = await startNode({ ...store.flags, 'access-ttl': `${scaled(3_000)}ms`, ...(store.mongod ? { store: store.mongod.url('ttl') } : {}) });
      try {
        const ann = await person(short);
        const stays = await device(short, ann, { reconnection: false });
        const goes = await device(short, ann, { reconnection: false });
        const polls = await device(short, ann, { reconnection: false, transports: TRANSPORTS.polling });
        const reasons = [];
        polls.on('disconnect', (reason) => reasons.push(reason));
        assert.ok((await stays.hears('token_expiring')).expiresAt);
        await sleep(1_200);
        const fresh = await ann.api.post('/auth/refresh', { refreshToken: ann.refreshToken });
        const ack = await ask(stays, 'authenticate', { token: fresh.data.accessToken });
        assert.equal(ack.ok, true);
        await goes.hears('server_closing', (m) => m.reason === 'token_expired');
        await until('the socket to be gone', () => !goes.connected);
        await polls.hears('server_closing', (m) => m.reason === 'token_expired');
        await until('the polling socket to be gone', () => reasons.length > 0);
        assert.deepEqual(reasons, ['io server disconnect']);
        assert.equal(stays.connected, true);
        const late = socketOf(short, { auth: { token: ann.token } });
        const error = await new Promise((resolve) => late.on('connect_error', resolve));
        assert.deepEqual(error.data, { code: 'token_expired' });
        stays.disconnect();
        late.disconnect();
      } finally {
        await short.stop();
      }
    });

    it('limits how fast a user may send', async () => {
      const slow = await startNode({ ...store.flags, 'rate-messages': '1/s:3', ...(store.mongod ? { store: store.mongod.url('limits') } : {}) });
      try {
        const [ann, bob] = [await person(slow), await person(slow)];
        const conversation = await converse(ann, [bob]);
        const a = await device(slow, ann);
        const began = Date.now();
        const acks = await Promise.all(
          Array.from({ length: 6 }, (_, i) => ask(a, 'send_msg', { conversationId: conversation.id, content: `${i}` })),
        );
        const [accepted, seconds] = [acks.filter((ack) => ack.ok).length, Math.floor((Date.now() - began) / 1_000)];
        assert.ok(accepted >= 3 && accepted <= 3 + seconds, `${accepted} accepted in ${seconds} s`);
        const refused = acks.find((ack) => !ack.ok);
        assert.equal(refused.error.code, 'rate_limited');
        assert.ok(refused.error.retryAfterMs > 0 && refused.error.retryAfterMs <= 3_000);
        a.disconnect();
      } finally {
        await slow.stop();
      }
    });

    it('drains: tells its clients, closes so that they come back, and exits 0', async () => {
      const draining = await startNode({ ...store.flags, drain: '1s', ...(store.mongod ? { store: store.mongod.url('drain') } : {}) });
      const ann = await person(draining);
      const ways = [...Object.values(TRANSPORTS), ...Object.values(TRANSPORTS)];
      const sockets = await Promise.all(ways.map((transports) => device(draining, ann, { reconnection: false, transports })));
      const reasons = sockets.map((socket) => new Promise((resolve) => socket.on('disconnect', resolve)));
      draining.signal('SIGTERM');
      await until('readyz to turn', async () => (await fetch(`${draining.admin}/readyz`)).status === 503);
      for (const socket of sockets) {
        const closing = await socket.hears('server_closing');
        assert.equal(closing.reason, 'draining');
        assert.ok(Number.isFinite(closing.reconnectInMs));
      }
      assert.deepEqual(new Set(await Promise.all(reasons)), new Set(['transport close']));
      assert.equal((await draining.exited()).code, 0);
      await draining.stop();
    });
  });
}
