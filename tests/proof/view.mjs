// What one client believes, built from its events alone by the rules of the contract, and what is wrong with it.

/** Kinds of faults, as the report has them. */
export const KINDS = ['lost', 'doubled', 'misplaced', 'stale', 'resurrected', 'deaf', 'leaked', 'signedOut'];

/** Events whose payload is a message in its present version. */
const CHANGES = ['msg_edited', 'msg_deleted'];

/**
 * A client's belief. `hear` takes what a socket heard, `synced` the answer of `sync`; `connected` begins a connection.
 * `faults` lists what no client may be shown, by kind.
 */
export class View {
  constructor(userId) {
    this.userId = userId;
    /** Conversation → what is believed of it. */
    this.rooms = new Map();
    this.faults = [];
    this.epoch = undefined;
    this.last = new Map();
    /** Conversations that this person was removed from, and the message that did it. */
    this.left = new Map();
  }

  fault(kind, text) {
    this.faults.push({ kind, text });
  }

  room(id) {
    let room = this.rooms.get(id);
    if (!room) {
      room = { title: undefined, members: new Set(), rev: 0, messages: new Map(), changeSeq: 0, cursors: new Map() };
      this.rooms.set(id, room);
    }
    return room;
  }

  /** A new connection: nothing was received over it yet. */
  connected() {
    this.last = new Map();
  }

  hear(event, payload) {
    if (event === 'receive_msg') this.#received(payload);
    else if (CHANGES.includes(event)) this.#changed(event, payload);
    else if (event === 'conversation_created') this.#described(payload.conversation);
    // Of what was left behind it may still be on its way.
    else if (event === 'conversation_updated' && this.rooms.has(payload.conversation.id)) this.#described(payload.conversation);
    else if (event === 'msg_status') this.#cursor(payload);
  }

  #received(message) {
    const room = this.room(message.conversationId);
    const before = this.last.get(message.conversationId) ?? 0;
    if (message.seq === before) this.fault('doubled', `${message.seq} twice on one connection`);
    else if (message.seq < before) this.fault('misplaced', `${message.seq} after ${before}`);
    this.last.set(message.conversationId, Math.max(before, message.seq));
    this.#hold(room, message);
    const { event } = message;
    if (event?.kind === 'added') room.members.add(event.userId);
    // Nothing is heard of a conversation behind one's own removal.
    if (['removed', 'left'].includes(event?.kind)) {
      const gone = event.userId ?? message.sender;
      room.members.delete(gone);
      if (gone === this.userId) this.#forget(message.conversationId, message.seq);
    }
    if (event?.kind === 'renamed') room.title = event.title;
  }

  #forget(id, seq) {
    this.rooms.delete(id);
    this.left.set(id, seq);
  }

  #changed(event, message) {
    const room = this.rooms.get(message.conversationId);
    // Of what was left behind, or not come to yet: the log brings it.
    if (!room) return;
    const known = room.messages.get(message.seq);
    if (known && message.rev < known.rev) this.fault('stale', `${event} of version ${message.rev} after ${known.rev}`);
    this.#hold(room, message, true);
  }

  #hold(room, message, isChange = false) {
    const known = room.messages.get(message.seq);
    if (message.deleted && message.content !== '') this.fault('resurrected', `${message.seq} is deleted and has a text`);
    if (known && known.id !== message.id) this.fault('misplaced', `two messages are ${message.seq}`);
    if (known?.deleted && !message.deleted && (isChange || message.rev >= known.rev)) {
      this.fault('resurrected', `${message.seq} came back`);
    }
    if (known && known.rev >= message.rev) return;
    const { id, seq, rev, content, edited, deleted } = message;
    room.messages.set(message.seq, { id, seq, rev, content, edited, deleted });
  }

  #described({ id, title, participants, rev }) {
    const room = this.room(id);
    if (rev < room.rev) return;
    Object.assign(room, { title: title ?? undefined, members: new Set(participants), rev });
  }

  #cursor({ conversationId, userId, status, seq }) {
    const cursors = this.rooms.get(conversationId)?.cursors;
    if (!cursors) return;
    const key = `${userId} ${status}`;
    cursors.set(key, Math.max(cursors.get(key) ?? 0, seq));
  }

  /** What to ask `sync` for. */
  question() {
    const entries = [...this.rooms];
    return {
      all: true,
      cursors: Object.fromEntries(entries.map(([id, room]) => [id, dense(room.messages)])),
      changes: Object.fromEntries(entries.filter(([, room]) => room.changeSeq > 0).map(([id, room]) => [id, room.changeSeq])),
      ...(this.epoch ? { epoch: this.epoch } : {}),
    };
  }

  /** Takes the answer; says whether there is more. */
  synced({ epoch, conversations }) {
    this.epoch = epoch;
    for (const { id, messages, changes, changeSeq, lastSeq } of conversations) {
      // It was asked before the removal.
      if (!this.rooms.has(id) && lastSeq < (this.left.get(id) ?? 0)) continue;
      const room = this.room(id);
      for (const message of messages) this.#hold(room, message);
      for (const message of changes) this.#hold(room, message);
      room.changeSeq = Math.max(room.changeSeq, changeSeq);
    }
    return conversations.some(({ more }) => more);
  }

  /**
   * What this view has otherwise than the store shows to the same person: `stored` is conversation → `{title, members,
   * messages}`.
   */
  differences(stored) {
    const found = [];
    for (const [id, { title, members, messages }] of stored) {
      const room = this.rooms.get(id);
      if (!room) {
        found.push({ kind: 'deaf', text: `${id} is not known` });
        continue;
      }
      for (const message of messages) {
        const known = room.messages.get(message.seq);
        if (!known) found.push({ kind: 'deaf', text: `${message.seq} of ${id} never came` });
        else if (known.id !== message.id) found.push({ kind: 'misplaced', text: `${message.seq} of ${id} is another message` });
        else if (message.deleted && !known.deleted) found.push({ kind: 'resurrected', text: `${message.seq} of ${id} is shown` });
        else if (known.rev !== message.rev || known.content !== message.content) {
          found.push({ kind: 'stale', text: `${message.seq} of ${id}: version ${known.rev}, stored ${message.rev}` });
        }
      }
      const seqs = new Set(messages.map(({ seq }) => seq));
      for (const seq of room.messages.keys()) {
        if (!seqs.has(seq)) found.push({ kind: 'leaked', text: `${seq} of ${id} is shown` });
      }
      if ((room.title ?? null) !== title) found.push({ kind: 'stale', text: `title ${room.title}, stored ${title}` });
      const shown = [...room.members].sort().join();
      if (shown !== [...members].sort().join()) found.push({ kind: 'stale', text: `members of ${id}: ${room.members.size}, stored ${members.length}` });
    }
    for (const id of this.rooms.keys()) {
      if (!stored.has(id)) found.push({ kind: 'leaked', text: `${id} is still shown` });
    }
    return found;
  }
}

/** How far a log goes without a hole, from where it begins. */
function dense(messages) {
  let seq = 0;
  for (; messages.has(seq + 1); seq += 1);
  return seq;
}
