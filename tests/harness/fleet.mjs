// A fleet: nodes that share a store, a Redis and a secret, and what stands in front of them.
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { nodeBinary } from './binaries.mjs';
import { startHaproxy } from './haproxy.mjs';
import { startMongod } from './mongod.mjs';
import { startReplicaSet } from './mongo3.mjs';
import { env, startNode } from './node.mjs';
import { startCluster, startRedis, startSentinel } from './redis.mjs';
import { scaled } from './speed.mjs';

const SECRET = 'the fleet of the tests has a secret of its own';

const slowReplicaSet = () => startReplicaSet({ elections: 'slow' });
const stores = { mongod: startMongod, replicaSet: startReplicaSet, slowReplicaSet };
const backplanes = { redis: startRedis, sentinel: startSentinel, cluster: startCluster };

/**
 * Starts `nodes` nodes. `flags` are given to all of them, `flagsOf(i, {mongo, redis})` to one, which
 * is how a node gets another address of its store or its Redis. `haproxy: true`, or its settings,
 * puts the real HAProxy in front.
 */
export async function startFleet({
  nodes: count = 3,
  store = 'mongod',
  backplane = 'redis',
  flags = {},
  flagsOf = () => ({}),
  haproxy: settings = false,
} = {}) {
  const started = [];
  const stop = async () => {
    // Last started, first stopped; one that does not end does not keep the others.
    for (const one of started.reverse()) await one.stop().catch((error) => console.error(`# ${error.message}`));
  };
  const keep = (one) => {
    started.push(one);
    return one;
  };
  try {
    const [mongo, redis] = [keep(await stores[store]()), keep(await backplanes[backplane]())];
    const launch = async (i) =>
      startNode({
        store: mongo.url('syncchat'),
        backplane: redis.url,
        'jwt-secret': SECRET,
        'node-id': `n${i + 1}`,
        'access-ttl': '2h',
        'trusted-proxies': '127.0.0.0/8',
        ...flags,
        ...(await flagsOf(i, { mongo, redis })),
      });
    const nodes = [keep(await launch(0))];
    // The first has made the collections; the others start at once.
    nodes.push(...(await Promise.all(Array.from({ length: count - 1 }, (_, i) => launch(i + 1).then(keep)))));
    const haproxy = settings ? keep(await startHaproxy(nodes, settings === true ? {} : settings)) : null;
    /** What a command of the binary prints, with the settings that all nodes share. */
    const command = async (...words) => {
      const settings = ['--store', mongo.url('syncchat'), '--backplane', redis.url, '--jwt-secret', SECRET];
      return (await promisify(execFile)(nodeBinary, [...words, ...settings], { env, timeout: scaled(20_000) })).stdout;
    };
    return { mongo, redis, nodes, haproxy, node: (i) => nodes[i % nodes.length], command, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** The sum of one metric, over its labels and over all nodes that answer. */
export async function total(nodes, name) {
  const all = await Promise.all(nodes.map((node) => node.metrics().catch(() => new Map())));
  let sum = 0;
  for (const metrics of all) {
    for (const [key, value] of metrics) if (key === name || key.startsWith(`${name}{`)) sum += value;
  }
  return sum;
}
