// One room in which people on all gateways write as fast as they can: it goes on, every gateway gets
// its share, and nobody is refused, or waits for the others to fall silent.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Listener, judge, spread } from '../faults/workload.mjs';
import { startFleet, total } from '../harness/fleet.mjs';
import { ask, converse, device, person, rest, wholeLog } from '../harness/people.mjs';
import { sleep } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';

const GATEWAYS = 3;
const SOCKETS = 3; // on each gateway
const AT_ONCE = 8; // messages of one socket under way
const SPAN_MS = 4_000;
const LONGEST_WAIT_MS = 2_000;

/** Sends on `socket` one message after the other until `span.over`; notes what became of each. */
async function talk(socket, conversationId, name, span) {
  const said = { name, conversationId, acked: new Map(), waits: [], refusals: [] };
  for (let i = 0; !span.over; i += 1) {
    const clientMsgId = `${name}-${i}`;
    const began = Date.now();
    const ack = await ask(socket, 'send_msg', { conversationId, content: clientMsgId, clientMsgId }, 15_000);
    said.waits.push(Date.now() - began);
    if (ack.ok) said.acked.set(clientMsgId, { seq: ack.message.seq, content: ack.message.content, at: Date.now() });
    else said.refusals.push(ack.error);
  }
  return said;
}

/** Everybody on these gateways talks for `SPAN_MS`; what they said, by gateway. */
async function allTalk(sockets, gateways, conversationId, round) {
  const span = { over: false };
  const talking = gateways.map((g) =>
    Promise.all(
      sockets[g].flatMap((socket, s) =>
        Array.from({ length: AT_ONCE }, (_, n) => talk(socket, conversationId, `${round}-g${g}-s${s}-${n}`, span)),
      ),
    ),
  );
  await sleep(SPAN_MS);
  span.over = true;
  const said = await Promise.all(talking);
  const shares = said.map((all) => all.reduce((sum, one) => sum + one.acked.size, 0));
  const waits = said.map((all) => Math.max(...all.flatMap((one) => one.waits)));
  const rate = Math.round((shares.reduce((a, b) => a + b) * 1_000) / SPAN_MS);
  console.log(`${gateways.length} writing: ${rate} messages/s, ${shares.join(' + ')}; longest waits ${waits.join(', ')} ms; ack ${spread(said.flat().flatMap((one) => one.waits))}`);
  return { said: said.flat(), shares, waits, rate };
}

it('a hot room starves no gateway', { timeout: scaled(120_000) }, async () => {
  const fleet = await startFleet({ nodes: GATEWAYS });
  const closing = [];
  try {
    const people = [];
    for (let i = 0; i < GATEWAYS * SOCKETS; i += 1) people.push(await person(fleet.node(i), 'hot'));
    const { id } = await converse(people[0], people.slice(1), 'group', 'a hot room');
    const sockets = Array.from({ length: GATEWAYS }, () => []);
    for (const [i, who] of people.entries()) {
      const socket = await device(fleet.node(i), who);
      closing.push(() => socket.disconnect());
      socket.offAny();
      sockets[i % GATEWAYS].push(socket);
    }
    const listeners = [];
    for (let g = 0; g < GATEWAYS; g += 1) {
      const listener = new Listener(fleet.node(g), people[g], [id]);
      await listener.open();
      closing.push(() => listener.close());
      listeners.push(listener);
    }

    const one = await allTalk(sockets, [0], id, 'one');
    const all = await allTalk(sockets, [0, 1, 2], id, 'all');
    console.log(`${await total(fleet.nodes, 'syncchat_commits_behind_total')} writes went behind others, ${await total(fleet.nodes, 'syncchat_commit_retries_total')} were tried again, ${await total(fleet.nodes, 'syncchat_mongodb_conflicts_total')} transactions met another`);

    const said = [...one.said, ...all.said];
    assert.deepEqual(said.flatMap((each) => each.refusals), [], 'nobody is refused');
    const log = await wholeLog({ api: rest(fleet.node(2).url, people[0].token) }, id);
    const verdict = await judge(log, said, listeners, id);
    assert.deepEqual(verdict.faults, []);
    assert.equal(verdict.acked, log.length, 'all that is stored was acknowledged');
    assert.ok(Math.max(...all.waits) < scaled(LONGEST_WAIT_MS), `somebody waited ${Math.max(...all.waits)} ms`);
    const sum = all.shares.reduce((a, b) => a + b);
    assert.ok(all.shares.every((share) => share * 6 > sum), `unfair: ${all.shares.join(', ')}`);
    assert.ok(all.rate > one.rate * 0.6, `${all.rate}/s by three, ${one.rate}/s by one`);
  } finally {
    for (const close of closing) close();
    await fleet.stop();
  }
});
