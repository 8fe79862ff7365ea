/**
 * The part of a conversation that this page holds: a window over a log without holes.
 *
 * Everything the person may see from `from` to `to` is in `messages`. Messages beyond `to` may be
 * there too, ahead of others that are still on their way: then the log has a gap, and `net/sync`
 * asks for what is missing. `seq` alone does not say what is missing, because somebody who was away
 * from a group has holes for good; so it is the server's answer that moves `to` across a hole.
 */

import type { Message } from './model';

export interface Log {
  /** Rising in `seq`, each once. */
  readonly messages: readonly Message[];
  readonly from: number;
  readonly to: number;
  /** Whether there may be older messages on the server. */
  readonly hasOlder: boolean;
  /** Whether receipts may have been missed, because the connection was away. */
  readonly stale: boolean;
  /** Every edit and deletion up to this one is in it; 0 while that is not known of any. */
  readonly changeSeq: number;
}

/**
 * The window over a conversation of which only the newest message is known, if that, as it was after
 * this many changes.
 */
export function openLog(lastSeq: number, lastMessage: Message | null, changeSeq = 0): Log {
  const known = lastMessage !== null && lastMessage.seq === lastSeq;
  return {
    messages: known ? [lastMessage] : [],
    from: known ? lastSeq : lastSeq + 1,
    to: lastSeq,
    hasOlder: known ? lastSeq > 1 : lastSeq > 0,
    stale: false,
    changeSeq,
  };
}

/** Where a message with this `seq` is, or would be. */
function position(messages: readonly Message[], seq: number): number {
  let low = 0;
  let high = messages.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((messages[middle] as Message).seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}

export function find(log: Log, seq: number): Message | undefined {
  const found = log.messages[position(log.messages, seq)];
  return found?.seq === seq ? found : undefined;
}

const RANK = { sent: 0, delivered: 1, read: 2 } as const;

/** Whether one is an earlier version than the other. What is deleted stays so. */
function isEarlier(one: Message, other: Message): boolean {
  if (one.deleted !== other.deleted) return other.deleted;
  return one.rev === other.rev ? one.updatedAt < other.updatedAt : one.rev < other.rev;
}

/** Receipts only rise, and an earlier version never undoes a change. */
export function newer(known: Message, told: Message): Message {
  const latest = isEarlier(told, known) ? known : told;
  const status = RANK[known.status] > RANK[told.status] ? known.status : told.status;
  return latest.status === status ? latest : { ...latest, status };
}

function put(messages: readonly Message[], message: Message): readonly Message[] {
  const at = position(messages, message.seq);
  const known = messages[at];
  if (known?.seq === message.seq) {
    const merged = newer(known, message);
    return merged === known ? messages : messages.with(at, merged);
  }
  return at === messages.length ? [...messages, message] : messages.toSpliced(at, 0, message);
}

/** `to`, moved over every message that follows without a hole. */
function advance(messages: readonly Message[], to: number): number {
  let end = to;
  for (let at = position(messages, to + 1); messages[at]?.seq === end + 1; at += 1) end += 1;
  return end;
}

/** With a message that came by itself. One older than the window is not kept. */
export function insert(log: Log, message: Message): Log {
  if (message.seq < log.from) return log;
  const messages = put(log.messages, message);
  return messages === log.messages ? log : { ...log, messages, to: advance(messages, log.to) };
}

/** With a changed message, if it is here. */
export function replace(log: Log, message: Message): Log {
  return find(log, message.seq) === undefined ? log : insert(log, message);
}

/** With a message that was changed just now. */
export function change(log: Log, message: Message): Log {
  const changed = replace(log, message);
  // The next number after the known ones is known from now on.
  return message.rev === log.changeSeq + 1 ? { ...changed, changeSeq: message.rev } : changed;
}

/** With the messages that were changed, of which there are no more up to this one. */
export function catchUp(log: Log, changes: readonly Message[], changeSeq: number): Log {
  const changed = changes.reduce(replace, log);
  return { ...changed, changeSeq: Math.max(log.changeSeq, changeSeq) };
}

/** With everything after `to` up to `upTo`, as the server gave it. */
export function append(log: Log, page: readonly Message[], upTo: number): Log {
  const messages = page.filter(({ seq }) => seq >= log.from).reduce(put, log.messages);
  return { ...log, messages, to: advance(messages, Math.max(log.to, upTo)) };
}

/** With everything before `from` that is on the page. */
export function prepend(log: Log, page: readonly Message[], more: boolean): Log {
  const older = page.filter(({ seq }) => seq < log.from);
  return {
    ...log,
    messages: [...older, ...log.messages],
    from: more ? (older[0]?.seq ?? log.from) : Math.min(1, log.from),
    hasOlder: more,
  };
}

/**
 * With the newest page, whatever was held before: joined to it where the two meet, in its place
 * where there may be a hole between them.
 */
export function refresh(log: Log, page: readonly Message[], more: boolean): Log {
  const first = page[0];
  if (first === undefined) return { ...log, hasOlder: false, stale: false };
  const newest = (page.at(-1) as Message).seq;
  const meets = log.messages.length > 0 && first.seq <= log.to + 1 && first.seq >= log.from;
  if (meets) {
    return { ...append(log, page, newest), stale: false };
  }
  const base: Log = {
    messages: page,
    from: more ? first.seq : 1,
    to: newest,
    hasOlder: more,
    stale: false,
    changeSeq: log.changeSeq,
  };
  const known = log.messages.filter(({ seq }) => seq >= first.seq);
  const messages = known.reduce(put, base.messages);
  return { ...base, messages, to: advance(messages, newest) };
}

/** Only the newest `keep` messages; those before can be loaded again. */
export function trim(log: Log, keep: number): Log {
  if (log.messages.length <= keep) return log;
  const messages = log.messages.slice(-keep);
  return { ...log, messages, from: messages[0]?.seq ?? log.to + 1, hasOlder: true };
}

/** Messages that are loaded to find where the new ones begin. Of more than these the last are shown. */
export const REACH_MAX = 2_000;

/** Whether the window begins with the message after this one or before it, or holds enough. */
export function reachesBack(log: Log, seq: number): boolean {
  return !log.hasOlder || log.from <= seq + 1 || log.messages.length >= REACH_MAX;
}

/** Whether a message came before others that must stand above it. */
export function hasGap(log: Log): boolean {
  const last = log.messages.at(-1);
  return last !== undefined && last.seq > log.to;
}

/** What counts as unread for me: not mine, not deleted, not a system message. */
export function countsAsUnread(message: Message, me: string): boolean {
  return message.sender !== me && !message.deleted && message.kind !== 'system';
}

/** Unread messages after my cursor, or null where the window does not reach back to it. */
export function unreadAfter(log: Log, readSeq: number, me: string): number | null {
  if (log.hasOlder && log.from > readSeq + 1) return null;
  let count = 0;
  for (let at = position(log.messages, readSeq + 1); at < log.messages.length; at += 1) {
    if (countsAsUnread(log.messages[at] as Message, me)) count += 1;
  }
  return count;
}

/** How far my message has come, by its own word and by the furthest cursor of the others. */
export function statusOf(message: Message, others: Cursors | undefined): Message['status'] {
  if (message.status === 'read' || (others?.read ?? 0) >= message.seq) return 'read';
  if (message.status === 'delivered' || (others?.delivered ?? 0) >= message.seq) return 'delivered';
  return 'sent';
}

/** The furthest cursors of the other members. */
export interface Cursors {
  readonly delivered: number;
  readonly read: number;
}
