// The judge is judged: each fault, planted into what a client hears, is found by its name.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { View } from './view.mjs';

const ME = 'me';
const message = (seq, more = {}) => ({ id: `m${seq}`, conversationId: 'c', seq, rev: 1, content: `${seq}`, edited: false, deleted: false, sender: 'you', ...more });
const created = { conversation: { id: 'c', title: 'title', participants: [ME, 'you'], rev: 1 } };
const stored = (messages, more = {}) => new Map([['c', { title: 'title', members: [ME, 'you'], messages, ...more }]]);

/** A view that has heard of the conversation and of three messages. */
function view() {
  const one = new View(ME);
  one.connected();
  one.hear('conversation_created', created);
  for (const seq of [1, 2, 3]) one.hear('receive_msg', message(seq));
  return one;
}
const kinds = (one) => one.faults.map(({ kind }) => kind);
const wrong = (one, ...args) => one.differences(stored(...args)).map(({ kind }) => kind);
const THREE = [1, 2, 3].map((seq) => message(seq));

describe('a view', () => {
  it('that heard everything has no fault', () => {
    const one = view();
    one.hear('msg_edited', message(2, { rev: 2, content: 'two', edited: true }));
    one.hear('msg_deleted', message(3, { rev: 3, content: '', deleted: true }));
    one.hear('conversation_updated', { conversation: { ...created.conversation, title: 'new', rev: 5 } });
    const messages = [message(1), message(2, { rev: 2, content: 'two' }), message(3, { rev: 3, content: '', deleted: true })];
    assert.deepEqual([kinds(one), wrong(one, messages, { title: 'new' })], [[], []]);
  });

  const planted = {
    'a message that never came': ['deaf', (one) => wrong(one, [...THREE, message(4)])],
    'a conversation that nobody told of': ['deaf', () => wrong(new View(ME), THREE)],
    'a message twice': ['doubled', (one) => (one.hear('receive_msg', message(3)), kinds(one))],
    'a message behind a later one': ['misplaced', (one) => (one.hear('receive_msg', message(2)), kinds(one))],
    'another message in its place': ['misplaced', (one) => wrong(one, [message(1), message(2), message(3, { id: 'x' })])],
    'an edit that was not told': ['stale', (one) => wrong(one, [message(1), message(2, { rev: 2, content: 'two' }), message(3)])],
    'an earlier edit after a later one': ['stale', (one) => {
      one.hear('msg_edited', message(2, { rev: 3, content: 'b' }));
      one.hear('msg_edited', message(2, { rev: 2, content: 'a' }));
      return kinds(one);
    }],
    'a title that was not told': ['stale', (one) => wrong(one, THREE, { title: 'new' })],
    'members that were not told': ['stale', (one) => wrong(one, THREE, { members: [ME, 'you', 'she'] })],
    'a deletion that was not told': ['resurrected', (one) => wrong(one, [message(1), message(2), message(3, { rev: 2, content: '', deleted: true })])],
    'a deleted text': ['resurrected', (one) => (one.hear('msg_deleted', message(3, { rev: 2, deleted: true })), kinds(one))],
    'a message that comes back': ['resurrected', (one) => {
      one.hear('msg_deleted', message(3, { rev: 2, content: '', deleted: true }));
      one.hear('msg_edited', message(3, { rev: 3, edited: true }));
      return kinds(one);
    }],
    'what was said behind a removal': ['leaked', (one) => wrong(one, THREE.slice(0, 2))],
    'a conversation that was left': ['leaked', (one) => one.differences(new Map()).map(({ kind }) => kind)],
  };
  for (const [what, [kind, find]] of Object.entries(planted)) {
    it(`finds ${what}: ${kind}`, () => {
      assert.deepEqual(find(view()), [kind]);
    });
  }

  it('forgets a conversation with its own removal, and begins anew when it is added again', () => {
    const one = view();
    one.hear('receive_msg', message(4, { type: 'system', content: '', event: { kind: 'removed', userId: ME, by: 'you' } }));
    assert.deepEqual(one.differences(new Map()), []);
    one.hear('conversation_created', created);
    one.synced({ epoch: 'e', conversations: [{ id: 'c', messages: THREE, changes: [], changeSeq: 1, more: false }] });
    assert.deepEqual([kinds(one), wrong(one, THREE)], [[], []]);
  });
});
