import { lazy, Suspense, useEffect, useRef, useState } from 'react';

import { useNotifications } from '../app/notify';
import { goTo, useConversationId } from '../app/route';
import type { Chat } from '../net/client';
import { totalUnread } from '../state/select';
import { ChatContext, useChatState } from './chat-context';
import styles from './ChatPage.module.css';
import { ConnectionBanner } from './ConnectionBanner';
import { Conversation } from './Conversation';
import { NotHere, NothingOpen } from './Empty';
import { Sidebar } from './Sidebar';

const loadDialogs = () => import('./dialogs');
const NewConversation = lazy(async () => ({ default: (await loadDialogs()).NewConversation }));
const Confirm = lazy(async () => ({ default: (await loadDialogs()).Confirm }));

interface ChatPageProps {
  readonly chat: Chat;
  readonly logOut: () => Promise<void>;
}

export function ChatPage({ chat, logOut }: ChatPageProps) {
  return (
    <ChatContext value={chat}>
      <Page chat={chat} logOut={logOut} />
    </ChatContext>
  );
}

function Page({ chat, logOut }: ChatPageProps) {
  const id = useConversationId();
  const known = useChatState((state) => id !== null && id in state.conversations);
  const loaded = useChatState((state) => state.loaded);
  const online = useChatState((state) => state.connection === 'online');
  const unsent = useChatState(
    ({ pending, uploads }) => [pending, uploads].flatMap(Object.values).flat().length,
  );
  const [creating, setCreating] = useState(false);
  const [leaving, setLeaving] = useState(false);
  /** What was looked for, whether it was found or not. */
  const [settled, setSettled] = useState<string | null>(null);
  const main = useRef<HTMLElement>(null);

  useNotifications(chat);
  useTitle();

  useEffect(() => {
    const settled = () => setSettled(id);
    chat.open(id).then(settled, settled);
  }, [chat, id]);

  useEffect(() => {
    // The dialogs are not part of the first load, but must be there when the network is not.
    const soon = setTimeout(() => void loadDialogs().catch(() => undefined), 1_000);
    return () => clearTimeout(soon);
  }, []);

  const askToLogOut = () => {
    if (unsent > 0) setLeaving(true);
    else void logOut();
  };

  return (
    <div className={styles.page} data-open={known ? 'conversation' : 'list'}>
      <button type="button" className={styles.skip} onClick={() => main.current?.focus()}>
        Skip to conversation
      </button>
      <ConnectionBanner />
      <div className={styles.columns}>
        <Sidebar open={id} onNewConversation={() => setCreating(true)} onLogOut={askToLogOut} />
        <main ref={main} className={styles.main} tabIndex={-1}>
          {id !== null && known && <Conversation key={id} id={id} />}
          {id !== null && !known && settled === id && online && <NotHere />}
          {id === null && loaded && <NothingOpen onNewConversation={() => setCreating(true)} />}
        </main>
      </div>
      <Suspense>
        {creating && (
          <NewConversation
            onClose={() => setCreating(false)}
            onCreated={(created) => {
              setCreating(false);
              goTo(created);
            }}
          />
        )}
        {leaving && (
          <Confirm
            title="Log out and lose what is not sent?"
            text={
              unsent === 1
                ? 'One message or file is not sent yet. Logging out deletes it.'
                : `${unsent} messages or files are not sent yet. Logging out deletes them.`
            }
            action="Log out anyway"
            onClose={() => setLeaving(false)}
            onConfirm={() => void logOut()}
          />
        )}
      </Suspense>
    </div>
  );
}

/** The number of unread messages in the tab's title. */
function useTitle(): void {
  const unread = useChatState((state) => totalUnread(state.conversations));
  useEffect(() => {
    document.title = unread > 0 ? `(${unread}) SyncChat` : 'SyncChat';
    return () => {
      document.title = 'SyncChat';
    };
  }, [unread]);
}
