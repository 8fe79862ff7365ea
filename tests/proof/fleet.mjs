// The fleet of the proof: three gateways, of which one reaches Redis by a proxy, a three-member MongoDB, HAProxy.
import { total, startFleet } from '../harness/fleet.mjs';
import { HOST, until } from '../harness/process.mjs';
import { startProxy } from '../harness/proxy.mjs';

export async function startProofFleet() {
  let proxy;
  const fleet = await startFleet({
    store: 'replicaSet',
    haproxy: true,
    flagsOf: async (i, { redis }) => {
      if (i !== 1) return {};
      proxy = await startProxy(redis.port);
      return { backplane: `redis://${HOST}:${proxy.port}` };
    },
  });
  const reached = async () => (await total(fleet.nodes, 'syncchat_backplane_connected')) === fleet.nodes.length;
  const ready = () => until('every gateway to reach redis', reached, 30_000);
  await ready();
  return {
    fleet,
    proxy,
    ready,
    async stop() {
      await fleet.stop();
      await proxy?.stop();
    },
  };
}
