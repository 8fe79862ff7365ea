// python-socketio: what works only with the JavaScript client does not work.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import path from 'node:path';
import { after, before, describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { startNode } from '../harness/node.mjs';
import { converse, person } from '../harness/people.mjs';
import { scaled } from '../harness/speed.mjs';
import { openStore, storeNames } from '../harness/stores.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const python = process.env.SYNCCHAT_TEST_PYTHON ?? path.resolve(here, '../../target/services/python/bin/python');
const run = promisify(execFile);

for (const storeName of storeNames) {
  describe(`python-socketio on ${storeName}`, () => {
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

    for (const transport of ['polling', 'websocket', 'upgrade']) {
      it(`sends, acks and receives by ${transport}`, async () => {
        const [ann, bob] = [await person(node), await person(node)];
        const conversation = await converse(ann, [bob]);
        const args = [path.join(here, 'python_client.py'), node.url, ann.token, bob.token, conversation.id, transport];
        const { stdout } = await run(python, args, { timeout: scaled(60_000) });
        const heard = JSON.parse(stdout);
        const expected = Array.from({ length: 20 }, (_, i) => i + 1);
        assert.deepEqual(heard.acked, expected);
        assert.deepEqual(heard.received, expected);
        assert.equal(heard.refused, 'invalid');
        assert.equal(heard.transport, transport === 'polling' ? 'polling' : 'websocket');
      });
    }
  });
}
