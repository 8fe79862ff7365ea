import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import * as store from '../state/store';
import { createChatStore, type ChatStore } from '../state/store';
import { ME, conversation, message } from '../state/testing';
import { MARK_EVERY_MS, TYPING_EVERY_MS } from './limits';
import { Marks } from './marks';
import type { Live } from './socket';

const request = vi.fn<Live['request']>(() => Promise.resolve({ unread: 0 } as never));
const hint = vi.fn();
const live = { connected: true, request, hint };

let chat: ChatStore;
let marks: Marks;

beforeEach(() => {
  vi.useFakeTimers();
  request.mockClear();
  hint.mockClear();
  live.connected = true;
  chat = createChatStore(ME);
  chat.setState(store.conversationsKnown([conversation()]));
  for (const seq of [1, 2, 3]) chat.setState(store.messageArrived(message(seq)));
  marks = new Marks(chat, live);
});

afterEach(() => {
  marks.close();
  vi.useRealTimers();
});

describe('marks', () => {
  it('tell the furthest of what was read, once', async () => {
    for (const seq of [1, 3, 2]) marks.read('c', seq);
    expect(chat.getState().conversations.c).toMatchObject({ readSeq: 3, unread: 0 });
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request.mock.calls).toEqual([['mark_read', { conversationId: 'c', seq: 3 }]]);
    marks.read('c', 3);
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request).toHaveBeenCalledOnce();
  });

  it('tell what is delivered where it is not read', async () => {
    marks.delivered('c');
    marks.delivered('c');
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request.mock.calls).toEqual([['mark_delivered', { conversationId: 'c', seq: 3 }]]);
    marks.delivered('c');
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request).toHaveBeenCalledOnce();
  });

  it('keep what was read without a connection for the next one', async () => {
    live.connected = false;
    marks.read('c', 3);
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request).not.toHaveBeenCalled();
    live.connected = true;
    marks.resume();
    await vi.advanceTimersByTimeAsync(MARK_EVERY_MS);
    expect(request.mock.calls).toEqual([['mark_read', { conversationId: 'c', seq: 3 }]]);
  });
});

describe('typing', () => {
  it('is said now and then while it lasts, and when it ends', () => {
    marks.typing('c', true, 10_000);
    marks.typing('c', true, 10_500);
    marks.typing('c', true, 10_000 + TYPING_EVERY_MS);
    marks.typing('c', false, 14_000);
    marks.typing('c', false, 14_100);
    expect(hint.mock.calls.map(([, payload]) => (payload as { typing: boolean }).typing)).toEqual([
      true,
      true,
      false,
    ]);
  });
});
