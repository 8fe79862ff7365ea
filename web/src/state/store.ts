/**
 * Everything the page shows, in one store. `net/` calls the actions with what the server said;
 * views read. Actions are pure steps from one state to the next, so they are tested without a
 * server or a page.
 */

import { createStore, type StoreApi } from 'zustand/vanilla';

import * as logs from './log';
import type { Cursors, Log } from './log';
import type {
  Connection,
  Conversation,
  Me,
  Message,
  Pending,
  Person,
  Presence,
  Upload,
} from './model';

export interface ChatState {
  readonly me: Me;
  readonly connection: Connection;
  /** Whether the list of conversations is known. */
  readonly loaded: boolean;
  /** What this server offers beyond the basics. */
  readonly features: { readonly files: boolean };
  readonly people: Readonly<Record<string, Person>>;
  readonly presence: Readonly<Record<string, Presence>>;
  /** Which history of the server's all this belongs to; null while that is unknown. */
  readonly epoch: string | null;
  readonly conversations: Readonly<Record<string, Conversation>>;
  readonly logs: Readonly<Record<string, Log>>;
  /** The furthest cursors of the others, by conversation. */
  readonly cursors: Readonly<Record<string, Cursors>>;
  /** Conversation → who types there → until when, at the latest. */
  readonly typing: Readonly<Record<string, Readonly<Record<string, number>>>>;
  /** Conversation → what waits to be sent, in the order it was written. */
  readonly pending: Readonly<Record<string, readonly Pending[]>>;
  /** Conversation → files on their way into it, in the order they were chosen. */
  readonly uploads: Readonly<Record<string, readonly Upload[]>>;
}

export type ChatStore = StoreApi<ChatState>;
type Step = (state: ChatState) => Partial<ChatState>;

export function createChatStore(me: Me): ChatStore {
  return createStore<ChatState>()(() => ({
    me,
    connection: 'away',
    loaded: false,
    features: { files: false },
    people: { [me.id]: me },
    presence: {},
    epoch: null,
    conversations: {},
    logs: {},
    cursors: {},
    typing: {},
    pending: {},
    uploads: {},
  }));
}

/** What one conversation has that was missed. */
export interface Missed {
  readonly id: string;
  readonly messages: readonly Message[];
  readonly more: boolean;
  readonly lastSeq: number;
  readonly readSeq: number;
  readonly deliveredSeq: number;
  readonly unread: number;
  /** Messages that are held already and were changed, as they are now. */
  readonly changes: readonly Message[];
  /** With them every change up to this one is known. */
  readonly changeSeq: number;
}

function without<T>(record: Readonly<Record<string, T>>, key: string): Readonly<Record<string, T>> {
  if (!(key in record)) return record;
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== key));
}

export const peopleKnown =
  (people: readonly Person[]): Step =>
  (state) => ({
    people: { ...state.people, ...Object.fromEntries(people.map((one) => [one.id, one])) },
  });

export const presenceChanged =
  (changes: readonly (Presence & { userId: string })[]): Step =>
  (state) => ({
    presence: {
      ...state.presence,
      ...Object.fromEntries(
        changes.map(({ userId, online, lastSeen }) => [userId, { online, lastSeen }]),
      ),
    },
  });

/** Which of two messages is the newer one of a conversation; of one message, the later version. */
function last(known: Message | null, told: Message): Message {
  if (known === null || told.seq > known.seq) return told;
  return told.seq === known.seq ? logs.newer(known, told) : known;
}

/** The conversation as it is known now, against what the list says of it. */
function merged(known: Conversation | undefined, told: Conversation): Conversation {
  if (known === undefined) return told;
  // A cursor never falls; what is behind the known one left the server before it moved.
  const behind = told.readSeq < known.readSeq || told.lastSeq < known.lastSeq;
  const { title, participants, rev } = told.rev < known.rev ? known : told;
  return {
    ...told,
    title,
    participants,
    rev,
    lastMessage: told.lastMessage ? last(known.lastMessage, told.lastMessage) : known.lastMessage,
    lastSeq: Math.max(known.lastSeq, told.lastSeq),
    readSeq: Math.max(known.readSeq, told.readSeq),
    deliveredSeq: Math.max(known.deliveredSeq, told.deliveredSeq),
    unread: behind ? known.unread : told.unread,
    updatedAt: Math.max(known.updatedAt, told.updatedAt),
  };
}

export const conversationsKnown =
  (told: readonly Conversation[]): Step =>
  (state) => {
    const conversations = { ...state.conversations };
    const windows = { ...state.logs };
    for (const one of told) {
      conversations[one.id] = merged(conversations[one.id], one);
      windows[one.id] ??= logs.openLog(one.lastSeq, one.lastMessage, one.changeSeq);
      const window = windows[one.id];
      if (window && one.lastMessage) windows[one.id] = logs.replace(window, one.lastMessage);
    }
    return { conversations, logs: windows };
  };

export const conversationGone =
  (id: string): Step =>
  (state) => ({
    conversations: without(state.conversations, id),
    logs: without(state.logs, id),
    cursors: without(state.cursors, id),
    typing: without(state.typing, id),
  });

/**
 * The server holds another history than what is shown: these conversations, and nothing of what was
 * held before. What waits to be sent stays.
 */
export const historyReplaced =
  (epoch: string, conversations: readonly Conversation[]): Step =>
  (state) => {
    const nothing = { conversations: {}, logs: {}, cursors: {}, typing: {} };
    const known = conversationsKnown(conversations)({ ...state, ...nothing });
    return { ...nothing, ...known, epoch };
  };

/** The same for one conversation. */
export const conversationReplaced =
  (conversation: Conversation): Step =>
  (state) => {
    const without = conversationGone(conversation.id)(state);
    return { ...without, ...conversationsKnown([conversation])({ ...state, ...without }) };
  };

/** What a conversation without cursors says: a new title, other members; not an earlier version's. */
export const conversationChanged =
  (id: string, change: Partial<Pick<Conversation, 'title' | 'participants' | 'rev'>>): Step =>
  (state) => {
    const known = state.conversations[id];
    if (known === undefined || (change.rev ?? known.rev) < known.rev) return {};
    return { conversations: { ...state.conversations, [id]: { ...known, ...change } } };
  };

/** The members and the title after a system message, unless a later version of them is known. */
function after(conversation: Conversation, { event, seq }: Message): Conversation {
  const rev = seq + 1;
  if (event === null || rev <= conversation.rev) return conversation;
  const { participants } = conversation;
  switch (event.kind) {
    case 'added':
      return event.userId === null || participants.includes(event.userId)
        ? { ...conversation, rev }
        : { ...conversation, rev, participants: [...participants, event.userId] };
    case 'removed':
    case 'left':
      return {
        ...conversation,
        rev,
        participants: participants.filter((id) => id !== event.userId),
      };
    case 'renamed':
      return { ...conversation, rev, title: event.title };
  }
}

/** The conversation after these messages, which rise in `seq`, without its unread count. */
function withMessages(conversation: Conversation, messages: readonly Message[]): Conversation {
  let next = conversation;
  for (const message of messages) {
    if (message.seq > next.lastSeq) next = after(next, message);
    next = {
      ...next,
      lastMessage: last(next.lastMessage, message),
      lastSeq: Math.max(next.lastSeq, message.seq),
      updatedAt: Math.max(next.updatedAt, message.createdAt),
    };
  }
  return next;
}

/** What waited to be sent, without what has arrived. */
function withoutArrived(state: ChatState, id: string, messages: readonly Message[]) {
  const waiting = state.pending[id];
  if (waiting === undefined) return state.pending;
  const arrived = new Set(
    messages.filter(({ sender }) => sender === state.me.id).map((one) => one.clientMsgId),
  );
  const left = waiting.filter(({ clientMsgId }) => !arrived.has(clientMsgId));
  return left.length === waiting.length ? state.pending : { ...state.pending, [id]: left };
}

/** A message came: a new one, or one of mine that was acknowledged. */
export const messageArrived =
  (message: Message): Step =>
  (state) => {
    const id = message.conversationId;
    const [conversation, log] = [state.conversations[id], state.logs[id]];
    const pending = withoutArrived(state, id, [message]);
    if (conversation === undefined || log === undefined) return { pending };
    const window = logs.insert(log, message);
    const isNew = message.seq >= log.from && logs.find(log, message.seq) === undefined;
    const isUnread =
      isNew && message.seq > conversation.readSeq && logs.countsAsUnread(message, state.me.id);
    const next = withMessages(conversation, [message]);
    return {
      pending,
      logs: { ...state.logs, [id]: window },
      conversations: {
        ...state.conversations,
        [id]: isUnread ? { ...next, unread: next.unread + 1 } : next,
      },
      typing: { ...state.typing, [id]: without(state.typing[id] ?? {}, message.sender) },
    };
  };

/** A message was edited or deleted. */
export const messageChanged =
  (message: Message): Step =>
  (state) => {
    const id = message.conversationId;
    const [conversation, log] = [state.conversations[id], state.logs[id]];
    if (conversation === undefined || log === undefined) return {};
    const window = logs.change(log, message);
    const isLast = conversation.lastMessage?.id === message.id;
    const unread = logs.unreadAfter(window, conversation.readSeq, state.me.id);
    return {
      logs: { ...state.logs, [id]: window },
      conversations: {
        ...state.conversations,
        [id]: {
          ...conversation,
          lastMessage: isLast ? last(conversation.lastMessage, message) : conversation.lastMessage,
          unread: unread ?? conversation.unread,
        },
      },
    };
  };

/** What was missed in one conversation, or one page of it. */
export const missedArrived =
  (missed: Missed): Step =>
  (state) => {
    const { id, messages, changes } = missed;
    const [conversation, log] = [state.conversations[id], state.logs[id]];
    if (conversation === undefined || log === undefined) return {};
    const upTo = missed.more ? (messages.at(-1)?.seq ?? log.to) : missed.lastSeq;
    const behind = missed.readSeq < conversation.readSeq;
    const next = withMessages(
      withMessages(
        conversation,
        changes.filter(({ id: one }) => one === conversation.lastMessage?.id),
      ),
      messages,
    );
    const window = logs.catchUp(log, changes, missed.changeSeq);
    return {
      pending: withoutArrived(state, id, messages),
      logs: { ...state.logs, [id]: logs.append(window, messages, upTo) },
      conversations: {
        ...state.conversations,
        [id]: {
          ...next,
          lastSeq: Math.max(next.lastSeq, missed.lastSeq),
          readSeq: Math.max(next.readSeq, missed.readSeq),
          deliveredSeq: Math.max(next.deliveredSeq, missed.deliveredSeq),
          unread: behind ? next.unread : missed.unread,
        },
      },
    };
  };

export const olderArrived =
  (id: string, page: readonly Message[], more: boolean): Step =>
  (state) => {
    const log = state.logs[id];
    return log ? { logs: { ...state.logs, [id]: logs.prepend(log, page, more) } } : {};
  };

export const newestArrived =
  (id: string, page: readonly Message[], more: boolean): Step =>
  (state) => {
    const [conversation, log] = [state.conversations[id], state.logs[id]];
    if (conversation === undefined || log === undefined) return {};
    return {
      pending: withoutArrived(state, id, page),
      logs: { ...state.logs, [id]: logs.refresh(log, page, more) },
      conversations: { ...state.conversations, [id]: withMessages(conversation, page) },
    };
  };

/** Whether the window over a conversation begins before what is new in it, or holds enough of that. */
export const reachesNew =
  (id: string) =>
  ({ conversations, logs: windows }: ChatState): boolean => {
    const [conversation, log] = [conversations[id], windows[id]];
    if (conversation === undefined || log === undefined || conversation.unread === 0) return true;
    return logs.reachesBack(log, conversation.readSeq);
  };

/** A conversation that nobody looks at needs only its newest messages. */
export const logTrimmed =
  (id: string, keep: number): Step =>
  (state) => {
    const log = state.logs[id];
    return log ? { logs: { ...state.logs, [id]: logs.trim(log, keep) } } : {};
  };

/** I was told who I am: my name may have changed. */
export const meKnown =
  (me: Me): Step =>
  (state) => ({ me, people: { ...state.people, [me.id]: me } });

/** The connection was away: edits and receipts may be missing everywhere. */
export const allStale: Step = (state) => ({
  logs: Object.fromEntries(
    Object.entries(state.logs).map(([id, log]) => [id, log.stale ? log : { ...log, stale: true }]),
  ),
});

/** A member's cursor rose; where it is mine, another device of mine moved it. */
export const cursorRose =
  (id: string, userId: string, status: 'delivered' | 'read', seq: number): Step =>
  (state) => {
    const conversation = state.conversations[id];
    if (conversation === undefined) return {};
    if (userId === state.me.id) {
      return status === 'read' ? readUpTo(id, seq)(state) : {};
    }
    const known = state.cursors[id] ?? { delivered: 0, read: 0 };
    const next: Cursors = {
      delivered: Math.max(known.delivered, seq),
      read: status === 'read' ? Math.max(known.read, seq) : known.read,
    };
    return { cursors: { ...state.cursors, [id]: next } };
  };

/** I have read up to `seq`; `unread` is what the server says is left, where it said so. */
export const readUpTo =
  (id: string, seq: number, unread?: number): Step =>
  (state) => {
    const [conversation, log] = [state.conversations[id], state.logs[id]];
    if (conversation === undefined || log === undefined) return {};
    const readSeq = Math.max(conversation.readSeq, seq);
    const counted = logs.unreadAfter(log, readSeq, state.me.id);
    // What is counted here includes messages that have come since the server counted.
    const left = counted ?? unread ?? (readSeq >= conversation.lastSeq ? 0 : conversation.unread);
    if (readSeq === conversation.readSeq && left === conversation.unread) return {};
    return {
      conversations: { ...state.conversations, [id]: { ...conversation, readSeq, unread: left } },
    };
  };

/** The server knows that my devices have everything up to `seq`. */
export const deliveredUpTo =
  (id: string, seq: number): Step =>
  (state) => {
    const conversation = state.conversations[id];
    if (conversation === undefined || conversation.deliveredSeq >= seq) return {};
    return {
      conversations: { ...state.conversations, [id]: { ...conversation, deliveredSeq: seq } },
    };
  };

export const typingChanged =
  (id: string, userId: string, until: number | null): Step =>
  (state) => {
    const known = state.typing[id] ?? {};
    const next = until === null ? without(known, userId) : { ...known, [userId]: until };
    return next === known ? {} : { typing: { ...state.typing, [id]: next } };
  };

/** Forgets who stopped typing without saying so. */
export const typingExpired =
  (now: number): Step =>
  (state) => {
    const stale = Object.values(state.typing).some((who) =>
      Object.values(who).some((until) => until <= now),
    );
    if (!stale) return {};
    return {
      typing: Object.fromEntries(
        Object.entries(state.typing).map(([id, who]) => [
          id,
          Object.fromEntries(Object.entries(who).filter(([, until]) => until > now)),
        ]),
      ),
    };
  };

function byConversation<T extends { readonly conversationId: string }>(all: readonly T[]) {
  const sorted: Record<string, T[]> = {};
  for (const one of all) (sorted[one.conversationId] ??= []).push(one);
  return sorted;
}

/** Everything that waits to be sent, in the order it was written. */
export const pendingKnown =
  (all: readonly Pending[]): Step =>
  () => ({ pending: byConversation(all) });

/** Every file that is on its way. */
export const uploadsKnown =
  (all: readonly Upload[]): Step =>
  () => ({ uploads: byConversation(all) });
