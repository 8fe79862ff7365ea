import { useState } from 'react';

import { explain } from '../net/errors';
import type { Attachment } from '../state/model';
import styles from './Attachments.module.css';
import { useChat } from './chat-context';
import { fileSize } from './format';
import { Icon } from './Icon';

/** Files of a message, each with its name and size; pressing one saves it. */
export function AttachmentList({ attachments }: { attachments: readonly Attachment[] }) {
  return (
    <ul className={styles.list}>
      {attachments.map((attachment) => (
        <li key={attachment.fileId}>
          <File attachment={attachment} />
        </li>
      ))}
    </ul>
  );
}

function File({ attachment }: { attachment: Attachment }) {
  const chat = useChat();
  const [problem, setProblem] = useState<string | null>(null);

  const save = async () => {
    setProblem(null);
    try {
      const address = URL.createObjectURL(await chat.file(attachment.fileId));
      const link = document.createElement('a');
      link.href = address;
      link.download = attachment.name;
      link.click();
      // The browser has taken it by then.
      setTimeout(() => URL.revokeObjectURL(address), 60_000);
    } catch (error) {
      setProblem(explain(error));
    }
  };

  return (
    <button type="button" className={styles.file} onClick={() => void save()}>
      <Icon name="file" />
      <span className={styles.about}>
        <span className={styles.name}>{attachment.name}</span>
        <span className={styles.size}>{problem ?? fileSize(attachment.size)}</span>
      </span>
    </button>
  );
}
