// Real Redis: one server, a master with Sentinels, or a cluster.
import { execFile } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { promisify } from 'node:util';
import { freePort, start, stop, tempDir, until } from './process.mjs';

const run = promisify(execFile);

/** One command to the Redis at `port`; its answer as text. */
export async function cli(port, ...args) {
  const { stdout } = await run('redis-cli', ['-p', String(port), ...args.map(String)], { timeout: 5_000 });
  return stdout.trim();
}

/** A redis-server in `dir`, which must exist. */
function server(port, dir, ...more) {
  const launch = () =>
    start('redis-server', [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', dir],
      ...['--save', '', '--appendonly', 'no', '--repl-diskless-sync-delay', '0', ...more],
    ]);
  let running = launch();
  const answers = () => until('redis to answer', async () => (await cli(port, 'ping')) === 'PONG');
  return {
    port,
    answers,
    pid: () => running.child.pid,
    cli: (...args) => cli(port, ...args),
    signal: (name) => running.child.kill(name),
    async kill() {
      running.child.kill('SIGKILL');
      await running.exited;
    },
    async restart() {
      running = launch();
      await answers();
    },
    end: () => stop(running, 'SIGKILL'),
  };
}

/** Starts one Redis; it keeps nothing on disk, so `kill` and `restart` empty it. */
export async function startRedis() {
  const { dir, remove } = await tempDir('redis');
  const redis = server(await freePort(), dir);
  await redis.answers();
  return {
    ...redis,
    url: `redis://127.0.0.1:${redis.port}`,
    async stop() {
      await redis.end();
      await remove();
    },
  };
}

/** Starts a master, a replica and three Sentinels that fail over within some seconds. */
export async function startSentinel() {
  const { dir, remove } = await tempDir('sentinel');
  const [masterPort, replicaPort] = [await freePort(), await freePort()];
  const servers = [
    server(masterPort, dir, '--dbfilename', 'master.rdb'),
    server(replicaPort, dir, '--dbfilename', 'replica.rdb', '--replicaof', '127.0.0.1', String(masterPort)),
  ];
  await Promise.all(servers.map((one) => one.answers()));
  const sentinels = [];
  for (let i = 0; i < 3; i += 1) {
    const port = await freePort();
    const file = path.join(dir, `sentinel-${i}.conf`);
    await writeFile(
      file,
      [
        `port ${port}`,
        'bind 127.0.0.1',
        `dir ${dir}`,
        `sentinel monitor main 127.0.0.1 ${masterPort} 2`,
        'sentinel down-after-milliseconds main 1000',
        'sentinel failover-timeout main 5000',
      ].join('\n'),
    );
    sentinels.push({ port, running: start('redis-sentinel', [file]) });
  }
  const ask = (...args) => cli(sentinels[0].port, 'sentinel', ...args);
  await until(
    'the sentinels to know one another and the replica',
    async () => (await ask('ckquorum', 'main')).startsWith('OK 3') && (await ask('replicas', 'main')) !== '',
    20_000,
  );
  const masterNow = async () => Number((await ask('get-master-addr-by-name', 'main')).split('\n')[1]);
  const others = sentinels.slice(1).map(({ port }) => `node=127.0.0.1:${port}`);
  return {
    url: `redis-sentinel://127.0.0.1:${sentinels[0].port}?${others.join('&')}&sentinelServiceName=main`,
    masterNow,
    cli: async (...args) => cli(await masterNow(), ...args),
    /** Kills the master of the moment and waits until another takes writes. */
    async failOver() {
      const before = await masterNow();
      await servers.find((one) => one.port === before).kill();
      await until(
        'another master',
        async () => {
          const now = await masterNow();
          return now !== before && (await cli(now, 'role')).startsWith('master');
        },
        30_000,
      );
    },
    async stop() {
      await Promise.all(sentinels.map(({ running }) => stop(running, 'SIGKILL')));
      await Promise.all(servers.map((one) => one.end()));
      await remove();
    },
  };
}

/** Starts a cluster of three masters. */
export async function startCluster() {
  const { dir, remove } = await tempDir('cluster');
  const servers = [];
  for (let i = 0; i < 3; i += 1) {
    const home = path.join(dir, String(i));
    await mkdir(home);
    // The bus listens 10,000 above, which must be a port too.
    let port = await freePort();
    while (port > 55_000) port = await freePort();
    servers.push(server(port, home, '--cluster-enabled', 'yes', '--cluster-node-timeout', '2000'));
  }
  await Promise.all(servers.map((one) => one.answers()));
  const nodes = servers.map((one) => `127.0.0.1:${one.port}`);
  await run('redis-cli', ['--cluster', 'create', ...nodes, '--cluster-replicas', '0', '--cluster-yes'], { timeout: 30_000 });
  for (const one of servers) {
    await until('the cluster to be whole', async () => (await one.cli('cluster', 'info')).includes('cluster_state:ok'), 20_000);
  }
  return {
    url: `redis-cluster://${nodes[0]}?${nodes.slice(1).map((node) => `node=${node}`).join('&')}`,
    servers,
    async stop() {
      await Promise.all(servers.map((one) => one.end()));
      await remove();
    },
  };
}
