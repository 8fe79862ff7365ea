// An older backup takes the place of what clients have seen. None of them misses anything in silence.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { cp, rm } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { promisify } from 'node:util';
import { MongoClient } from 'mongodb';
import { nodeBinary } from '../harness/binaries.mjs';
import { env, startNode } from '../harness/node.mjs';
import { ask, converse, device, person, say } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';

const run = promisify(execFile);
const SECRET = 'a secret of at least thirty-two bytes!';

/** How a backup is made of each store, and what puts it back. */
const backups = {
  async sqlite(node) {
    const [data, copy] = ['data', 'backup'].map((name) => path.join(node.dir, name));
    await cp(data, copy, { recursive: true });
    const restore = async () => {
      await rm(data, { recursive: true });
      await cp(copy, data, { recursive: true });
    };
    // The copy lies in the node's folder, and goes with it.
    return { restore, close: () => {} };
  },
  async mongodb(node, store) {
    const client = await new MongoClient(store.flags.store).connect();
    const database = client.db();
    const saved = new Map();
    for (const { name } of await database.listCollections().toArray()) {
      saved.set(name, await database.collection(name).find({}, { promoteValues: false }).toArray());
    }
    const restore = async () => {
      for (const [name, documents] of saved) {
        await database.collection(name).deleteMany({});
        if (documents.length > 0) await database.collection(name).insertMany(documents);
      }
    };
    return { restore, close: () => client.close() };
  },
};

for (const storeName of storeNames) {
  describe(`a backup that is restored on ${storeName}`, () => {
    let store;
    let node;
    const open = [];
    const made = [];
    const join = async (who) => {
      const socket = await device(node, who, { reconnectionDelay: 50 });
      open.push(socket);
      return socket;
    };
    const cli = (...args) => run(nodeBinary, [...args, ...settings()], { cwd: node.dir, env });
    const settings = () => Object.entries(store.flags).flatMap(([name, value]) => [`--${name}`, value]);
    const synced = async (socket, id, seq, epoch) => {
      const answer = await ask(socket, 'sync', { cursors: { [id]: seq }, epoch });
      assert.equal(answer.ok, true);
      const [one] = answer.conversations;
      return { ...answer, contents: one.messages.map(({ content }) => content), one };
    };

    before(async () => {
      store = await openStore(storeName);
      node = await startNode({ ...store.flags, 'jwt-secret': SECRET });
    });
    after(async () => {
      open.forEach((socket) => socket.disconnect());
      for (const backup of made) await backup.close();
      await node?.stop();
      await store?.stop();
    });

    /** Five messages, a backup of the stopped node, five more that are lost. */
    async function lose() {
      const [x, y] = [await person(node, 'x'), await person(node, 'y')];
      const { id } = await converse(x, [y], 'group');
      const [sx, sy] = [await join(x), await join(y)];
      for (let seq = 1; seq <= 5; seq += 1) await say(sx, id, `old ${seq}`);
      await sy.hears('receive_msg', ({ seq }) => seq === 5);
      await node.kill();
      const backup = await backups[storeName](node, store);
      made.push(backup);
      await node.launch();
      await until('both are back', () => sx.connected && sy.connected);
      assert.deepEqual([sx.recovered, sy.recovered], [true, true], 'a restart is no other history');
      const epoch = (await synced(sy, id, 5, sy.of('authenticated')[0].epoch)).epoch;
      for (let seq = 6; seq <= 10; seq += 1) await say(sx, id, `lost ${seq}`);
      await sy.hears('receive_msg', ({ seq }) => seq === 10);
      return { id, sx, sy, epoch, restore: backup.restore };
    }

    it('is noticed by itself if a node was started after it was made', async () => {
      const { id, sx, sy, epoch, restore } = await lose();
      sy.io.reconnection(false);
      await node.kill();
      await restore();
      await node.launch();
      await until('x is back', () => sx.connected);
      assert.equal(sx.recovered, false);
      for (let seq = 6; seq <= 10; seq += 1) await say(sx, id, `new ${seq}`);
      sy.heard.length = 0;
      sy.connect();
      const told = await sy.hears('authenticated');
      assert.equal(sy.recovered, false);
      assert.notEqual(told.epoch, epoch);
      // By the number alone, nothing would be missing.
      const answer = await synced(sy, id, 10, epoch);
      const all = [1, 2, 3, 4, 5].map((seq) => `old ${seq}`);
      all.push(...[6, 7, 8, 9, 10].map((seq) => `new ${seq}`));
      assert.deepEqual([answer.reset, answer.contents], [true, all]);
      assert.equal(answer.epoch, told.epoch);
      const again = await synced(sy, id, 10, answer.epoch);
      assert.deepEqual([again.reset, again.contents], [undefined, []]);
      // A client that brings no epoch learns what a number beyond the end tells.
      const beyond = await synced(sy, id, 12);
      assert.deepEqual([beyond.reset, beyond.one.reset, beyond.contents], [undefined, true, all]);
    });

    it('is told by the operator where nothing else tells, and running nodes end', async () => {
      const { id, sx, sy, epoch } = await lose();
      const { stdout } = await cli('restored');
      const [, replaced] = stdout.match(/^epoch ([0-9a-f]{32}): /) ?? [];
      assert.ok(replaced, stdout);
      const { stdout: table } = await cli('check').catch((failed) => failed);
      assert.match(table, new RegExp(`store .*epoch ${replaced}`));
      const outcome = await node.exited();
      assert.equal(outcome.code, 1, JSON.stringify(outcome));
      assert.match(node.output(), /the store was restored/);
      sx.heard.length = 0;
      await node.launch();
      await until('both are back', () => sx.connected && sy.connected);
      assert.deepEqual([sx.recovered, sy.recovered], [false, false]);
      const answer = await synced(sy, id, 10, epoch);
      assert.deepEqual([answer.reset, answer.contents.length], [true, 10]);
      await say(sx, id, 'on we go');
      await sy.hears('receive_msg', ({ content }) => content === 'on we go');
    });

    it('shows nothing that was said after a removal, whenever a page of history is read', async () => {
      const [own, spy, third] = [await person(node, 'own'), await person(node, 'spy'), await person(node, 'third')];
      const { id } = await converse(own, [spy, third], 'group');
      const seen = new Map();
      let done = false;
      let pages = 0;
      const read = async () => {
        while (!done) {
          const { status, data } = await spy.api.get(`/conversations/${id}/messages`, { params: { limit: 5 } });
          pages += 1;
          if (status === 200) for (const { seq, content } of data.messages) seen.set(seq, content);
        }
      };
      const readers = Array.from({ length: 4 }, read);
      const leaked = [];
      for (let round = 0; round < 40; round += 1) {
        const [, said] = await Promise.all([
          own.api.delete(`/conversations/${id}/participants/${spy.id}`),
          own.api.post(`/conversations/${id}/messages`, { content: `secret ${round}` }),
        ]);
        const { data } = await own.api.get(`/conversations/${id}/messages`, { params: { limit: 3 } });
        const gone = data.messages.findLast(({ event }) => event?.kind === 'removed').seq;
        const later = await own.api.post(`/conversations/${id}/messages`, { content: `later ${round}` });
        await sleep(5);
        const secret = [said, later].map((answer) => answer.data.message.seq).filter((seq) => seq > gone);
        leaked.push(...secret.filter((seq) => seen.has(seq)));
        await own.api.post(`/conversations/${id}/participants`, { userId: spy.id });
      }
      done = true;
      await Promise.all(readers);
      assert.deepEqual(leaked, []);
      assert.ok(pages > 40, `${pages} pages`);
    });

    it('is looked through by a deep check', async () => {
      const { stdout } = await cli('check', '--deep');
      const lines = stdout.trimEnd().split('\n');
      assert.equal(lines.length, 7, stdout);
      for (const line of lines.slice(1)) assert.match(line, /^ok .* +0 +0$/);
    });
  });
}
