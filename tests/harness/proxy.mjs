// A TCP proxy that is a bad network: cut, half-open, slow, narrow.
import net from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { HOST } from './process.mjs';

/** Bytes read at once: what a delayed or throttled connection holds at most, in each direction. */
const CHUNK_BYTES_MAX = 16 * 1024;

/**
 * Listens on a free port and passes on to `port` of this host. What it does to connections, open and
 * new ones, is changed at any time:
 *
 * - `cut()`: open ones are reset, new ones are reset at once;
 * - `freeze()`: everything stays open and nothing passes, as if the cable were pulled;
 * - `delay(ms)`: each piece arrives so much later;
 * - `throttle(bytesPerSecond)`: in each direction of each connection;
 * - `heal()`: as good as new, for the connections that are left and for new ones.
 */
export async function startProxy(port) {
  const state = { cut: false, frozen: null, delayMs: 0, bytesPerSecond: Infinity };
  const pairs = new Set();
  let thaw = () => {};

  // Reads a piece, treats it badly, writes it: the next one is not read before, so that what waits
  // here is bounded and the sender feels it.
  async function pass(from, to) {
    try {
      for await (const piece of from.iterator({ destroyOnReturn: false })) {
        for (let at = 0; at < piece.length; at += CHUNK_BYTES_MAX) {
          const part = piece.subarray(at, at + CHUNK_BYTES_MAX);
          if (state.delayMs > 0) await delay(state.delayMs);
          if (state.bytesPerSecond < Infinity) await delay((part.length / state.bytesPerSecond) * 1_000);
          while (state.frozen) await state.frozen;
          if (to.destroyed) return;
          if (!to.write(part)) await new Promise((resolve) => to.once('drain', resolve).once('close', resolve));
        }
      }
      while (state.frozen) await state.frozen;
      to.end();
    } catch {
      to.destroy();
    }
  }

  const server = net.createServer((client) => {
    client.on('error', () => {});
    if (state.cut) {
      client.resetAndDestroy();
      return;
    }
    const upstream = net.connect(port, HOST);
    upstream.on('error', () => client.destroy());
    const pair = { client, upstream };
    pairs.add(pair);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      one.setNoDelay(true);
      // A frozen network does not tell of the end either.
      one.on('close', async () => {
        while (state.frozen) await state.frozen;
        other.destroy();
        pairs.delete(pair);
      });
    }
    void pass(client, upstream);
    void pass(upstream, client);
  });
  await new Promise((resolve, reject) => server.listen(0, HOST, resolve).on('error', reject));

  const proxy = {
    port: server.address().port,
    connections: () => pairs.size,
    cut() {
      state.cut = true;
      for (const { client, upstream } of pairs) {
        client.resetAndDestroy();
        upstream.resetAndDestroy();
      }
    },
    freeze() {
      state.frozen ??= new Promise((resolve) => {
        thaw = resolve;
      });
    },
    delay(ms) {
      state.delayMs = ms;
    },
    throttle(bytesPerSecond) {
      state.bytesPerSecond = bytesPerSecond;
    },
    heal() {
      Object.assign(state, { cut: false, frozen: null, delayMs: 0, bytesPerSecond: Infinity });
      thaw();
    },
    async stop() {
      proxy.cut();
      state.frozen = null;
      thaw();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
