import { afterEach, expect, it } from 'vitest';

import { forgetDrafts, keepDraft, readDraft } from './drafts';

afterEach(() => localStorage.clear());

it('keeps a draft by person and conversation, until it is empty', () => {
  keepDraft('me', 'c', { text: 'half a thou', replyTo: 'm1' });
  expect(readDraft('me', 'c')).toEqual({ text: 'half a thou', replyTo: 'm1' });
  expect(readDraft('you', 'c').text).toBe('');
  keepDraft('me', 'c', { text: '', replyTo: null });
  expect(localStorage).toHaveLength(0);
});

it('forgets all of them, and nothing else', () => {
  keepDraft('me', 'c', { text: 'x', replyTo: null });
  localStorage.setItem('other', '1');
  forgetDrafts();
  expect(Object.keys(localStorage)).toEqual(['other']);
});

it.each(['{', '[]', '7', '{"text":7}'])('reads nothing from %s', (broken) => {
  localStorage.setItem('syncchat.draft.me.c', broken);
  expect(readDraft('me', 'c')).toEqual({ text: '', replyTo: null });
});
