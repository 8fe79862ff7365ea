// What reading lists and profiles costs the gateway and mongod, next to connecting: the figures in
// docs/performance.md. `node tests/measure/reads.mjs`, with SYNCCHAT_BIN as for the tests.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { startMongod } from '../harness/mongod.mjs';
import { startNode } from '../harness/node.mjs';
import { converse, device, person } from '../harness/people.mjs';

const [PEOPLE, GROUP, GROUPS, CALLS, AT_ONCE] = [200, 10, 400, 2_000, 16];
const TICK_US = 1e6 / Number(execFileSync('getconf', ['CLK_TCK']));

/** CPU of a process so far, in µs. */
const cpu = (pid) => {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1].split(' ');
  return (Number(fields[11]) + Number(fields[12])) * TICK_US;
};

/** Runs `work(i)` for each i below `count`, some at once; what each took, in ms. */
async function many(count, atOnce, work) {
  const took = [];
  let next = 0;
  const one = async () => {
    for (let i = next++; i < count; i = next++) {
      const began = performance.now();
      await work(i);
      took.push(performance.now() - began);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, one));
  return took.sort((a, b) => a - b);
}

/** Calls of the store so far, by name: how many, and their seconds. */
async function storeCalls() {
  const calls = new Map();
  for (const [key, value] of await node.metrics()) {
    const [, kind, labels] = /^syncchat_store_call_seconds_(sum|count)\{(.*)\}$/.exec(key) ?? [];
    if (!kind) continue;
    const name = /call="([^"]+)"/.exec(labels)[1];
    const call = calls.get(name) ?? { n: 0, s: 0 };
    call[kind === 'sum' ? 's' : 'n'] = value;
    calls.set(name, call);
  }
  return calls;
}

const mongod = await startMongod();
const node = await startNode({ store: mongod.url('syncchat'), 'access-ttl': '2h' });
try {
  const people = [];
  await many(PEOPLE, 8, async () => people.push(await person(node)));
  await many(GROUPS, 8, async (i) => {
    const members = Array.from({ length: GROUP }, (_, k) => people[(i * 7 + k * 13) % PEOPLE]);
    const { id } = await converse(members[0], members.slice(1), 'group', `group ${i}`);
    await members[1].api.post(`/conversations/${id}/messages`, { content: 'hello there' });
  });
  const who = (i) => people[i % PEOPLE];
  const get = async (path, i) => {
    const { status, data } = await who(i).api.get(path);
    if (status !== 200) throw new Error(`${path}: ${status}`);
    return data;
  };
  console.log(`conversations in a list: ${(await get('/conversations', 0)).conversations.length}`);
  const sockets = [];
  for (const [what, count, atOnce, work] of [
    ['GET /conversations', CALLS, AT_ONCE, (i) => get('/conversations', i)],
    ['GET /users/me', CALLS, AT_ONCE, (i) => get('/users/me', i)],
    ['GET /users/{id}', CALLS, AT_ONCE, (i) => get(`/users/${who(i + 1).id}`, i)],
    ['a list, one at a time', 300, 1, (i) => get('/conversations', i)],
    ['a profile, one at a time', 300, 1, (i) => get('/users/me', i)],
    ['connect, 64 at once', 1_000, 64, async (i) => sockets.push(await device(node, who(i)))],
  ]) {
    const before = [cpu(node.pid()), cpu(mongod.pid())];
    const calls = await storeCalls();
    const took = await many(count, atOnce, work);
    const spent = [cpu(node.pid()) - before[0], cpu(mongod.pid()) - before[1]].map((us) => Math.round(us / count));
    const at = (part) => took[Math.floor(took.length * part)].toFixed(1);
    console.log(`${what}: gateway ${spent[0]} µs, mongod ${spent[1]} µs a call; p50 ${at(0.5)}, p99 ${at(0.99)} ms`);
    for (const [call, { n, s }] of await storeCalls()) {
      const was = calls.get(call) ?? { n: 0, s: 0 };
      if (n > was.n) console.log(`    ${call}: ${((n - was.n) / count).toFixed(2)} a call, ${(((s - was.s) * 1e3) / (n - was.n)).toFixed(2)} ms each`);
    }
  }
  sockets.forEach((socket) => socket.disconnect());
} finally {
  await node.stop();
  await mongod.stop();
}
process.exit(0);
