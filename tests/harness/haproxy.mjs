// The real HAProxy with the file that the project ships.
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort, start, stop, tempDir, until } from './process.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');

/**
 * Starts HAProxy before up to three gateways, each a `{port, adminPort}`. All tests come from one
 * address, so its limits by address are out of the way unless `settings` names them
 * (`FRONT_…`).
 */
export async function startHaproxy(gateways, settings = {}) {
  const { dir, remove } = await tempDir('haproxy');
  const [port, statsPort] = [await freePort(), await freePort()];
  const env = {
    ...process.env,
    // Where Debian puts it; not everybody's path goes there.
    PATH: `${process.env.PATH}:/usr/sbin`,
    FRONT_LISTEN: `127.0.0.1:${port}`,
    FRONT_STATS: `127.0.0.1:${statsPort}`,
    FRONT_SOCKET: path.join(dir, 'admin.sock'),
    FRONT_ADDRESS_CONNECTIONS: '100000',
    FRONT_ADDRESS_REQUESTS: '1000000',
    ...settings,
  };
  for (let i = 1; i <= 3; i += 1) {
    // A place without a gateway refuses every connection.
    const { port: to, adminPort } = gateways[i - 1] ?? { port: 1, adminPort: 1 };
    env[`GATEWAY_${i}`] = `127.0.0.1:${to}`;
    env[`GATEWAY_${i}_ADMIN_PORT`] = String(adminPort);
  }
  const running = start('haproxy', ['-db', '-f', path.join(root, 'haproxy.cfg')], { env });
  const stats = `http://127.0.0.1:${statsPort}`;
  const haproxy = {
    url: `http://127.0.0.1:${port}`,
    stats,
    port,
    output: () => running.output,
    /** What a backend thinks of its servers: name to `UP`, `DOWN` … */
    async servers(backend = 'sessions') {
      const rows = (await (await fetch(`${stats}/;csv`)).text()).split('\n').map((row) => row.split(','));
      const status = rows[0].indexOf('status');
      return new Map(rows.filter((row) => row[0] === backend && /^g\d$/.test(row[1])).map((row) => [row[1], row[status].split(' ')[0]]));
    },
    async stop() {
      await stop(running, 'SIGKILL');
      await remove();
    },
  };
  await until('haproxy to see its gateways', async () => {
    const up = [...(await haproxy.servers()).values()].filter((status) => status === 'UP');
    return up.length === gateways.length;
  });
  return haproxy;
}
