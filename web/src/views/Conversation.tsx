import { lazy, Suspense, useCallback, useRef, useState } from 'react';

import { goTo } from '../app/route';
import { VisuallyHidden } from '../a11y/VisuallyHidden';
import { explain } from '../net/errors';
import type { Conversation as ConversationState, Message } from '../state/model';
import { nameOf, otherOf } from '../state/select';
import { Avatar } from './Avatar';
import { IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import { Composer, EditBox, type ComposerHandle } from './Composer';
import styles from './Conversation.module.css';
import { lastSeenLabel } from './format';
import { MessageList } from './MessageList';
import { TypingLine } from './TypingLine';
import { useDrop } from './useDrop';

const loadDialogs = () => import('./dialogs');
const Details = lazy(async () => ({ default: (await loadDialogs()).Details }));
const Confirm = lazy(async () => ({ default: (await loadDialogs()).Confirm }));

/** A message that is being changed, and what it is to say. */
interface Editing {
  readonly message: Message;
  readonly text: string;
}

/** One open conversation. */
export function Conversation({ id }: { id: string }) {
  const chat = useChat();
  const conversation = useChatState((state) => state.conversations[id]);
  const composer = useRef<ComposerHandle>(null);
  const [replyTo, setReplyTo] = useState<Message | null>(null);
  const [editing, setEditing] = useState<Editing | null>(null);
  const [deleting, setDeleting] = useState<Message | null>(null);
  const [details, setDetails] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const { dropping, drop } = useDrop((files) => composer.current?.attach(files));

  const onReply = useCallback((message: Message) => {
    setEditing(null);
    setReplyTo(message);
    composer.current?.focus();
  }, []);
  const onEdit = useCallback((message: Message) => {
    setProblem(null);
    setEditing({ message, text: message.content });
  }, []);
  const onDelete = useCallback((message: Message) => {
    setProblem(null);
    setDeleting(message);
  }, []);

  if (!conversation) return null;

  const stopEditing = () => {
    setEditing(null);
    setProblem(null);
    composer.current?.focus();
  };

  const edit = async (message: Message, text: string) => {
    stopEditing();
    if (text === message.content) return;
    try {
      await chat.edit(message.id, text);
    } catch (error) {
      // What was written is not lost: back to it.
      setEditing({ message, text });
      setProblem(explain(error));
    }
  };

  const remove = async (message: Message) => {
    setDeleting(null);
    try {
      await chat.remove(message.id);
    } catch (error) {
      setProblem(explain(error));
    }
  };

  return (
    <section
      className={styles.conversation}
      aria-labelledby="conversation-name"
      data-drop={dropping}
      {...drop}
    >
      <Header conversation={conversation} onDetails={() => setDetails(true)} />
      <MessageList id={id} onReply={onReply} onEdit={onEdit} onDelete={onDelete} />
      <div className={styles.foot}>
        <TypingLine id={id} />
        <p className={styles.problem} role="alert">
          {problem}
        </p>
        {editing && (
          <EditBox
            key={editing.message.id}
            message={editing.message}
            begun={editing.text}
            onSave={(text) => void edit(editing.message, text)}
            onCancel={stopEditing}
          />
        )}
        <Composer
          ref={composer}
          id={id}
          hidden={editing !== null}
          replyTo={replyTo}
          onReplyTo={setReplyTo}
          onEditLast={onEdit}
        />
      </div>
      <Suspense>
        {details && <Details id={id} onClose={() => setDetails(false)} />}
        {deleting && (
          <Confirm
            title="Delete this message?"
            text="Everybody in the conversation will see that it was deleted, and nobody will see what it said."
            action="Delete message"
            onClose={() => setDeleting(null)}
            onConfirm={() => void remove(deleting)}
          />
        )}
      </Suspense>
    </section>
  );
}

interface HeaderProps {
  readonly conversation: ConversationState;
  readonly onDetails: () => void;
}

function Header({ conversation, onDetails }: HeaderProps) {
  const me = useChatState((state) => state.me.id);
  const people = useChatState((state) => state.people);
  const other = otherOf(conversation, me);
  const online = useChatState((state) => other !== null && state.presence[other]?.online === true);
  const name = nameOf(conversation, people, me);
  const isGroup = conversation.kind === 'group';
  return (
    <header className={styles.header}>
      <span className={styles.back}>
        <IconButton icon="back" label="Back to all chats" onClick={() => goTo(null)} />
      </span>
      <Avatar
        id={other ?? conversation.id}
        name={name}
        picture={other === null ? null : people[other]?.avatar}
        online={online}
        group={isGroup}
      />
      <div className={styles.title}>
        <h2 id="conversation-name">{name}</h2>
        <p>{isGroup ? <GroupPresence conversation={conversation} /> : <Presence id={other} />}</p>
      </div>
      {isGroup && <IconButton icon="info" label="Group details" onClick={onDetails} />}
    </header>
  );
}

function Presence({ id }: { id: string | null }) {
  const presence = useChatState((state) => (id === null ? undefined : state.presence[id]));
  const away = useChatState((state) => state.connection === 'away');
  if (away) return <>waiting for the connection</>;
  if (presence?.online) return <>online</>;
  return <>{presence?.lastSeen ? lastSeenLabel(presence.lastSeen) : 'offline'}</>;
}

function GroupPresence({ conversation }: { conversation: ConversationState }) {
  const { participants } = conversation;
  const online = useChatState(
    (state) =>
      participants.filter((one) => one === state.me.id || state.presence[one]?.online).length,
  );
  const away = useChatState((state) => state.connection === 'away');
  return (
    <>
      {participants.length === 1 ? '1 person' : `${participants.length} people`}
      {!away && (
        <>
          <VisuallyHidden>, </VisuallyHidden>
          <span aria-hidden="true"> · </span>
          {online} online
        </>
      )}
    </>
  );
}
