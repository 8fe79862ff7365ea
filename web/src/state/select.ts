/** What views ask of the state. */

import type { Conversation, Message, Pending, Person } from './model';
import type { ChatState } from './store';

/** The other person of a private conversation. */
export function otherOf(conversation: Conversation, me: string): string | null {
  if (conversation.kind !== 'private') return null;
  return conversation.participants.find((id) => id !== me) ?? null;
}

/** How many names stand in for the title a group was not given. */
const NAMES_SHOWN = 4;

/** What a conversation is called. */
export function nameOf(
  conversation: Conversation,
  people: Readonly<Record<string, Person>>,
  me: string,
): string {
  if (conversation.title !== null && conversation.title !== '') return conversation.title;
  const others = conversation.participants.filter((id) => id !== me);
  if (others.length === 0) return 'Only you';
  const names = others.slice(0, NAMES_SHOWN).map((id) => people[id]?.username ?? '…');
  return others.length > NAMES_SHOWN
    ? `${names.join(', ')} and ${others.length - NAMES_SHOWN} more`
    : names.join(', ');
}

export interface Listed {
  readonly conversation: Conversation;
  readonly pending: Pending | undefined;
  readonly at: number;
}

/** The conversations, the one with the newest activity first. */
export function listed(state: Pick<ChatState, 'conversations' | 'pending'>): readonly Listed[] {
  return Object.values(state.conversations)
    .map((conversation) => {
      const pending = state.pending[conversation.id]?.at(-1);
      const written = conversation.lastMessage?.createdAt ?? conversation.updatedAt;
      return { conversation, pending, at: Math.max(written, pending?.writtenAt ?? 0) };
    })
    .toSorted((a, b) => b.at - a.at || (a.conversation.id < b.conversation.id ? 1 : -1));
}

/** Who types in a conversation, by name, in a stable order. */
export function typists(state: ChatState, id: string): readonly string[] {
  return Object.keys(state.typing[id] ?? {})
    .map((user) => state.people[user]?.username)
    .filter((name) => name !== undefined)
    .toSorted();
}

export function totalUnread(conversations: Readonly<Record<string, Conversation>>): number {
  return Object.values(conversations).reduce((sum, { unread }) => sum + unread, 0);
}

/** A system message in words. */
export function happening(
  message: Message,
  people: Readonly<Record<string, Person>>,
  me: string,
): string {
  const { event } = message;
  if (event === null) return '';
  const name = (id: string | null, mine: string) =>
    id === me ? mine : ((id && people[id]?.username) ?? 'Somebody');
  const by = name(event.by, 'You');
  const who = name(event.userId, 'you');
  switch (event.kind) {
    case 'added':
      return event.by === event.userId ? `${by} joined` : `${by} added ${who}`;
    case 'removed':
      return `${by} removed ${who}`;
    case 'left':
      return `${by} left`;
    case 'renamed':
      return event.title ? `${by} named the group “${event.title}”` : `${by} took the name away`;
  }
}
