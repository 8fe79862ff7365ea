import { useState, type SubmitEvent } from 'react';

import { explain } from '../net/errors';
import type { Person } from '../state/model';
import { nameOf } from '../state/select';
import { Avatar } from './Avatar';
import { Button, IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import styles from './Details.module.css';
import { Dialog } from './Dialog';
import forms from './forms.module.css';
import { lastSeenLabel } from './format';
import { TITLE_CHARS_MAX } from './NewConversation';
import { PeoplePicker } from './PeoplePicker';

/** A group: its name, who is in it, and the way out. */
export function Details({ id, onClose }: { id: string; onClose: () => void }) {
  const chat = useChat();
  const conversation = useChatState((state) => state.conversations[id]);
  const people = useChatState((state) => state.people);
  const presence = useChatState((state) => state.presence);
  const me = useChatState((state) => state.me.id);
  const [title, setTitle] = useState(conversation?.title ?? '');
  const [adding, setAdding] = useState<readonly Person[] | null>(null);
  const [sure, setSure] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  if (!conversation) return null;

  const attempt = async (work: () => Promise<void>) => {
    setProblem(null);
    try {
      await work();
    } catch (error) {
      setProblem(explain(error));
    }
  };

  const rename = (event: SubmitEvent) => {
    event.preventDefault();
    void attempt(() => chat.rename(id, title.trim()));
  };

  const add = () =>
    void attempt(async () => {
      await chat.addMembers(id, adding ?? []);
      setAdding(null);
    });

  const members = conversation.participants
    .map((one) => people[one] ?? { id: one, username: '…', avatar: null })
    .toSorted(
      (a, b) => Number(b.id === me) - Number(a.id === me) || a.username.localeCompare(b.username),
    );
  const changed = title.trim() !== (conversation.title ?? '') && title.trim() !== '';

  return (
    <Dialog title={nameOf(conversation, people, me)} onClose={onClose}>
      <form className={styles.rename} onSubmit={rename}>
        <label className={forms.label}>
          Name of the group
          <input
            className={forms.input}
            value={title}
            maxLength={TITLE_CHARS_MAX}
            onChange={(event) => setTitle(event.target.value)}
          />
        </label>
        <Button type="submit" disabled={!changed}>
          Rename
        </Button>
      </form>
      {adding === null ? (
        <section aria-label="Members">
          <div className={styles.head}>
            <h3>{members.length === 1 ? '1 person' : `${members.length} people`}</h3>
            <Button onClick={() => setAdding([])}>Add people</Button>
          </div>
          <ul className={styles.members}>
            {members.map((one) => (
              <li key={one.id} className={styles.member}>
                <Avatar
                  id={one.id}
                  name={one.username}
                  picture={one.avatar}
                  size="small"
                  online={one.id === me || presence[one.id]?.online}
                />
                <span className={styles.name}>
                  {one.username}
                  <small>{one.id === me ? 'you' : presenceOf(presence[one.id])}</small>
                </span>
                {one.id !== me && (
                  <IconButton
                    icon="close"
                    label={`Remove ${one.username}`}
                    size="small"
                    kind="danger"
                    onClick={() => void attempt(() => chat.removeMember(id, one.id))}
                  />
                )}
              </li>
            ))}
          </ul>
        </section>
      ) : (
        <section aria-label="Add people">
          <PeoplePicker picked={adding} onPicked={setAdding} except={conversation.participants} />
          <div className={forms.buttons}>
            <Button onClick={() => setAdding(null)}>Cancel</Button>
            <Button kind="primary" disabled={adding.length === 0} onClick={add}>
              Add to the group
            </Button>
          </div>
        </section>
      )}
      <p className={forms.problem} role="alert">
        {problem}
      </p>
      {adding === null && (
        <Button
          kind="danger"
          wide
          onClick={() => (sure ? void attempt(() => chat.removeMember(id, me)) : setSure(true))}
        >
          {sure ? 'Yes, leave the group' : 'Leave the group'}
        </Button>
      )}
    </Dialog>
  );
}

function presenceOf(presence: { online: boolean; lastSeen: number | null } | undefined): string {
  if (presence?.online) return 'online';
  return presence?.lastSeen ? lastSeenLabel(presence.lastSeen) : 'offline';
}
