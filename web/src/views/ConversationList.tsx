import { memo, useEffect, useMemo, useRef, type KeyboardEvent } from 'react';

import { conversationHref } from '../app/route';
import { rove } from '../a11y/rove';
import { VisuallyHidden } from '../a11y/VisuallyHidden';
import type { Message, Pending, Person } from '../state/model';
import { happening, listed, nameOf, otherOf, typists, type Listed } from '../state/select';
import { Avatar } from './Avatar';
import { useChatState } from './chat-context';
import styles from './ConversationList.module.css';
import { cx } from './cx';
import { exactTime, listTime } from './format';

interface ConversationListProps {
  readonly open: string | null;
  readonly onNewConversation: () => void;
}

export function ConversationList({ open, onNewConversation }: ConversationListProps) {
  const conversations = useChatState((state) => state.conversations);
  const pending = useChatState((state) => state.pending);
  const loaded = useChatState((state) => state.loaded);
  const list = useRef<HTMLElement>(null);
  useEffect(() => {
    if (loaded) performance.mark('syncchat:list');
  }, [loaded]);
  const all = useMemo(() => listed({ conversations, pending }), [conversations, pending]);

  const onKeyDown = (event: KeyboardEvent) => {
    const links = [...(list.current?.querySelectorAll('a') ?? [])];
    const at = links.indexOf(event.target as HTMLAnchorElement);
    const next = at < 0 ? null : rove(event.key, at, links.length);
    if (next === null) return;
    event.preventDefault();
    links[next]?.focus();
  };

  return (
    <nav ref={list} className={styles.list} aria-label="Conversations" onKeyDown={onKeyDown}>
      {loaded ? (
        <ul>
          {all.map((one) => (
            <li key={one.conversation.id}>
              <Item {...one} isOpen={one.conversation.id === open} />
            </li>
          ))}
        </ul>
      ) : (
        <Skeleton />
      )}
      {loaded && all.length === 0 && (
        <div className={styles.none}>
          <p>No conversations yet. Find somebody by name and say the first word.</p>
          <button type="button" onClick={onNewConversation}>
            Start talking
          </button>
        </div>
      )}
    </nav>
  );
}

/** The shape of the list while it is on its way. */
function Skeleton() {
  return (
    <div aria-hidden="true">
      {[0, 1, 2, 3].map((row) => (
        <div key={row} className={styles.skeleton}>
          <span />
          <span />
        </div>
      ))}
    </div>
  );
}

type ItemProps = Listed & { readonly isOpen: boolean };

const Item = memo(function Item({ conversation, pending, at, isOpen }: ItemProps) {
  const { id, unread, lastMessage } = conversation;
  const me = useChatState((state) => state.me.id);
  const people = useChatState((state) => state.people);
  const other = otherOf(conversation, me);
  const person = other === null ? undefined : people[other];
  const online = useChatState((state) => other !== null && state.presence[other]?.online === true);
  const typing = useChatState((state) => typists(state, id).join(', '));
  const name = nameOf(conversation, people, me);

  return (
    <a
      href={conversationHref(id)}
      className={cx(styles.item, isOpen && styles.open)}
      aria-current={isOpen ? 'page' : undefined}
    >
      <Avatar
        id={other ?? id}
        name={name}
        picture={person?.avatar}
        online={online}
        group={conversation.kind === 'group'}
      />
      <span className={styles.body}>
        <span className={styles.line}>
          <span className={styles.name}>{name}</span>
          {other !== null && <VisuallyHidden> {online ? 'online' : 'offline'} </VisuallyHidden>}
          <time className={styles.time} dateTime={new Date(at).toISOString()} title={exactTime(at)}>
            {listTime(at)}
          </time>
        </span>
        <span className={styles.line}>
          <span className={cx(styles.preview, unread > 0 && styles.fresh)}>
            {typing === '' ? (
              preview(pending, lastMessage, people, me, conversation.kind === 'group')
            ) : (
              <em className={styles.typing}>typing…</em>
            )}
          </span>
          {unread > 0 && (
            <span className={styles.unread}>
              {unread > 999 ? '999+' : unread}
              <VisuallyHidden> unread</VisuallyHidden>
            </span>
          )}
        </span>
      </span>
    </a>
  );
});

function preview(
  pending: Pending | undefined,
  message: Message | null,
  people: Readonly<Record<string, Person>>,
  me: string,
  inGroup: boolean,
): string {
  if (pending) {
    const words = pending.content || pending.attachments[0]?.name || '';
    return pending.state === 'failed' ? `Not sent: ${words}` : `You: ${words}`;
  }
  if (message === null) return 'No messages yet';
  if (message.kind === 'system') return happening(message, people, me);
  const who =
    message.sender === me ? 'You: ' : inGroup ? `${people[message.sender]?.username ?? '…'}: ` : '';
  if (message.deleted) return `${who}message deleted`;
  return who + (message.content || (message.attachments[0]?.name ?? ''));
}
