import { memo, useId, useState, type ReactNode } from 'react';

import { VisuallyHidden } from '../a11y/VisuallyHidden';
import type { Attachment, Message, MessageStatus, Pending, Person } from '../state/model';
import { AttachmentList } from './Attachments';
import { Avatar } from './Avatar';
import { IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import { cx } from './cx';
import { exactTime, timeOfDay } from './format';
import { Icon, type IconName } from './Icon';
import { pieces } from './links';
import styles from './MessageRow.module.css';

/** What can be done with a message. */
export interface MessageActions {
  readonly onReply: (message: Message) => void;
  readonly onEdit: (message: Message) => void;
  readonly onDelete: (message: Message) => void;
}

/** Rows are made and thrown away as one scrolls: what they show is handed to them, ready. */
interface Place {
  readonly rowKey: string;
  readonly first: boolean;
  readonly last: boolean;
  /** Whether arrow keys have brought the focus here: then Tab goes to its actions. */
  readonly active: boolean;
  readonly quoted: Message | undefined;
  readonly quotedName: string | undefined;
  readonly onJump: (messageId: string) => void;
}

interface MessageRowProps extends Place {
  readonly message: Message;
  readonly sender: Person | undefined;
  readonly mine: boolean;
  readonly status: MessageStatus;
  readonly inGroup: boolean;
  readonly flash: boolean;
  readonly actions: MessageActions;
}

export const MessageRow = memo(function MessageRow(props: MessageRowProps) {
  const { message, sender, mine, status, inGroup, flash, actions, active, ...place } = props;
  const tab = active ? 0 : -1;

  return (
    <Bubble
      {...place}
      active={active}
      sender={sender?.username ?? 'Somebody'}
      senderId={message.sender}
      picture={sender?.avatar}
      mine={mine}
      showSender={inGroup && !mine}
      flash={flash}
      at={message.createdAt}
      content={message.content}
      deleted={message.deleted}
      edited={message.edited && !message.deleted}
      attachments={message.attachments}
      replyTo={message.replyTo}
      state={mine && !message.deleted ? <State state={status} /> : null}
      actions={
        !message.deleted && (
          <>
            <IconButton
              icon="reply"
              label="Reply"
              size="small"
              tabIndex={tab}
              onClick={() => actions.onReply(message)}
            />
            {mine && message.content !== '' && (
              <IconButton
                icon="edit"
                label="Edit"
                size="small"
                tabIndex={tab}
                onClick={() => actions.onEdit(message)}
              />
            )}
            {mine && (
              <IconButton
                icon="trash"
                label="Delete"
                size="small"
                kind="danger"
                tabIndex={tab}
                onClick={() => actions.onDelete(message)}
              />
            )}
          </>
        )
      }
    />
  );
});

/** A message that has not arrived yet. */
export const PendingRow = memo(function PendingRow({
  pending,
  ...place
}: Place & { pending: Pending }) {
  const chat = useChat();
  const me = useChatState((state) => state.me);
  const online = useChatState((state) => state.connection === 'online');
  const failed = pending.state === 'failed';
  return (
    <Bubble
      {...place}
      sender={me.username}
      senderId={me.id}
      picture={me.avatar}
      mine
      showSender={false}
      flash={false}
      at={pending.writtenAt}
      content={pending.content}
      deleted={false}
      edited={false}
      attachments={pending.attachments}
      replyTo={pending.replyTo}
      state={<State state={failed ? 'failed' : 'sending'} waiting={!failed && !online} />}
      actions={null}
    >
      {failed && (
        <div className={styles.failed}>
          <span>{pending.reason ?? 'It could not be sent.'}</span>
          <button type="button" onClick={() => chat.retry(pending.clientMsgId)}>
            Retry
          </button>
          <button type="button" onClick={() => chat.discard(pending.clientMsgId)}>
            Discard
          </button>
        </div>
      )}
    </Bubble>
  );
});

interface BubbleProps extends Place {
  readonly sender: string;
  readonly senderId: string;
  readonly picture: string | null | undefined;
  readonly mine: boolean;
  readonly showSender: boolean;
  readonly flash: boolean;
  readonly at: number;
  readonly content: string;
  readonly deleted: boolean;
  readonly edited: boolean;
  readonly attachments: readonly Attachment[];
  readonly replyTo: string | null;
  readonly state: ReactNode;
  readonly actions: ReactNode;
  readonly children?: ReactNode;
}

function Bubble(props: BubbleProps) {
  const { mine, sender, showSender, first, last, content, deleted, attachments } = props;
  const id = useId();
  const [touched, setTouched] = useState(false);
  return (
    <article
      className={cx(
        styles.row,
        mine && styles.mine,
        first && styles.first,
        last && styles.last,
        props.flash && styles.flash,
        touched && styles.touched,
      )}
      aria-labelledby={`${id}who ${id}text ${id}meta`}
      data-row={props.rowKey}
      tabIndex={props.active ? 0 : -1}
      onPointerUp={(event) => {
        const onControl = (event.target as Element).closest('a, button') !== null;
        if (event.pointerType === 'touch' && !onControl) setTouched(!touched);
      }}
      onBlur={() => setTouched(false)}
    >
      {showSender && (
        <span className={styles.face}>
          {last && (
            <Avatar id={props.senderId} name={sender} picture={props.picture} size="small" />
          )}
        </span>
      )}
      <div className={styles.stack}>
        <div className={cx(styles.bubble, !deleted && attachments.length > 0 && styles.withFiles)}>
          {showSender && first ? (
            <span id={`${id}who`} className={styles.sender}>
              {sender}
            </span>
          ) : (
            <VisuallyHidden id={`${id}who`}>{sender}</VisuallyHidden>
          )}
          {props.replyTo !== null && !deleted && (
            <Quote
              id={props.replyTo}
              message={props.quoted}
              sender={props.quotedName}
              tabIndex={props.active ? 0 : -1}
              onJump={props.onJump}
            />
          )}
          <div id={`${id}text`} className={styles.words}>
            {deleted ? (
              <p className={cx(styles.text, styles.deleted)}>This message was deleted</p>
            ) : (
              content !== '' && <MessageText text={content} />
            )}
            {!deleted && attachments.length > 0 && <AttachmentList attachments={attachments} />}
          </div>
          <span id={`${id}meta`} className={styles.meta}>
            {props.edited && <span>edited</span>}
            <time dateTime={new Date(props.at).toISOString()} title={exactTime(props.at)}>
              {timeOfDay(props.at)}
            </time>
            {props.state}
          </span>
        </div>
        {props.children}
      </div>
      {props.actions && <div className={styles.actions}>{props.actions}</div>}
    </article>
  );
}

/** A message's words: text nodes, and links where there are web addresses. */
export function MessageText({ text }: { text: string }) {
  return (
    <p className={styles.text} dir="auto">
      {pieces(text).map(({ text: shown, href }, index) =>
        href === undefined ? (
          shown
        ) : (
          <a key={index} href={href} target="_blank" rel="noopener noreferrer nofollow ugc">
            {shown}
          </a>
        ),
      )}
    </p>
  );
}

type DeliveryState = 'sending' | 'sent' | 'delivered' | 'read' | 'failed';

const STATE_ICONS: Record<DeliveryState, IconName> = {
  sending: 'clock',
  sent: 'check',
  delivered: 'checks',
  read: 'checks',
  failed: 'warning',
};

function State({ state, waiting = false }: { state: DeliveryState; waiting?: boolean }) {
  const words = waiting ? 'sending, waiting for the connection' : state;
  return (
    <span className={cx(styles.state, styles[state])} title={words} data-state={state}>
      <Icon name={STATE_ICONS[state]} size={15} />
      <VisuallyHidden>{words}</VisuallyHidden>
    </span>
  );
}

interface QuoteProps {
  readonly id: string;
  readonly message: Message | undefined;
  readonly sender: string | undefined;
  readonly tabIndex: number;
  readonly onJump: (id: string) => void;
}

/** The message that is answered, in one line; pressing it goes there. */
function Quote({ id, message, sender, tabIndex, onJump }: QuoteProps) {
  return (
    <button type="button" className={styles.quote} tabIndex={tabIndex} onClick={() => onJump(id)}>
      <span className={styles.quoted}>{sender ?? 'In reply to'}</span>
      <span className={styles.gist}>
        {message === undefined
          ? 'an earlier message'
          : message.deleted
            ? 'a deleted message'
            : message.content || (message.attachments[0]?.name ?? '')}
      </span>
    </button>
  );
}
