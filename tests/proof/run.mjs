// One run of the proof: people who talk, edit, delete, read, come and go and renew their log-ins while something is broken,
// and a judge who holds what everybody was told against the store.
import { createHash } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { seeded } from '../faults/workload.mjs';
import { ask, converse, person, rest, socketOf, TRANSPORTS, wholeLog } from '../harness/people.mjs';
import { until } from '../harness/process.mjs';
import { scaled } from '../harness/speed.mjs';
import { FAULTS } from './faults.mjs';
import { View } from './view.mjs';

const ROOMS = 6;
/** Members who talk, in each room. */
const TALKERS = 4;
/** What each of them does at the same time. */
const LANES = 6;
/** Groups that one run makes besides, at most: each is read whole by the judge. */
const CREATIONS_MAX = 24;
const ANSWER_MS = 15_000;
const RETRY_MS = 50;
/** From the last request to the moment by which every view is the store's. */
const WHOLE_MS_MAX = 60_000;
/** An outcome that may be another one when the same is asked again. */
const PASSING = ['unavailable', 'rate_limited', 'internal'];

/** Acknowledged facts of a run, by kind; only counts and a checksum are kept of most. */
class Facts {
  counts = { message: 0, edit: 0, deletion: 0, membership: 0, title: 0, creation: 0, receipt: 0, refresh: 0 };
  #lines = [];

  add(kind, line) {
    this.counts[kind] += 1;
    this.#lines.push(`${kind} ${line}`);
  }

  get total() {
    return Object.values(this.counts).reduce((sum, count) => sum + count, 0);
  }

  checksum() {
    return createHash('sha256').update(this.#lines.sort().join('\n')).digest('hex');
  }
}

/** A member with a socket, who does things and repeats each until its outcome is known. */
class Actor {
  constructor(run, who, room, isAdmin, transports) {
    Object.assign(this, { run, who, room, isAdmin });
    this.socket = socketOf(run.front, { auth: (give) => give({ token: who.token }), transports });
    this.socket.offAny();
    this.newest = 0;
    this.readUpTo = 0;
    this.created = 0;
    this.socket.on('receive_msg', ({ conversationId, seq }) => {
      if (conversationId === room.id) this.newest = Math.max(this.newest, seq);
    });
    this.socket.on('server_closing', ({ reason }) => {
      if (['kicked', 'token_expired'].includes(reason)) run.fault('signedOut', `${who.username} was sent away: ${reason}`);
    });
  }

  async live() {
    const lanes = Array.from({ length: LANES }, (_, lane) => this.#lane(lane));
    await Promise.all([...lanes, this.#renew(), ...(this.isAdmin ? [this.#govern()] : [])]);
  }

  /** Emits until the answer is final. */
  async #settle(event, payload) {
    for (;;) {
      const ack = this.socket.connected ? await this.#once(event, payload) : null;
      if (ack?.ok) return ack;
      if (ack && !PASSING.includes(ack.error.code)) {
        this.run.fault('lost', `${event} refused: ${JSON.stringify(ack.error)}`);
        return null;
      }
      await delay(RETRY_MS);
    }
  }

  /** The answer, or nothing if the connection breaks off or the time is up. */
  async #once(event, payload) {
    let gone;
    const left = new Promise((resolve) => {
      gone = () => resolve(null);
      this.socket.once('disconnect', gone);
    });
    try {
      return await Promise.race([ask(this.socket, event, payload, ANSWER_MS), left]);
    } catch {
      return null;
    } finally {
      this.socket.off('disconnect', gone);
    }
  }

  /** REST until the answer is final: its status, and whether it was asked before. */
  async #call(method, path, body) {
    for (let repeated = false; ; repeated = true) {
      const answer = await this.who.api.request({ method, url: path, data: body, timeout: scaled(ANSWER_MS) }).catch(() => null);
      if (answer && answer.status < 500 && answer.status !== 429) return { ...answer, repeated };
      await delay(RETRY_MS);
    }
  }

  async #lane(lane) {
    const { run, room } = this;
    const random = seeded(run.seed ^ (lane * 7_919) ^ (Number.parseInt(this.who.id.slice(-6), 16) << 3));
    let current = null;
    for (let n = 0; !run.isOver; n += 1) {
      const dice = random();
      if (!current || dice < 0.6) {
        const clientMsgId = `${this.who.username}-${lane}-${n}`;
        const content = `${clientMsgId} says something`;
        const ack = await this.#settle('send_msg', { conversationId: room.id, content, clientMsgId });
        if (!ack) continue;
        current = { id: ack.message.id, seq: ack.message.seq, content, deleted: false };
        run.messages.set(clientMsgId, current);
        run.facts.add('message', `${ack.message.seq} ${clientMsgId}`);
      } else if (dice < 0.72) {
        const content = `${current.id} edited ${n}`;
        if (!(await this.#settle('edit_msg', { messageId: current.id, content }))) continue;
        current.content = content;
        run.facts.add('edit', content);
      } else if (dice < 0.76) {
        if (!(await this.#settle('delete_msg', { messageId: current.id }))) continue;
        Object.assign(current, { content: '', deleted: true });
        run.facts.add('deletion', current.id);
        current = null;
      } else if (lane === 0) {
        const seq = Math.max(this.newest, current.seq);
        if (!(await this.#settle('mark_read', { conversationId: room.id, seq }))) continue;
        this.readUpTo = Math.max(this.readUpTo, seq);
        run.facts.add('receipt', `${this.who.id} ${seq}`);
      }
    }
  }

  /** A log-in that is renewed again and again, each time with the newest token. */
  async #renew() {
    const { run, who } = this;
    const api = rest(run.front.url);
    while (!run.isOver) {
      const answer = await api.post('/auth/refresh', { refreshToken: who.refreshToken }, { timeout: scaled(ANSWER_MS) }).catch(() => null);
      if (answer?.status === 200) {
        who.refreshToken = answer.data.refreshToken;
        run.facts.add('refresh', `${who.id} ${run.facts.counts.refresh}`);
        await delay(200);
      } else if (answer && answer.status < 500 && answer.status !== 429) {
        run.fault('signedOut', `${who.username}: ${answer.status} ${JSON.stringify(answer.data)}`);
        return;
      } else await delay(RETRY_MS);
    }
  }

  /** Members and titles, one after the other, and new groups. */
  async #govern() {
    const { run, room } = this;
    for (let n = 0; !run.isOver; n += 1) {
      const isIn = room.members.has(room.guest.id);
      const { status } = isIn
        ? await this.#call('delete', `/conversations/${room.id}/participants/${room.guest.id}`)
        : await this.#call('post', `/conversations/${room.id}/participants`, { userId: room.guest.id });
      // A repetition of what was done finds it done.
      if (status >= 400 && status !== 404 && status !== 409) run.fault('lost', `a member: ${status}`);
      if (isIn) room.members.delete(room.guest.id);
      else room.members.add(room.guest.id);
      run.facts.add('membership', `${room.id} ${n} ${!isIn}`);

      const title = `title ${n}`;
      const renamed = await this.#call('patch', `/conversations/${room.id}`, { title });
      if (renamed.status >= 400) run.fault('lost', `a title: ${renamed.status}`);
      room.title = title;
      run.facts.add('title', `${room.id} ${title}`);

      if (run.creations.size < CREATIONS_MAX) {
        const name = `${this.who.username}-group-${n}`;
        const other = room.talkers[1].who;
        const request = { type: 'group', participants: [other.id], title: name, clientConversationId: name };
        run.creations.set(name, this);
        if (await this.#settle('create_conversation', request)) run.facts.add('creation', name);
      }
      await delay(300);
    }
  }
}

/** A device that only listens, and what it believes. */
class Watcher {
  constructor(run, who, transports) {
    Object.assign(this, { run, who });
    this.view = new View(who.id);
    this.socket = socketOf(run.front, { auth: (give) => give({ token: who.token }), transports });
    this.socket.offAny();
    this.socket.onAny((event, payload) => {
      this.view.hear(event, payload);
      if (event === 'conversation_created') void this.catchUp();
    });
    this.socket.on('connect', () => this.view.connected());
    this.socket.on('authenticated', () => void this.catchUp());
  }

  /** Asks for what was missed until there is no more; once at a time, and once more for who asked meanwhile. */
  async catchUp() {
    if (this.asking) {
      this.askAgain = true;
      return;
    }
    this.asking = true;
    const reached = {};
    for (let more = true; more && this.socket.connected; ) {
      const question = this.view.question();
      const ack = await ask(this.socket, 'sync', { ...question, cursors: { ...question.cursors, ...reached } }, ANSWER_MS).catch(() => null);
      if (!ack?.ok) {
        await delay(RETRY_MS);
        continue;
      }
      more = this.view.synced(ack);
      for (const { id, messages } of ack.conversations) if (messages.length > 0) reached[id] = messages.at(-1).seq;
    }
    this.asking = false;
    if (this.askAgain) {
      this.askAgain = false;
      void this.catchUp();
    }
  }
}

/** Runs one fault, and gives what came of it. */
export async function prove({ fleet, proxy, fault, seed, seconds }) {
  const run = { front: fleet.haproxy, seed, isOver: false, facts: new Facts(), messages: new Map(), creations: new Map(), faults: [] };
  run.fault = (kind, text) => run.faults.push({ kind, text });
  const { actors, watchers, rooms } = await gather(run, fleet);
  try {
    const lives = actors.map((actor) => actor.live());
    await delay(scaled(1_000));
    const began = Date.now();
    const heal = await FAULTS[fault]({ fleet, proxy });
    await heal();
    const faultMs = Date.now() - began;
    await delay(Math.max(2_000, seconds * 1_000 - faultMs));
    run.isOver = true;
    await Promise.all(lives);
    await judgeLog(run, rooms);
    const ended = Date.now();
    const differences = await whole(watchers, ended);
    for (const watcher of watchers) run.faults.push(...watcher.view.faults);
    run.faults.push(...differences.found);
    return { fault, seed, counts: run.facts.counts, total: run.facts.total, faults: run.faults, faultMs, wholeMs: differences.ms, checksum: run.facts.checksum() };
  } finally {
    run.isOver = true;
    [...actors, ...watchers].forEach(({ socket }) => socket.disconnect());
  }
}

/** People, rooms, those who act and those who only listen, on all transports. */
async function gather(run, fleet) {
  const kinds = Object.values(TRANSPORTS);
  const [actors, watchers, rooms] = [[], [], []];
  for (let r = 0; r < ROOMS; r += 1) {
    // The fleet may still be mending what the run before has broken.
    const register = (i) => patient(() => person(fleet.node(r + i), 'proof'));
    const people = await Promise.all(Array.from({ length: TALKERS + 1 }, (_, i) => register(i)));
    people.forEach((who) => {
      who.api = rest(run.front.url, who.token);
    });
    const guest = people.pop();
    const made = await patient(() => converse(people[0], people.slice(1), 'group', 'begun'));
    const room = { id: made.id, title: 'begun', members: new Set(people.map(({ id }) => id)), guest };
    room.talkers = people.map((who, i) => new Actor(run, who, room, i === 0, kinds[(r + i) % kinds.length]));
    actors.push(...room.talkers);
    watchers.push(new Watcher(run, guest, kinds[r % kinds.length]), new Watcher(run, people[1], kinds[(r + 1) % kinds.length]));
    rooms.push(room);
  }
  await until('everybody to be connected', () => [...actors, ...watchers].every(({ socket }) => socket.connected), 30_000);
  return { actors, watchers, rooms };
}

/** Holds what was acknowledged against the log. */
async function judgeLog(run, rooms) {
  const stored = new Map();
  for (const { id, title, members, talkers } of rooms) {
    const { who } = talkers[0];
    const log = await patient(() => wholeLog(who, id));
    log.forEach((message, i) => {
      if (message.seq !== i + 1) run.fault('misplaced', `${message.seq} of ${id} is the ${i + 1}th`);
      if (!message.clientMsgId) return;
      if (stored.has(message.clientMsgId)) run.fault('doubled', message.clientMsgId);
      stored.set(message.clientMsgId, message);
    });
    const { conversation } = (await patient(() => who.api.get(`/conversations/${id}`))).data;
    if (conversation.title !== title) run.fault('stale', `title ${conversation.title}, acknowledged ${title}`);
    if (conversation.participants.length !== members.size) run.fault('stale', `${conversation.participants.length} members, acknowledged ${members.size}`);
    for (const { who: reader, readUpTo } of talkers) {
      const mine = (await patient(() => reader.api.get(`/conversations/${id}`))).data.conversation;
      if (mine.readSeq < readUpTo) run.fault('lost', `read up to ${mine.readSeq}, acknowledged ${readUpTo}`);
    }
  }
  for (const [name, known] of run.messages) {
    const message = stored.get(name);
    if (!message) run.fault('lost', name);
    else if (message.seq !== known.seq || message.id !== known.id) run.fault('misplaced', `${name} at ${message.seq}, acknowledged at ${known.seq}`);
    else if (known.deleted !== message.deleted) run.fault('resurrected', `${name} is there`);
    else if (message.content !== known.content) run.fault('stale', `${name}: ${message.content}, acknowledged ${known.content}`);
  }
  const groups = new Map();
  for (const creator of new Set(run.creations.values())) {
    for (const { title } of await conversationsOf(creator.who)) groups.set(title, (groups.get(title) ?? 0) + 1);
  }
  for (const name of run.creations.keys()) {
    if (groups.get(name) !== 1) run.fault(groups.has(name) ? 'doubled' : 'lost', `group ${name}: ${groups.get(name) ?? 0}`);
  }
}

/** Waits until each view is what the store shows to the same person. */
async function whole(watchers, began) {
  const stored = new Map();
  for (const { who } of watchers) stored.set(who.id, await storedFor(who));
  const look = () => watchers.flatMap(({ who, view }) => view.differences(stored.get(who.id)).map((one) => ({ ...one, text: `${who.username}: ${one.text}` })));
  let found = look();
  while (found.length > 0 && Date.now() - began < scaled(WHOLE_MS_MAX)) {
    await delay(100);
    found = look();
  }
  return { found, ms: Date.now() - began };
}

/** What REST shows this person. */
async function storedFor(who) {
  const rooms = new Map();
  for (const { id, title, participants } of await conversationsOf(who)) {
    rooms.set(id, { title, members: participants, messages: await patient(() => wholeLog(who, id)) });
  }
  return rooms;
}

async function conversationsOf(who) {
  const all = [];
  for (let cursor; ; ) {
    const { data, status } = await patient(() => who.api.get('/conversations', { params: { limit: 100, cursor } }));
    if (status !== 200) throw new Error(`conversations: ${status}`);
    all.push(...data.conversations);
    if (!data.next) return all;
    cursor = data.next;
  }
}

/** Asks again while the fleet mends itself. */
function patient(work) {
  return until('the fleet to answer', async () => {
    const answer = await work().catch(() => null);
    return answer && !(answer.status >= 500) ? answer : null;
  }, 30_000);
}
