import { beforeEach, describe, expect, it, vi } from 'vitest';

import * as store from '../state/store';
import { createChatStore, type ChatStore } from '../state/store';
import { ME, message, pending } from '../state/testing';
import type * as wire from './contract';
import { GAP_PATIENCE_MS, SYNC_ROUNDS_MAX } from './limits';
import type { Live } from './socket';
import { Sync } from './sync';
import { wireConversation, wireMessage } from './testing';

/** A server with one log of messages, which answers `sync` in pages of two. */
class Server {
  length = 0;
  epoch = 'first';
  readonly asked: wire.Requests['sync'][0][] = [];
  conversations = [wireConversation()];

  readonly live = {
    connected: true,
    hint: () => undefined,
    request: (name: string, payload: unknown) => {
      if (name === 'presence') return Promise.resolve({ presence: [] });
      const request = payload as wire.Requests['sync'][0];
      this.asked.push(request);
      const ids = this.conversations
        .map(({ id }) => id)
        .filter((id) => request.all || id in request.cursors);
      const reset = request.epoch !== undefined && request.epoch !== this.epoch;
      const conversations = ids.map((id) =>
        this.#synced(id, reset ? { ...request, cursors: {} } : request),
      );
      return Promise.resolve({ epoch: this.epoch, ...(reset && { reset }), conversations });
    },
  } as unknown as Live;

  readonly rest = {
    conversations: vi.fn(() => Promise.resolve(this.conversations)),
    conversation: vi.fn((id: string) => Promise.resolve(wireConversation({ id }))),
    messages: vi.fn(() =>
      Promise.resolve({ messages: this.#page(this.length - 2, 2), more: true }),
    ),
    user: vi.fn((id: string) => Promise.resolve(user(id))),
  };

  #page(after: number, size: number): wire.Message[] {
    const count = Math.max(0, Math.min(size, this.length - after));
    return Array.from({ length: count }, (_, index) => wireMessage(after + index + 1));
  }

  /** Messages that were changed, rising in `rev`. */
  changed: wire.Message[] = [];

  #synced(id: string, { cursors, changes }: wire.Requests['sync'][0]): wire.Synced {
    const told = cursors[id] ?? 0;
    const reset = told > this.length;
    const after = reset ? 0 : told;
    return {
      id,
      ...(reset && { reset }),
      messages: this.#page(after, 2).map((one) => ({ ...one, conversationId: id })),
      more: this.length - after > 2,
      lastSeq: this.length,
      readSeq: 0,
      deliveredSeq: 0,
      unread: this.length,
      changes: this.changed.filter(({ rev, seq }) => rev > (changes?.[id] ?? 0) && seq <= after),
      changeSeq: this.changed.at(-1)?.rev ?? 1,
    };
  }
}

function user(id: string): wire.User {
  return {
    id,
    username: id,
    avatar: null,
    status: 'offline',
    lastSeen: null,
    createdAt: '2026-01-01T00:00:00.000Z',
  };
}

let server: Server;
let chat: ChatStore;
let sync: Sync;
const shown = (id = 'c') => chat.getState().logs[id]?.messages.map(({ seq }) => seq);

beforeEach(() => {
  server = new Server();
  chat = createChatStore(ME);
  sync = new Sync(chat, server.live, server.rest);
});

describe('catching up', () => {
  it('at the start reads the list first, and then only what came since', async () => {
    server.length = 3;
    server.conversations = [wireConversation({ lastSeq: 3, lastMessage: wireMessage(3) })];
    await sync.catchUp();
    expect(server.asked).toEqual([{ cursors: { c: 3 }, all: true, changes: { c: 1 } }]);
    expect(shown()).toEqual([3]);
    expect(chat.getState().people.you?.username).toBe('you');
  });

  it('after a reconnect asks from where it was, page by page while there is more', async () => {
    await sync.catchUp();
    server.asked.length = 0;
    server.length = 5;
    await sync.catchUp();
    expect(server.asked.map(({ cursors }) => cursors.c)).toEqual([0, 2, 4]);
    expect(server.asked.map(({ all }) => all)).toEqual([true, false, false]);
    expect(shown()).toEqual([1, 2, 3, 4, 5]);
    expect(chat.getState().conversations.c).toMatchObject({ lastSeq: 5, unread: 5 });
  });

  it('learns of conversations that were made meanwhile', async () => {
    await sync.catchUp();
    server.length = 1;
    server.conversations = [wireConversation(), wireConversation({ id: 'new' })];
    await sync.missed();
    expect(server.rest.conversation).toHaveBeenCalledExactlyOnceWith('new');
    expect(shown('new')).toEqual([1]);
  });

  it('forgets those that are not mine any more', async () => {
    await sync.catchUp();
    server.conversations = [];
    await sync.missed();
    expect(chat.getState().conversations).toEqual({});
  });

  it('goes to the end where it is too far behind to read it all', async () => {
    await sync.catchUp();
    server.length = 10 * SYNC_ROUNDS_MAX;
    await sync.missed();
    expect(server.asked.length).toBe(1 + SYNC_ROUNDS_MAX);
    expect(shown()).toEqual([server.length - 1, server.length]);
  });

  it('runs once, however many ask', async () => {
    await Promise.all([sync.missed(), sync.missed()]);
    expect(server.asked).toHaveLength(1);
  });
});

describe('another history', () => {
  beforeEach(async () => {
    await sync.catchUp();
    server.length = 6;
    await sync.missed();
    chat.setState(store.pendingKnown([pending('a')]));
    server.asked.length = 0;
  });

  const restored = (length: number) => {
    const newest = wireMessage(length, { content: 'another' });
    server.length = length;
    server.conversations = [wireConversation({ lastSeq: length, lastMessage: newest })];
    const [told = wireConversation()] = server.conversations;
    server.rest.conversation.mockImplementation(() => Promise.resolve(told));
  };

  it('takes the place of all that was held, but for what waits to be sent', async () => {
    expect(shown()).toEqual([1, 2, 3, 4, 5, 6]);
    restored(8);
    server.epoch = 'second';
    await sync.catchUp();
    expect(server.asked.map(({ epoch }) => epoch)).toEqual(['first', 'second']);
    expect(server.asked.at(-1)?.cursors).toEqual({ c: 8 });
    const state = chat.getState();
    expect(state.logs.c?.messages.map(({ content }) => content)).toEqual(['another']);
    expect(state.logs.c).toMatchObject({ from: 8, to: 8, hasOlder: true });
    expect([state.epoch, state.pending.c?.length]).toEqual(['second', 1]);
  });

  it('of one conversation takes the place of what was held of it', async () => {
    restored(4);
    await sync.missed();
    expect(shown()).toEqual([4]);
    expect(chat.getState().conversations.c).toMatchObject({ lastSeq: 4 });
  });
});

describe('a gap', () => {
  beforeEach(async () => {
    vi.useFakeTimers();
    await sync.catchUp();
    server.asked.length = 0;
    server.length = 3;
    chat.setState(store.messageArrived(message(3)));
    sync.watchGap('c');
  });

  it('is asked about when it does not close', async () => {
    await vi.advanceTimersByTimeAsync(GAP_PATIENCE_MS);
    expect(server.asked.length).toBeGreaterThan(0);
    expect(shown()).toEqual([1, 2, 3]);
    vi.useRealTimers();
  });

  it('is left alone when it closes by itself', async () => {
    chat.setState(store.messageArrived(message(1)));
    chat.setState(store.messageArrived(message(2)));
    await vi.advanceTimersByTimeAsync(GAP_PATIENCE_MS * 2);
    expect(server.asked).toEqual([]);
    vi.useRealTimers();
  });
});

it('shows what was edited or deleted while it was away, and asks from there', async () => {
  server.length = 2;
  await sync.catchUp();
  server.changed = [
    wireMessage(2, { content: 'edited', edited: true, rev: 2 }),
    wireMessage(1, { content: '', deleted: true, rev: 3 }),
  ];
  await sync.missed();
  const held = chat.getState().logs.c?.messages;
  expect(held?.map(({ content, deleted }) => [content, deleted])).toEqual([
    ['', true],
    ['edited', false],
  ]);
  await sync.missed();
  expect(server.asked.map(({ changes }) => changes?.c)).toEqual([1, 1, 3]);
});
