// A receiver that stops reading: it falls behind, costs the node no more than its bound, slows
// nobody, and gets everything in order when it reads again, or is closed if it never does.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import WebSocket from 'ws';
import { startNode } from '../harness/node.mjs';
import { converse, device, person, say } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';

/** A WebSocket that speaks just enough Socket.IO, and can stop reading. */
async function rawReader(node, who) {
  const ws = new WebSocket(`${node.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
  const reader = { ws, seqs: [], authenticated: false, closed: false };
  ws.on('message', (data) => {
    const text = data.toString();
    if (text.startsWith('0')) ws.send(`40${JSON.stringify({ token: who.token })}`);
    else if (text === '2') ws.send('3');
    else if (text.startsWith('42')) {
      const [event, payload] = JSON.parse(text.slice(2));
      if (event === 'authenticated') reader.authenticated = true;
      if (event === 'receive_msg') reader.seqs.push(payload.seq);
    }
  });
  ws.on('close', () => {
    reader.closed = true;
  });
  ws.on('error', () => {});
  await until('the reader to be authenticated', () => reader.authenticated);
  return reader;
}

for (const storeName of storeNames) {
  describe(`a slow reader on ${storeName}`, () => {
    it('is refilled in order, without slowing others', { timeout: scaled(120_000) }, async () => {
      const store = await openStore(storeName);
      const node = await startNode({ ...store.flags, 'outbound-limit': '64KiB', 'slow-timeout': '60s', 'ping-timeout': '60s' });
      const [ann, bob, eve] = [await person(node), await person(node), await person(node)];
      const room = await converse(ann, [bob, eve]);
      const a = await device(node, ann);
      const fast = await device(node, eve);
      const slow = await rawReader(node, bob);
      try {
        slow.ws._socket.pause();
        const total = 4_000;
        const content = 'x'.repeat(3_500);
        for (let i = 0; i < total; i += 100) {
          await Promise.all(Array.from({ length: 100 }, () => say(a, room.id, content)));
        }
        await until('the fast reader to have all', () => fast.received(room.id).length === total, 20_000);
        const queued = [...(await node.metrics())].filter(([name]) => name.startsWith('syncchat_outbound_queue_bytes'));
        assert.ok(queued.length > 0, 'the queue is measured');
        assert.ok(slow.seqs.length < total);
        slow.ws._socket.resume();
        await until('the slow reader to have all', () => slow.seqs.length >= total, 30_000);
        assert.deepEqual(slow.seqs, Array.from({ length: total }, (_, i) => i + 1));
        await say(a, room.id, 'live again');
        await until('the reader to be live', () => slow.seqs.at(-1) === total + 1);
        const backfilled = (await node.metrics()).get('syncchat_backfilled_messages_total');
        assert.ok(backfilled > 0, `it was refilled from the store: ${backfilled}`);
      } finally {
        slow.ws.terminate();
        a.disconnect();
        fast.disconnect();
        await node.stop();
        await store.stop();
      }
    });
  });
}

describe('a reader that never reads again', () => {
  it('is closed as a slow consumer', { timeout: scaled(60_000) }, async () => {
    const node = await startNode({ 'outbound-limit': '64KiB', 'slow-timeout': '2s', 'ping-timeout': '60s' });
    const [ann, bob] = [await person(node), await person(node)];
    const room = await converse(ann, [bob]);
    const a = await device(node, ann);
    const slow = await rawReader(node, bob);
    try {
      slow.ws._socket.pause();
      const content = 'x'.repeat(3_500);
      for (let i = 0; i < 40; i += 1) await Promise.all(Array.from({ length: 50 }, () => say(a, room.id, content)));
      await until(
        'the slow consumer to be counted',
        async () => ((await node.metrics()).get('syncchat_slow_consumers_closed_total') ?? 0) >= 1,
        15_000,
      );
      await say(a, room.id, 'the node serves on');
    } finally {
      slow.ws.terminate();
      a.disconnect();
      await node.stop();
    }
  });
});
