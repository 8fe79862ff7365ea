// A real mongod as a replica set of one.
import { access, mkdir } from 'node:fs/promises';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { MongoClient } from 'mongodb';
import { HOST, freePort, start, stop, tempDir, until } from './process.mjs';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const mongodBinary = process.env.SYNCCHAT_TEST_MONGOD ?? path.join(root, 'target/services/bin/mongod');

/** How a member of a replica set is started for tests: little memory, a quick end. */
export const mongodArgs = (port, dbpath) => [
  ...['--dbpath', dbpath, '--port', String(port), '--bind_ip', HOST],
  ...['--replSet', 'rs', '--nounixsocket', '--wiredTigerCacheSizeGB', '0.25'],
  ...['--setParameter', 'diagnosticDataCollectionEnabled=false'],
  ...['--setParameter', 'shutdownTimeoutMillisForSignaledShutdown=100'],
];

/** Starts a mongod; `kill`, `restart` and `stop` end it and bring it back on the same data. */
export async function startMongod() {
  await access(mongodBinary).catch(() => {
    throw new Error(`no mongod at ${mongodBinary}: run "make services"`);
  });
  const { dir, remove } = await tempDir('mongod');
  const port = await freePort();
  await mkdir(path.join(dir, 'db'));
  const launch = () => start(mongodBinary, mongodArgs(port, path.join(dir, 'db')));
  let running = launch();
  // A client whose first connection failed stays closed, so each try has its own.
  const connect = () =>
    new MongoClient(`mongodb://${HOST}:${port}/?directConnection=true`, { serverSelectionTimeoutMS: 1000 }).connect();
  const direct = await until('mongod to answer', connect, 30_000);
  const admin = () => direct.db('admin');
  const primary = () =>
    until('mongod to be primary', async () => (await admin().command({ hello: 1 })).isWritablePrimary, 30_000);
  await admin().command({
    replSetInitiate: {
      _id: 'rs',
      members: [{ _id: 0, host: `${HOST}:${port}` }],
      settings: { electionTimeoutMillis: 1000, heartbeatIntervalMillis: 200 },
    },
  });
  await primary();
  return {
    port,
    url: (db) => `mongodb://${HOST}:${port}/${db}?replicaSet=rs`,
    pid: () => running.child.pid,
    signal: (name) => running.child.kill(name),
    async kill() {
      running.child.kill('SIGKILL');
      await running.exited;
    },
    async restart() {
      running = launch();
      await primary();
    },
    async stop() {
      await direct.close();
      await stop(running, 'SIGKILL');
      await remove();
    },
  };
}
