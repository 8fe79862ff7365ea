import { beforeEach, describe, expect, it } from 'vitest';

import * as store from './store';
import { createChatStore, type ChatStore } from './store';
import { ME, conversation, message, messages, pending } from './testing';

let chat: ChatStore;
const known = () => chat.getState().conversations.c;
const shown = () => chat.getState().logs.c?.messages.map(({ seq }) => seq);

beforeEach(() => {
  chat = createChatStore(ME);
  chat.setState(store.conversationsKnown([conversation()]));
});

describe('a message that arrives', () => {
  it('becomes the last one, and unread', () => {
    chat.setState(store.messageArrived(message(1)));
    expect(known()).toMatchObject({ lastSeq: 1, unread: 1, lastMessage: { seq: 1 } });
  });

  it('counts once, in whatever order and however often it comes', () => {
    for (const seq of [2, 1, 2, 1]) chat.setState(store.messageArrived(message(seq)));
    expect(known()).toMatchObject({ unread: 2, lastSeq: 2, lastMessage: { seq: 2 } });
  });

  it('is not unread if it is mine or a system message', () => {
    chat.setState(store.messageArrived(message(1, { sender: 'me' })));
    chat.setState(store.messageArrived(message(2, { kind: 'system' })));
    expect(known()?.unread).toBe(0);
  });

  it('takes the place of what waited to be sent', () => {
    chat.setState(store.pendingKnown([pending('a'), pending('b')]));
    chat.setState(store.messageArrived(message(1, { sender: 'me', clientMsgId: 'a' })));
    expect(chat.getState().pending.c?.map((one) => one.clientMsgId)).toEqual(['b']);
  });

  it('does not take it if somebody else used the same name', () => {
    chat.setState(store.pendingKnown([pending('a')]));
    chat.setState(store.messageArrived(message(1, { clientMsgId: 'a' })));
    expect(chat.getState().pending.c).toHaveLength(1);
  });

  it('ends the typing of its sender', () => {
    chat.setState(store.typingChanged('c', 'you', 1e15));
    chat.setState(store.messageArrived(message(1)));
    expect(chat.getState().typing.c).toEqual({});
  });

  it('changes members and title where it says so', () => {
    const event = { by: 'you', userId: 'new', title: null };
    chat.setState(
      store.messageArrived(message(1, { kind: 'system', event: { ...event, kind: 'added' } })),
    );
    chat.setState(
      store.messageArrived(
        message(2, { kind: 'system', event: { ...event, kind: 'renamed', title: 'Tea' } }),
      ),
    );
    expect(known()).toMatchObject({ participants: ['me', 'you', 'new'], title: 'Tea' });
    chat.setState(
      store.messageArrived(message(3, { kind: 'system', event: { ...event, kind: 'left' } })),
    );
    expect(known()?.participants).toEqual(['me', 'you']);
  });

  it('to a conversation that is not known changes nothing', () => {
    chat.setState(store.messageArrived(message(1, { conversationId: 'other' })));
    expect(chat.getState().logs.other).toBeUndefined();
  });
});

describe('what was missed', () => {
  const missed = {
    id: 'c',
    more: false,
    readSeq: 0,
    deliveredSeq: 0,
    changes: [],
    changeSeq: 1,
  };

  it('comes in place, with the count the server made', () => {
    chat.setState(store.messageArrived(message(1)));
    chat.setState(store.messageArrived(message(4)));
    chat.setState(
      store.missedArrived({ ...missed, messages: messages(2, 3, 4), lastSeq: 4, unread: 4 }),
    );
    expect(shown()).toEqual([1, 2, 3, 4]);
    expect(known()).toMatchObject({ lastSeq: 4, unread: 4 });
  });

  it('does not undo what I have read meanwhile', () => {
    chat.setState(
      store.missedArrived({ ...missed, messages: messages(1, 2), lastSeq: 2, unread: 2 }),
    );
    chat.setState(store.readUpTo('c', 2));
    chat.setState(store.missedArrived({ ...missed, messages: [], lastSeq: 2, unread: 2 }));
    expect(known()).toMatchObject({ readSeq: 2, unread: 0 });
  });

  it('shows what was edited and deleted meanwhile, unless a later version is here', () => {
    for (const seq of [1, 2, 3]) chat.setState(store.messageArrived(message(seq)));
    chat.setState(store.messageChanged(message(1, { content: 'newest', rev: 5 })));
    const changes = [
      message(1, { content: 'older', rev: 3 }),
      message(3, { content: '', deleted: true, rev: 4 }),
    ];
    const with3 = { ...missed, messages: [], lastSeq: 3, unread: 2 };
    chat.setState(store.missedArrived({ ...with3, changes, changeSeq: 4 }));
    const held = chat.getState().logs.c;
    expect(held?.messages.map(({ content }) => content)).toEqual(['newest', 'text 2', '']);
    expect(held?.changeSeq).toBe(4);
    expect(known()?.lastMessage).toMatchObject({ seq: 3, deleted: true });
  });

  it('settles what was sent before a reload', () => {
    chat.setState(store.pendingKnown([pending('a')]));
    const mine = message(1, { sender: 'me', clientMsgId: 'a' });
    chat.setState(store.missedArrived({ ...missed, messages: [mine], lastSeq: 1, unread: 0 }));
    expect(chat.getState().pending.c).toEqual([]);
  });
});

describe('cursors', () => {
  it('of others only rise', () => {
    chat.setState(store.cursorRose('c', 'you', 'read', 5));
    chat.setState(store.cursorRose('c', 'you', 'read', 3));
    chat.setState(store.cursorRose('c', 'third', 'delivered', 6));
    expect(chat.getState().cursors.c).toEqual({ delivered: 6, read: 5 });
  });

  it('moved by another device of mine clear the count here too', () => {
    for (const seq of [1, 2, 3]) chat.setState(store.messageArrived(message(seq)));
    chat.setState(store.cursorRose('c', 'me', 'read', 2));
    expect(known()).toMatchObject({ readSeq: 2, unread: 1 });
    chat.setState(store.cursorRose('c', 'me', 'delivered', 3));
    expect(known()?.unread).toBe(1);
  });

  it('never fall when the list is older than what is known', () => {
    for (const seq of [1, 2]) chat.setState(store.messageArrived(message(seq)));
    chat.setState(store.readUpTo('c', 2));
    chat.setState(store.conversationsKnown([conversation({ lastSeq: 1, unread: 1, readSeq: 0 })]));
    expect(known()).toMatchObject({ lastSeq: 2, readSeq: 2, unread: 0, lastMessage: { seq: 2 } });
  });
});

describe('changes', () => {
  it('of a message show in the log and in the list', () => {
    chat.setState(store.messageArrived(message(1)));
    const edited = message(1, { content: 'better', edited: true, updatedAt: Date.now() });
    chat.setState(store.messageChanged(edited));
    expect(known()?.lastMessage?.content).toBe('better');
    expect(chat.getState().logs.c?.messages[0]?.edited).toBe(true);
  });

  it('that come in the wrong order end as the latest', () => {
    chat.setState(store.messageArrived(message(1)));
    const versions = [
      message(1, { content: 'third', edited: true, rev: 3, updatedAt: 1 }),
      message(1, { content: 'second', edited: true, rev: 2, updatedAt: 2 }),
    ];
    for (const version of versions) chat.setState(store.messageChanged(version));
    expect(known()?.lastMessage?.content).toBe('third');
    expect(chat.getState().logs.c?.messages[0]?.content).toBe('third');
    const deleted = message(1, { content: '', deleted: true, rev: 4 });
    for (const version of [deleted, ...versions]) chat.setState(store.messageChanged(version));
    expect(chat.getState().logs.c?.messages[0]?.deleted).toBe(true);
  });

  it('that follow without a gap are known', () => {
    for (const seq of [1, 2]) chat.setState(store.messageArrived(message(seq)));
    const seen = [2, 3, 5].map((rev) => {
      chat.setState(store.messageChanged(message(1, { content: `${rev}`, rev })));
      return chat.getState().logs.c?.changeSeq;
    });
    expect(seen).toEqual([2, 3, 3]);
  });

  it('of a title and of members do not go back', () => {
    chat.setState(store.conversationChanged('c', { title: 'newer', rev: 5 }));
    chat.setState(store.conversationChanged('c', { title: 'older', rev: 4 }));
    const event = { kind: 'renamed', by: 'you', userId: null, title: 'oldest' } as const;
    chat.setState(store.messageArrived(message(1, { kind: 'system', event })));
    chat.setState(store.conversationsKnown([conversation({ title: 'listed', rev: 3 })]));
    expect(known()).toMatchObject({ title: 'newer', rev: 5 });
    chat.setState(store.conversationsKnown([conversation({ title: 'newest', rev: 6 })]));
    expect(known()).toMatchObject({ title: 'newest', rev: 6 });
  });

  it('by deletion take it out of the count', () => {
    for (const seq of [1, 2]) chat.setState(store.messageArrived(message(seq)));
    const deleted = message(1, { content: '', deleted: true, updatedAt: Date.now() });
    chat.setState(store.messageChanged(deleted));
    expect(known()?.unread).toBe(1);
  });
});

it('forgets typing that was never ended', () => {
  chat.setState(store.typingChanged('c', 'you', 1_000));
  chat.setState(store.typingChanged('c', 'third', 2_000));
  chat.setState(store.typingExpired(1_500));
  expect(chat.getState().typing.c).toEqual({ third: 2_000 });
});

it('forgets a conversation whole', () => {
  chat.setState(store.messageArrived(message(1)));
  chat.setState(store.conversationGone('c'));
  expect(chat.getState()).toMatchObject({ conversations: {}, logs: {}, cursors: {}, typing: {} });
});
