// People who talk and listen while things break, and a record of what they were promised.
import { setTimeout as delay } from 'node:timers/promises';
import { ask, device, socketOf } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';

/** A generator of numbers that a seed repeats (mulberry32). */
export function seeded(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** The seed of this run, printed so that it can be given again. */
export function seedOfRun() {
  const seed = Number(process.env.SYNCCHAT_TEST_SEED ?? Math.floor(Math.random() * 2 ** 31));
  console.log(`seed ${seed} (SYNCCHAT_TEST_SEED repeats it)`);
  return seed;
}

/** Keeps why a socket was disconnected, each time. */
function keepPartings(one) {
  one.socket.on('disconnect', (reason, details) => {
    const why = [reason, details?.description?.message ?? details?.description, details?.context?.status];
    one.partings.push(why.filter((part) => part !== undefined).join(': '));
  });
}

/**
 * One person on one socket, who sends one message after the other and repeats each, with the same
 * clientMsgId, until it is acknowledged; between two messages they wait `pauseMs`.
 */
export class Talker {
  constructor(node, who, conversationId, name, { pauseMs = 0, ...options } = {}) {
    Object.assign(this, { node, who, conversationId, name, pauseMs });
    this.acked = new Map();
    this.attempts = 0;
    this.longestWaitMs = 0;
    this.connections = 0;
    this.partings = [];
    this.stopped = false;
    this.socket = socketOf(node, { auth: { token: who.token }, ...options });
    this.socket.on('connect', () => {
      this.connections += 1;
    });
    keepPartings(this);
    // Hours of talk are not to be kept twice.
    this.socket.offAny();
  }

  async run() {
    for (let i = 0; !this.stopped; i += 1) {
      const clientMsgId = `${this.name}-${i}`;
      const content = `${this.name} says ${i}`;
      while (!this.acked.has(clientMsgId) && !this.closed) {
        this.attempts += 1;
        const began = Date.now();
        const payload = { conversationId: this.conversationId, content, clientMsgId };
        // A repetition is what a client does: on an error, and when no answer came.
        const ack = await this.tryOnce(payload);
        this.longestWaitMs = Math.max(this.longestWaitMs, Date.now() - began);
        if (ack?.ok) this.acked.set(clientMsgId, { seq: ack.message.seq, content: ack.message.content, at: Date.now() });
        else await delay(50);
        if (ack && !ack.ok && !['unavailable', 'unauthorized'].includes(ack.error.code)) {
          throw new Error(`${clientMsgId} refused: ${JSON.stringify(ack.error)}`);
        }
      }
      if (this.pauseMs > 0) await delay(this.pauseMs);
    }
  }

  async tryOnce(payload) {
    if (!this.socket.connected) {
      await delay(20);
      return null;
    }
    let gone;
    const left = new Promise((resolve) => {
      gone = () => resolve(null);
      this.socket.once('disconnect', gone);
    });
    try {
      return await Promise.race([ask(this.socket, 'send_msg', payload, 15_000), left]);
    } catch {
      return null;
    } finally {
      this.socket.off('disconnect', gone);
    }
  }

  /** Says no more, once what is being said is acknowledged. */
  stop() {
    this.stopped = true;
  }

  /** Goes at once. */
  close() {
    this.stopped = true;
    this.closed = true;
    this.socket.disconnect();
  }
}

/** One person on one socket, who holds every message once, by `receive_msg` and by `sync`. */
export class Listener {
  constructor(node, who, conversationIds, options = {}) {
    Object.assign(this, { node, who, options });
    this.held = new Map(conversationIds.map((id) => [id, new Map()]));
    this.arrivals = new Map(conversationIds.map((id) => [id, new Map()]));
    this.presence = [];
    this.faults = [];
    this.connections = 0;
    this.partings = [];
    this.connectErrors = 0;
    this.syncs = 0;
  }

  async open() {
    this.socket = socketOf(this.node, { auth: { token: this.who.token }, ...this.options });
    let last = new Map();
    this.socket.on('connect', () => {
      this.connections += 1;
      last = new Map();
    });
    keepPartings(this);
    this.socket.on('connect_error', () => {
      this.connectErrors += 1;
    });
    this.socket.on('receive_msg', (message) => {
      const before = last.get(message.conversationId) ?? 0;
      if (message.seq <= before) this.faults.push(`${message.seq} after ${before} on one connection`);
      if (before !== 0 && message.seq > before + 1) this.faults.push(`${before} then ${message.seq}: a hole`);
      last.set(message.conversationId, message.seq);
      this.hold(message);
    });
    this.socket.on('presence', ({ userId, status }) => this.presence.push({ userId, status, at: Date.now() }));
    this.socket.on('authenticated', () => void this.catchUp());
    await this.socket.hears('authenticated', undefined, 20_000);
    this.socket.offAny();
    this.socket.heard.length = 0;
  }

  hold(message) {
    const log = this.held.get(message.conversationId);
    const known = log.get(message.seq);
    if (known === undefined) this.arrivals.get(message.conversationId).set(message.seq, Date.now());
    else if (known !== message.content) this.faults.push(`seq ${message.seq} has two contents`);
    log.set(message.seq, message.content);
  }

  async catchUp() {
    for (;;) {
      const cursors = Object.fromEntries([...this.held].map(([id, log]) => [id, dense(log)]));
      let answer;
      try {
        answer = await ask(this.socket, 'sync', { cursors }, 15_000);
      } catch {
        if (!this.socket.connected) return;
        continue;
      }
      this.syncs += 1;
      if (!answer.ok) {
        await delay(100);
        continue;
      }
      for (const conversation of answer.conversations) conversation.messages.forEach((message) => this.hold(message));
      if (!answer.conversations.some((conversation) => conversation.more)) return;
    }
  }

  close() {
    this.socket?.disconnect();
  }
}

/** How far a log goes without a hole. */
export function dense(log) {
  let seq = 0;
  while (log.has(seq + 1)) seq += 1;
  return seq;
}

/** When each acknowledged message was acknowledged, and how long after that a listener held it. */
export function delays(talkers, listeners, conversationId) {
  const all = [];
  for (const talker of talkers.filter((t) => t.conversationId === conversationId)) {
    for (const { seq, at } of talker.acked.values()) {
      for (const listener of listeners) {
        const arrival = listener.arrivals.get(conversationId)?.get(seq);
        if (arrival !== undefined) all.push({ ackedAt: at, arrival, ms: Math.max(0, arrival - at) });
      }
    }
  }
  return all;
}

/** Median, 99th percentile and maximum, for a line of figures. */
export function spread(values) {
  if (values.length === 0) return 'none';
  const sorted = [...values].sort((a, b) => a - b);
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  return `${sorted.length} median ${at(0.5)} p99 ${at(0.99)} max ${sorted.at(-1)} ms`;
}

/**
 * Judges the history: the log is 1..n, each acknowledged message is in it once and where the ack
 * said, nothing twice, and every listener holds all of it.
 */
export async function judge(log, talkers, listeners, conversationId) {
  const faults = [];
  log.forEach((message, i) => {
    if (message.seq !== i + 1) faults.push(`place ${i + 1} holds seq ${message.seq}`);
  });
  const byClientId = new Map();
  for (const message of log) {
    const key = message.clientMsgId;
    if (byClientId.has(key)) faults.push(`${key} is stored twice`);
    byClientId.set(key, message);
  }
  let acked = 0;
  for (const talker of talkers.filter((t) => t.conversationId === conversationId)) {
    let before = 0;
    for (const [clientMsgId, promise] of talker.acked) {
      acked += 1;
      const stored = byClientId.get(clientMsgId);
      if (!stored) faults.push(`${clientMsgId} was acknowledged and is lost`);
      else if (stored.seq !== promise.seq || stored.content !== promise.content) {
        faults.push(`${clientMsgId} was acknowledged at ${promise.seq} and stands at ${stored.seq}`);
      }
      if (promise.seq <= before) faults.push(`${clientMsgId} at ${promise.seq} overtook ${before}`);
      before = promise.seq;
    }
  }
  for (const listener of listeners) {
    const held = listener.held.get(conversationId);
    if (!held) continue;
    await until(`a listener to hold ${log.length}`, () => dense(held) >= log.length, 45_000).catch((error) =>
      faults.push(`${error.message}; holds ${dense(held)} without a hole, ${held.size} in all`),
    );
    for (const message of log) {
      if (held.has(message.seq) && held.get(message.seq) !== message.content) faults.push(`seq ${message.seq} differs`);
    }
    faults.push(...listener.faults);
  }
  return { acked, stored: log.length, faults };
}

export { device };
