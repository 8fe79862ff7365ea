import { toggleNotify, useNotifyState, type NotifyState } from '../app/notify';
import { setTheme, useTheme, type Theme } from '../app/theme';
import { Avatar } from './Avatar';
import { IconButton } from './Button';
import { useChatState } from './chat-context';
import { ConversationList } from './ConversationList';
import type { IconName } from './Icon';
import styles from './Sidebar.module.css';

interface SidebarProps {
  readonly open: string | null;
  readonly onNewConversation: () => void;
  readonly onLogOut: () => void;
}

export function Sidebar({ open, onNewConversation, onLogOut }: SidebarProps) {
  const me = useChatState((state) => state.me);
  return (
    <aside className={styles.sidebar} aria-label="Chats">
      <header className={styles.header}>
        <h1>Chats</h1>
        <IconButton
          icon="add"
          label="New conversation"
          kind="primary"
          onClick={onNewConversation}
        />
      </header>
      <ConversationList open={open} onNewConversation={onNewConversation} />
      <footer className={styles.footer}>
        <Avatar id={me.id} name={me.username} picture={me.avatar} size="small" />
        <span className={styles.me} title={me.email ?? undefined}>
          {me.username}
        </span>
        <NotifyButton />
        <ThemeButton />
        <IconButton icon="leave" label="Log out" onClick={onLogOut} />
      </footer>
    </aside>
  );
}

const THEMES: Record<Theme, { icon: IconName; next: Theme; label: string }> = {
  system: { icon: 'system', next: 'light', label: 'Theme: as the system' },
  light: { icon: 'sun', next: 'dark', label: 'Theme: light' },
  dark: { icon: 'moon', next: 'system', label: 'Theme: dark' },
};

function ThemeButton() {
  const { icon, next, label } = THEMES[useTheme()];
  return <IconButton icon={icon} label={label} onClick={() => setTheme(next)} />;
}

const NOTIFY: Record<Exclude<NotifyState, 'unsupported'>, { icon: IconName; label: string }> = {
  on: { icon: 'bell', label: 'Notifications: on' },
  off: { icon: 'bellOff', label: 'Notifications: off' },
  blocked: { icon: 'bellOff', label: 'Notifications: blocked by the browser' },
};

function NotifyButton() {
  const state = useNotifyState();
  if (state === 'unsupported') return null;
  return (
    <IconButton
      {...NOTIFY[state]}
      disabled={state === 'blocked'}
      onClick={() => void toggleNotify()}
    />
  );
}
