import { useState, type SubmitEvent } from 'react';

import { explain } from '../net/errors';
import type { Person } from '../state/model';
import { Button } from './Button';
import { useChat } from './chat-context';
import { Dialog } from './Dialog';
import styles from './forms.module.css';
import { PeoplePicker } from './PeoplePicker';

/** Characters of a group's title, as the server counts them. */
export const TITLE_CHARS_MAX = 100;

interface NewConversationProps {
  readonly onClose: () => void;
  readonly onCreated: (id: string) => void;
}

/** One person makes a private conversation; several, or a title, a group. */
export function NewConversation({ onClose, onCreated }: NewConversationProps) {
  const chat = useChat();
  const [picked, setPicked] = useState<readonly Person[]>([]);
  const [title, setTitle] = useState('');
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);

  const create = async (event: SubmitEvent) => {
    event.preventDefault();
    if (busy) return;
    if (picked.length === 0) {
      setProblem('Pick somebody to talk to.');
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      onCreated(await chat.create(picked, title.trim()));
    } catch (error) {
      setBusy(false);
      setProblem(explain(error));
    }
  };

  return (
    <Dialog title="New conversation" onClose={onClose}>
      <form className={styles.form} onSubmit={(event) => void create(event)}>
        <PeoplePicker picked={picked} onPicked={setPicked} />
        <label className={styles.label}>
          <span id="new-title">Title</span>
          <input
            className={styles.input}
            aria-labelledby="new-title"
            aria-describedby="new-title-hint"
            value={title}
            maxLength={TITLE_CHARS_MAX}
            onChange={(event) => setTitle(event.target.value)}
          />
          <span id="new-title-hint" className={styles.hint}>
            Optional. A title makes it a group.
          </span>
        </label>
        <p className={styles.problem} role="alert">
          {problem}
        </p>
        <div className={styles.buttons}>
          <Button onClick={onClose}>Cancel</Button>
          <Button type="submit" kind="primary" busy={busy}>
            Create
          </Button>
        </div>
      </form>
    </Dialog>
  );
}
