// Files end to end, on a folder and on a bucket of S3: the same promises on both.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFile, readdir } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startNode } from '../harness/node.mjs';
import { ask, converse, device, person, rest } from '../harness/people.mjs';
import { sleep, until } from '../harness/process.mjs';
import { startS3 } from '../harness/s3.mjs';
import { scaled } from '../harness/speed.mjs';

const storages = {
  folder: async () => ({ flags: {}, stop: async () => {} }),
  s3: startS3,
};

const PNG = Buffer.from(
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==',
  'base64',
);

async function announce(who, name, bytes, contentType) {
  const { status, data } = await who.api.post('/files', { name, size: bytes.length ?? bytes, contentType });
  assert.equal(status, 201, JSON.stringify(data));
  assert.equal(data.upload.method, 'PUT');
  assert.match(data.fileId, /^[0-9a-f]{24}$/);
  assert.ok(Date.parse(data.upload.expiresAt) > Date.now());
  return data;
}

const put = ({ upload }, body) => fetch(upload.url, { method: 'PUT', headers: upload.headers, body, duplex: 'half' });

async function upload(who, name, bytes, contentType) {
  const announced = await announce(who, name, bytes, contentType);
  const answer = await put(announced, bytes);
  assert.equal(answer.status, 200, await answer.text());
  return announced.fileId;
}

async function show(who, id, type, attachments, content = '') {
  return who.api.post(`/conversations/${id}/messages`, { type, content, attachments });
}

/** The link of a file, not followed. */
async function link(who, fileId, url) {
  const answer = await who.api.get(`/files/${fileId}`, { maxRedirects: 0 });
  assert.equal(answer.status, 302);
  return new URL(answer.headers.location, url);
}

/** Whole, unlike RSS of the machine: what the kernel says this process holds. */
async function rssBytes(pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8');
  return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
}

for (const [name, open] of Object.entries(storages)) {
  describe(`files in a ${name}`, () => {
    let storage;
    let node;
    let ann;
    let ben;
    let eve;
    let id;

    before(async () => {
      storage = await open();
      node = await startNode({ ...storage.flags, 'max-file-size': '60MiB' });
      [ann, ben, eve] = [await person(node), await person(node), await person(node)];
      id = (await converse(ann, [ben])).id;
    });
    after(async () => {
      await node?.stop();
      await storage?.stop();
    });

    test('a picture is announced, uploaded, sent over a socket, and got by members only', async () => {
      const fileId = await upload(ann, 'sun.png', PNG, 'image/png');
      const socket = await device(node, ann);
      const other = await device(node, ben);
      const ack = await ask(socket, 'send_msg', { conversationId: id, content: '', type: 'image', attachments: [fileId] });
      assert.equal(ack.ok, true, JSON.stringify(ack));
      const shown = [{ fileId, name: 'sun.png', size: PNG.length, contentType: 'image/png' }];
      assert.deepEqual(ack.message.attachments, shown);
      const received = await other.hears('receive_msg', (message) => message.id === ack.message.id);
      assert.deepEqual(received.attachments, shown);
      assert.equal(received.type, 'image');
      socket.close();
      other.close();

      // Clients that follow redirects by themselves, token and all.
      const got = await ben.api.get(`/files/${fileId}`, { responseType: 'arraybuffer' });
      assert.equal(got.status, 200);
      assert.deepEqual(Buffer.from(got.data), PNG);
      assert.equal(got.headers['content-type'], 'image/png');
      assert.match(got.headers['content-disposition'], /^inline; /);
      const { data } = await ben.api.get(`/files/${fileId}/link`);
      assert.equal((await fetch(data.link.url)).status, 200);
      assert.ok(Date.parse(data.link.expiresAt) - Date.now() <= 300_000);

      for (const where of [`/files/${fileId}`, `/files/${fileId}/link`, '/files/000000000000000000000000', '/files/..']) {
        assert.equal((await eve.api.get(where, { maxRedirects: 0 })).status, 404, where);
      }
      assert.equal((await rest(node.url).get(`/files/${fileId}`)).status, 401);
    });

    test('what is sent is whole, and its sender’s', async () => {
      const early = await announce(ann, 'a.txt', 5, 'text/plain');
      const refused = async (answer, field) => {
        assert.equal(answer.status, 400);
        assert.equal(answer.data.error.code, 'invalid');
        assert.deepEqual(Object.keys(answer.data.error.fields), [field]);
      };
      await refused(await show(ann, id, 'file', [early.fileId]), 'attachments');
      assert.equal((await put(early, 'hello')).status, 200);
      await refused(await show(ben, id, 'file', [early.fileId]), 'attachments');
      await refused(await show(ann, id, 'image', [early.fileId]), 'type');
      await refused(await show(ann, id, 'file', ['000000000000000000000000']), 'attachments');
      await refused(await show(ann, id, 'file', Array(11).fill(early.fileId)), 'attachments');
      const sent = await show(ann, id, 'file', [early.fileId]);
      assert.equal(sent.status, 201);
      // Once more, elsewhere: its sender may.
      const elsewhere = (await converse(ann, [eve], 'group')).id;
      assert.equal((await show(ann, elsewhere, 'file', [early.fileId])).status, 201);
      assert.equal((await eve.api.get(`/files/${early.fileId}`)).data, 'hello');
      // Nobody changes what was sent.
      const again = await put(early, 'HELLO');
      if (name === 'folder') assert.equal(again.status, 409);
    });

    test('exactly as many bytes as were announced', async () => {
      for (const body of ['1234', '123456', '']) {
        const announced = await announce(ann, 'a.bin', 5);
        const answer = await put(announced, body);
        assert.ok([400, 403, 413].includes(answer.status), `${body.length} bytes: ${answer.status}`);
        if (name === 'folder') assert.equal(answer.status, body.length > 5 ? 413 : 400);
        const sent = await show(ann, id, 'file', [announced.fileId]);
        assert.equal(sent.status, 400);
        assert.match(sent.data.error.message, /was not uploaded/);
      }
      // Without saying how long it will be.
      const announced = await announce(ann, 'a.bin', 5);
      const answer = await put(announced, new Blob(['1234567']).stream());
      assert.ok(answer.status >= 400);
      assert.equal((await show(ann, id, 'file', [announced.fileId])).status, 400);
      assert.equal((await ann.api.post('/files', { name: 'a', size: 60 * 2 ** 20 + 1 })).status, 413);
    });

    test('an upload that is cut off leaves nothing', async () => {
      const announced = await announce(ann, 'cut.bin', 1_000_000, 'application/octet-stream');
      const { upload: to } = announced;
      await new Promise((resolve) => {
        const request = http.request(to.url, {
          method: 'PUT',
          headers: { ...to.headers, 'content-length': 1_000_000 },
        });
        request.on('error', resolve);
        request.on('close', resolve);
        request.write(Buffer.alloc(500_000), () => setTimeout(() => request.destroy(), 100));
      });
      await sleep(200);
      const sent = await show(ann, id, 'file', [announced.fileId]);
      assert.match(sent.data.error.message, /was not uploaded/);
      const answer = await put(announced, Buffer.alloc(1_000_000, 7));
      assert.equal(answer.status, 200);
      assert.equal((await show(ann, id, 'file', [announced.fileId])).status, 201);
    });

    test('an empty file is a file', async () => {
      const fileId = await upload(ann, 'empty.txt', '', 'text/plain');
      assert.equal((await show(ann, id, 'file', [fileId])).status, 201);
      const got = await fetch(await link(ben, fileId, node.url));
      assert.equal(got.status, 200);
      assert.equal(await got.text(), '');
    });

    test('a part of a file', async () => {
      const bytes = randomBytes(100_000);
      const fileId = await upload(ann, 'film.mp4', bytes, 'video/mp4');
      await show(ann, id, 'file', [fileId]);
      const from = await link(ben, fileId, node.url);
      const range = async (text) => {
        const answer = await fetch(from, { headers: { range: text } });
        return [answer.status, answer.headers.get('content-range'), Buffer.from(await answer.arrayBuffer())];
      };
      assert.deepEqual(await range('bytes=10-19'), [206, 'bytes 10-19/100000', bytes.subarray(10, 20)]);
      assert.deepEqual(await range('bytes=99990-'), [206, 'bytes 99990-99999/100000', bytes.subarray(99_990)]);
      assert.deepEqual(await range('bytes=-5'), [206, 'bytes 99995-99999/100000', bytes.subarray(99_995)]);
      assert.equal((await range('bytes=100000-'))[0], 416);
      const whole = await fetch(from);
      assert.ok(whole.headers.get('etag'));
      assert.deepEqual(Buffer.from(await whole.arrayBuffer()), bytes);
    });

    test('links that were changed, or have ended, are refused', async () => {
      const announced = await announce(ann, 'a.txt', 5, 'text/plain');
      const forged = (url, from, to) => fetch(url.replace(from, to), { method: 'PUT', headers: announced.upload.headers, body: 'hello' });
      const { url } = announced.upload;
      for (const [from, to] of [
        [/signature=./i, (found) => `${found.slice(0, -1)}${found.endsWith('0') ? '1' : '0'}`],
        [announced.fileId, '0'.repeat(24)],
      ]) {
        assert.equal((await forged(url, from, to)).status, 403);
      }
      assert.equal((await put(announced, 'hello')).status, 200);
      await show(ann, id, 'file', [announced.fileId]);
      const good = await link(ben, announced.fileId, node.url);
      const other = await upload(ann, 'b.txt', 'other', 'text/plain');
      const swapped = good.href.replace(announced.fileId, other);
      assert.equal((await fetch(swapped)).status, 403);
      const renamed = good.href.replace('plain', 'html');
      assert.notEqual(renamed, good.href);
      assert.equal((await fetch(renamed)).status, 403);
      assert.equal((await fetch(good.href.split('?')[0])).status, 403);
      // A link to get is none to put.
      assert.ok((await fetch(good, { method: 'PUT', body: 'x' })).status >= 400);
    });

    test('what could run is saved, under a name that is none of a path', async () => {
      const script = '<script>alert(1)</script>';
      for (const [file, type] of [
        ['../../etc/passwd.html', 'text/html'],
        ['..\\"x".svg', 'image/svg+xml'],
        ['page.xhtml', 'application/xhtml+xml; charset=utf-8'],
        ['Überraschung 🎉.js', 'text/javascript'],
      ]) {
        const fileId = await upload(ann, file, script, type);
        assert.equal((await show(ann, id, 'file', [fileId])).status, 201);
        const got = await fetch(await link(ben, fileId, node.url));
        assert.equal(got.status, 200);
        assert.equal(got.headers.get('content-type'), type);
        const disposition = got.headers.get('content-disposition');
        assert.match(disposition, /^attachment; filename="[^"\\/]*"; filename\*=UTF-8''[^"\\/ ]*$/);
        const [, encoded] = /filename\*=UTF-8''(.*)$/.exec(disposition);
        assert.equal(decodeURIComponent(encoded), file.replaceAll(/[\\/]/g, '_'));
        if (name === 'folder') {
          assert.equal(got.headers.get('x-content-type-options'), 'nosniff');
          assert.match(got.headers.get('content-security-policy'), /sandbox/);
        }
      }
      for (const bad of ['', 'a\u0000b', 'gpj.\u202Eexe', 'x'.repeat(256)]) {
        const answer = await ann.api.post('/files', { name: bad, size: 1 });
        assert.equal(answer.status, 400, JSON.stringify(bad));
      }
      assert.ok(!(await readdir(node.dir)).includes('etc'));
    });

    test('50 MB go up and come down with the memory flat', async () => {
      const size = 50_000_000;
      const announced = await announce(ann, 'big.bin', size, 'application/octet-stream');
      const chunk = randomBytes(1_000_000);
      const before = await rssBytes(node.pid());
      let most = before;
      const watching = setInterval(async () => {
        most = Math.max(most, await rssBytes(node.pid()));
      }, 20);
      const { upload: to } = announced;
      const status = await new Promise((resolve, reject) => {
        const request = http.request(to.url, { method: 'PUT', headers: { ...to.headers, 'content-length': size } });
        request.on('response', (answer) => answer.resume().on('end', () => resolve(answer.statusCode)));
        request.on('error', reject);
        (async () => {
          for (let sent = 0; sent < size; sent += chunk.length) {
            if (!request.write(chunk)) await new Promise((drained) => request.once('drain', drained));
          }
          request.end();
        })();
      });
      assert.equal(status, 200);
      assert.equal((await show(ann, id, 'file', [announced.fileId])).status, 201);
      const got = await fetch(await link(ben, announced.fileId, node.url));
      let length = 0;
      for await (const part of got.body) length += part.length;
      clearInterval(watching);
      assert.equal(length, size);
      const grown = (most - before) / 2 ** 20;
      console.log(`# ${name}: the server grew by ${grown.toFixed(1)} MiB`);
      assert.ok(grown < 16, `${grown} MiB`);
    });

    test('what is deleted is served no more', async () => {
      const fileId = await upload(ann, 'gone.txt', 'gone', 'text/plain');
      const sent = await show(ann, id, 'file', [fileId]);
      assert.equal((await ben.api.get(`/files/${fileId}`)).data, 'gone');
      const deleted = await ann.api.delete(`/messages/${sent.data.message.id}`);
      assert.deepEqual(deleted.data.message.attachments, []);
      for (const who of [ann, ben]) {
        assert.equal((await who.api.get(`/files/${fileId}`)).status, 404);
      }
    });

    test('the page may reach where files are', async () => {
      const policy = (await fetch(node.url)).headers.get('content-security-policy');
      assert.equal(policy.includes(storage.endpoint ?? 'http://'), name === 's3');
    });
  });

  test(`a link to a ${name} ends when it says so`, async () => {
    const storage = await open();
    const node = await startNode({ ...storage.flags, 'file-link-ttl': `${scaled(1_000)}ms` });
    try {
      const [ann, ben] = [await person(node), await person(node)];
      const { id } = await converse(ann, [ben]);
      const fileId = await upload(ann, 'a.txt', 'hello', 'text/plain');
      assert.equal((await show(ann, id, 'file', [fileId])).status, 201);
      const { data } = await ben.api.get(`/files/${fileId}/link`);
      assert.ok(Date.parse(data.link.expiresAt) - Date.now() <= scaled(1_000));
      const status = async () => (await fetch(data.link.url)).status;
      await until('the link to end', async () => (await status()) === 403);
      assert.equal((await ben.api.get(`/files/${fileId}`)).data, 'hello');
    } finally {
      await node.stop();
      await storage.stop();
    }
  });

  test(`what nobody sends is swept from a ${name}, and what was taken back`, async () => {
    const storage = await open();
    const node = await startNode({ ...storage.flags, 'unsent-file-ttl': `${scaled(1_000)}ms` });
    try {
      const [ann, ben] = [await person(node), await person(node)];
      const { id } = await converse(ann, [ben]);
      const shown = await upload(ann, 'shown.txt', 'shown', 'text/plain');
      const sent = await show(ann, id, 'file', [shown]);
      assert.equal(sent.status, 201);
      const unsent = await upload(ann, 'unsent.txt', 'unsent', 'text/plain');
      await announce(ann, 'never came.txt', 5, 'text/plain');
      const swept = async () => {
        const metrics = await node.metrics();
        return (reason) => metrics.get(`syncchat_files_swept_total{reason="${reason}"}`) ?? 0;
      };
      await until('the unsent ones to be swept', async () => (await swept())('unsent') === 2);
      const refused = await show(ann, id, 'file', [unsent]);
      assert.match(refused.data.error.message, /no such file/);
      assert.equal((await ben.api.get(`/files/${shown}`)).data, 'shown');
      const kept = storage.dir ?? path.join(node.dir, 'data/files');
      const stored = async () => (await readdir(kept, { recursive: true })).filter((one) => one.includes(shown));
      assert.ok((await stored()).length > 0);
      await ann.api.delete(`/messages/${sent.data.message.id}`);
      await until('the deleted one to be swept', async () => (await swept())('taken_back') === 1, 40_000);
      assert.deepEqual(await stored(), []);
    } finally {
      await node.stop();
      await storage.stop();
    }
  });
}

test('while S3 is away files are unavailable, and nothing else', async () => {
  const storage = await startS3();
  const node = await startNode(storage.flags);
  try {
    const [ann, ben] = [await person(node), await person(node)];
    const { id } = await converse(ann, [ben]);
    const fileId = await upload(ann, 'a.txt', 'hello', 'text/plain');
    storage.signal('SIGSTOP');
    const begun = Date.now();
    const sent = await show(ann, id, 'file', [fileId]);
    assert.equal(sent.status, 503);
    assert.equal(sent.data.error.code, 'unavailable');
    assert.ok(Date.now() - begun < scaled(8_000));
    assert.equal((await fetch(`${node.admin}/readyz`)).status, 200);
    assert.equal((await show(ann, id, 'text', [], 'words go on')).status, 201);
    storage.signal('SIGCONT');
    assert.equal((await show(ann, id, 'file', [fileId])).status, 201);
  } finally {
    storage.signal('SIGCONT');
    await node.stop();
    await storage.stop();
  }
});
