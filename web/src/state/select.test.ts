import { describe, expect, it } from 'vitest';

import { happening, listed, nameOf } from './select';
import { conversation, message, pending } from './testing';

const people = {
  me: { id: 'me', username: 'me', avatar: null },
  a: { id: 'a', username: 'ann', avatar: null },
  b: { id: 'b', username: 'ben', avatar: null },
};

describe('the name of a conversation', () => {
  it('is the other person, the title, or who is in it', () => {
    expect(nameOf(conversation({ participants: ['me', 'a'] }), people, 'me')).toBe('ann');
    const group = conversation({ kind: 'group', participants: ['me', 'a', 'b'] });
    expect(nameOf(group, people, 'me')).toBe('ann, ben');
    expect(nameOf({ ...group, title: 'Tea' }, people, 'me')).toBe('Tea');
    expect(nameOf({ ...group, participants: ['me'] }, people, 'me')).toBe('Only you');
    const crowd = { ...group, participants: ['me', 'a', 'b', 'c', 'd', 'e', 'f'] };
    expect(nameOf(crowd, people, 'me')).toBe('ann, ben, …, … and 2 more');
  });
});

it('lists what was last written in first, unsent words included', () => {
  const conversations = {
    old: conversation({ id: 'old', lastMessage: message(1, { createdAt: 10 }) }),
    fresh: conversation({ id: 'fresh', updatedAt: 20 }),
    mine: conversation({ id: 'mine', updatedAt: 5 }),
  };
  const waiting = { mine: [pending('x', { conversationId: 'mine', writtenAt: 30 })] };
  const order = listed({ conversations, pending: waiting }).map((one) => one.conversation.id);
  expect(order).toEqual(['mine', 'fresh', 'old']);
});

it.each([
  [{ kind: 'added', by: 'a', userId: 'b' }, 'ann added ben'],
  [{ kind: 'added', by: 'me', userId: 'b' }, 'You added ben'],
  [{ kind: 'removed', by: 'a', userId: 'me' }, 'ann removed you'],
  [{ kind: 'left', by: 'b', userId: 'b' }, 'ben left'],
  [{ kind: 'renamed', by: 'a', userId: null, title: 'Tea' }, 'ann named the group “Tea”'],
  [{ kind: 'left', by: 'gone', userId: 'gone' }, 'Somebody left'],
] as const)('says %o in words', (event, words) => {
  const told = message(1, { kind: 'system', event: { title: null, ...event } });
  expect(happening(told, people, 'me')).toBe(words);
});
