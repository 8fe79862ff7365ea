// A real node: the binary, its ports, its data, its end.
import { access } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { HOST, freePort, start, stop, tempDir, until } from './process.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const binary = process.env.SYNCCHAT_BIN ?? path.join(root, 'target/release/syncchat');

// Tests come from one address and hash many passwords: the limits meant for strangers are lifted,
// except in the tests that are about them.
const relaxed = {
  'rate-messages': 'off',
  'rate-requests': 'off',
  'rate-handshakes': 'off',
  'rate-registrations': 'off',
  'rate-logins': 'off',
  'bcrypt-cost': '4',
  drain: '1s',
  'log-format': 'json',
};

// The settings of the tests themselves (SYNCCHAT_TEST_…, SYNCCHAT_BIN) are none of the node's.
const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('SYNCCHAT_')));

/**
 * Starts a node. `flags` are named without dashes; `null` leaves one at its default.
 * `kill` is SIGKILL, `restart` starts again on the same data and ports. `through` is a command
 * that the node is started by.
 */
export async function startNode(flags = {}, { through = [] } = {}) {
  await access(binary).catch(() => {
    throw new Error(`no binary at ${binary}: run "make build"`);
  });
  const { dir, remove } = await tempDir('node');
  const [port, adminPort] = [await freePort(), await freePort()];
  const all = {
    listen: `${HOST}:${port}`,
    'admin-listen': `${HOST}:${adminPort}`,
    ...relaxed,
    ...flags,
  };
  const args = Object.entries(all)
    .filter(([, value]) => value !== null)
    .flatMap(([name, value]) => [`--${name}`, String(value)]);
  const url = `http://${HOST}:${port}`;
  const admin = `http://${HOST}:${adminPort}`;
  let running;
  const node = {
    url,
    admin,
    port,
    adminPort,
    dir,
    async launch() {
      const [command, ...rest] = [...through, binary, 'serve', ...args];
      running = start(command, rest, { cwd: dir, env });
      let outcome = null;
      running.exited.then((value) => {
        outcome = value;
      });
      await until(
        'the node to be ready',
        async () => {
          if (outcome) return true;
          return (await fetch(`${admin}/readyz`)).ok;
        },
        30_000,
      );
      if (outcome) throw new Error(`the node ended at once: ${JSON.stringify(outcome)}\n${running.output}`);
    },
    pid: () => running.child.pid,
    output: () => running.output,
    signal: (name) => running.child.kill(name),
    exited: () => running.exited,
    async kill() {
      running.child.kill('SIGKILL');
      await running.exited;
    },
    async restart() {
      // One that a failed test left alive would hold the port, and outlive the run.
      await node.kill();
      await node.launch();
    },
    async metrics() {
      const text = await (await fetch(`${admin}/metrics`)).text();
      return new Map(
        text
          .split('\n')
          .filter((line) => line && !line.startsWith('#'))
          .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.slice(line.lastIndexOf(' ') + 1))]),
      );
    },
    async stop() {
      const outcome = await stop(running, 'SIGTERM', 15_000);
      await remove();
      return outcome;
    },
  };
  await node.launch();
  return node;
}
