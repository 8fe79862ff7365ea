// The load harness on a real node: what it counts, with what it exits, over TCP and over TLS.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { promisify } from 'node:util';
import { load, scaledScenario } from '../harness/load.mjs';
import { startNode } from '../harness/node.mjs';
import { HOST, freePort, start, stop, tempDir, until } from '../harness/process.mjs';

/** HAProxy with a certificate that vouches for itself, in front of a node. */
async function startTls(dir, port) {
  const [ca, pem] = [path.join(dir, 'ca.pem'), path.join(dir, 'front.pem')];
  const key = path.join(dir, 'key.pem');
  await promisify(execFile)('openssl', [
    'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2',
    '-subj', '/CN=tests', '-addext', `subjectAltName=IP:${HOST}`, '-addext', 'basicConstraints=critical,CA:FALSE', '-keyout', key, '-out', ca,
  ]);
  await writeFile(pem, (await readFile(ca, 'utf8')) + (await readFile(key, 'utf8')));
  const listen = await freePort();
  const config = path.join(dir, 'haproxy.cfg');
  await writeFile(
    config,
    `defaults
  mode http
  timeout connect 2s
  timeout client 30s
  timeout server 30s
  timeout tunnel 1m
listen front
  bind ${HOST}:${listen} ssl crt ${pem}
  server node ${HOST}:${port}
`,
  );
  const env = { ...process.env, PATH: `${process.env.PATH}:/usr/sbin` };
  const haproxy = start('haproxy', ['-db', '-f', config], { env });
  await until('TLS to be there', async () => {
    // Refused for its certificate is there, too.
    const answer = await fetch(`https://${HOST}:${listen}/`).catch((error) => error);
    return answer.cause?.code !== 'ECONNREFUSED';
  });
  return { url: `https://${HOST}:${listen}`, ca, stop: () => stop(haproxy, 'SIGKILL') };
}

describe('the load harness', () => {
  let node;
  let tls;
  let folder;
  let short;
  before(async () => {
    folder = await tempDir('load');
    short = await scaledScenario(folder.dir, 'short');
    node = await startNode();
    tls = await startTls(folder.dir, node.port);
  });
  after(async () => {
    await tls?.stop();
    await node?.stop();
    await folder.remove();
  });

  const nothingWrong = ({ counts, lost, sockets }) => {
    assert.equal(sockets, 120);
    assert.ok(counts.delivered > 1000, `${counts.delivered} deliveries`);
    assert.ok(counts.cuts > 0 && counts.connects > 0, 'nobody was cut off and came back');
    assert.deepEqual([lost, counts.doubled, counts.misplaced], [0, 0, 0]);
  };

  test('everything of the short scenario arrives, and the report has it', async () => {
    const { code, output, result, report } = await load(folder.dir, short, '--url', node.url, '--seconds', '4');
    assert.equal(code, 0, output);
    nothingWrong(result);
    assert.match(report, /^<!doctype html>[^]*<svg/i);
    assert.ok(result.figures.cpuUsPerDelivery > 0, 'the server was not found by its port');
  });

  test('the same over TLS', async () => {
    const args = [short, '--url', tls.url, '--ca', tls.ca, '--seconds', '4'];
    const { code, output, result } = await load(folder.dir, ...args);
    assert.equal(code, 0, output);
    nothingWrong(result);
  });

  test('a certificate of somebody else is not believed', async () => {
    const { code, output, result } = await load(folder.dir, short, '--url', tls.url, '--seconds', '1');
    assert.equal(code, 2, output);
    assert.match(output, /certificate/i);
    assert.equal(result, null);
  });

  test('a limit that is not kept ends with 1', async () => {
    const strict = path.join(folder.dir, 'strict.toml');
    const text = await readFile(short, 'utf8');
    await writeFile(strict, text.replace(/delivery_p99_ms = \d+/, 'delivery_p99_ms = 0.001'));
    const { code, output, result } = await load(folder.dir, strict, '--url', node.url, '--seconds', '1');
    assert.equal(code, 1, output);
    assert.equal(result.passed, false);
  });
});
