// The store takes nothing more for a while: a disk that is full, a database that refuses. Whoever sends
// is told `unavailable`, nothing acknowledged is lost, and the node goes on by itself afterwards.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { it } from 'node:test';
import { startMongod } from '../harness/mongod.mjs';
import { startNode } from '../harness/node.mjs';
import { ask, converse, device, person, wholeLog } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { total } from '../harness/fleet.mjs';
import { scaled } from '../harness/speed.mjs';
import { Listener, Talker, judge } from './workload.mjs';

/** How long it lasts. */
const FAULT_MS = 2_500;
const LONGEST_WAIT_MS = 11_000;
/** MongoDB's code for a full disk. */
const OUT_OF_DISK_SPACE = 14_031;
/** Its code for a write that was done and is not known to be on most members. */
const WRITE_CONCERN_TIMEOUT = 64;

/** People talk, `fault()` begins, `heal()` ends it; what they were told is held against the log. */
async function talkThrough(name, node, fault, heal, { refuses }) {
  const people = await Promise.all(Array.from({ length: 4 }, () => person(node)));
  const room = await converse(people[0], people.slice(1));
  const talkers = people.map((who, i) => new Talker(node, who, room.id, `${name}-${i}`, { pauseMs: 5 }));
  const listeners = [new Listener(node, people[0], [room.id])];
  const asking = await device(node, people[1]);
  try {
    await listeners[0].open();
    const talk = Promise.all(talkers.map((talker) => talker.run()));
    const acked = () => talkers.reduce((sum, talker) => sum + talker.acked.size, 0);
    await until('people to talk', () => acked() > 40);
    const refusedBefore = await total([node], 'syncchat_messages_rejected_total');
    await fault();
    await sleep(200);
    const before = acked();
    const said = { conversationId: room.id, content: 'refused', clientMsgId: `${name}-refused` };
    if (refuses) {
      const ack = await ask(asking, 'send_msg', said, 15_000);
      assert.equal(ack.ok, false);
      assert.equal(ack.error.code, 'unavailable');
      assert.equal(acked(), before, 'nothing is acknowledged meanwhile');
      assert.ok((await total([node], 'syncchat_store_errors_total')) > 0, 'it is counted');
      assert.ok((await total([node], 'syncchat_messages_rejected_total')) > refusedBefore, 'it is counted');
    } else {
      await sleep(FAULT_MS);
    }
    await heal();
    const healed = Date.now();
    await until('people to talk again', () => talkers.every((talker) => talker.acked.size > 0) && acked() > before + 20, 15_000);
    const back = Date.now() - healed;
    // What was refused and is sent again is there once.
    const again = await ask(asking, 'send_msg', said, 15_000);
    assert.ok(again.ok, JSON.stringify(again));
    talkers.forEach((talker) => talker.stop());
    await talk;
    const log = await wholeLog(people[1], room.id);
    assert.equal(log.filter((message) => message.clientMsgId === said.clientMsgId).length, 1);
    const verdict = await judge(log, talkers, listeners, room.id);
    const longest = Math.max(...talkers.map((talker) => talker.longestWaitMs));
    console.log(`${name}: ${verdict.acked} acknowledged, ${verdict.faults.length} faults; talk again after ${back} ms, longest wait for an answer ${longest} ms`);
    assert.deepEqual(verdict.faults, []);
    assert.ok(longest < scaled(LONGEST_WAIT_MS), `somebody waited ${longest} ms`);
    assert.ok(talkers.every((talker) => talker.connections === 1), 'nobody was disconnected');
  } finally {
    asking.disconnect();
    [...talkers, ...listeners].forEach((one) => one.close());
  }
}

it('sqlite on a disk that is full for a while', { timeout: scaled(60_000) }, async () => {
  // Files may not grow beyond a bound that is set while the node runs; that it was hit is an error
  // of the write, not the end of the process.
  const node = await startNode({}, { through: ['bash', '-c', 'trap "" XFSZ; exec "$@"', '-'] });
  const bound = (bytes) => execFileSync('prlimit', ['--pid', String(node.pid()), `--fsize=${bytes}:unlimited`]);
  try {
    await talkThrough('sqlite, full disk', node, () => bound(4_096), () => bound('unlimited'), { refuses: true });
  } finally {
    await node.stop();
  }
});

it('mongodb that refuses writes, and one that does not say whether it has written', { timeout: scaled(90_000) }, async () => {
  const mongod = await startMongod();
  let node;
  try {
    node = await startNode({ store: mongod.url('syncchat') });
    const writes = ['insert', 'update', 'findAndModify', 'commitTransaction'];
    const full = { failCommands: writes, errorCode: OUT_OF_DISK_SPACE };
    await talkThrough('mongodb, full disk', node, () => mongod.fail(full), () => mongod.heal(), { refuses: true });
    const unsaid = {
      failCommands: ['commitTransaction'],
      writeConcernError: { code: WRITE_CONCERN_TIMEOUT, errmsg: 'waiting for replication timed out' },
    };
    await talkThrough('mongodb, outcome unknown', node, () => mongod.fail(unsaid, 40), () => mongod.heal(), { refuses: false });
  } finally {
    await node?.stop();
    await mongod.stop();
  }
});
