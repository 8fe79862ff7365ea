/** The lines of a conversation that are not messages. */

import { memo } from 'react';

import type { Message } from '../state/model';
import { happening, nameOf } from '../state/select';
import { useChatState } from './chat-context';
import { dayLabel, exactTime } from './format';
import styles from './other-rows.module.css';

export const DayRow = memo(function DayRow({ at }: { at: number }) {
  const label = dayLabel(at);
  return (
    <div className={styles.day} role="separator" aria-label={label}>
      <span>{label}</span>
    </div>
  );
});

/** Older messages are on their way, or wait for the connection. */
export const MoreRow = memo(function MoreRow() {
  const away = useChatState((state) => state.connection === 'away');
  return (
    <p className={styles.more}>
      {away ? 'Earlier messages come with the connection' : 'Earlier messages…'}
    </p>
  );
});

export const UnreadRow = memo(function UnreadRow() {
  return (
    <div className={styles.unread} role="separator" aria-label="New messages">
      <span>New</span>
    </div>
  );
});

export const SystemRow = memo(function SystemRow({ message }: { message: Message }) {
  const people = useChatState((state) => state.people);
  const me = useChatState((state) => state.me.id);
  return (
    <p className={styles.system} title={exactTime(message.createdAt)}>
      {happening(message, people, me)}
    </p>
  );
});

export const StartRow = memo(function StartRow({ id }: { id: string }) {
  const conversation = useChatState((state) => state.conversations[id]);
  const people = useChatState((state) => state.people);
  const me = useChatState((state) => state.me.id);
  if (!conversation) return <div />;
  const name = nameOf(conversation, people, me);
  return (
    <p className={styles.start}>
      {conversation.kind === 'group'
        ? `This is where ${name} begins.`
        : `This is where your conversation with ${name} begins.`}
    </p>
  );
});
