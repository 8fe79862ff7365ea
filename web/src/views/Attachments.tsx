import { useEffect, useState } from 'react';

import { explain } from '../net/errors';
import { isPicture } from '../net/files';
import { PICTURE_DELAY_MS } from '../net/limits';
import type { Attachment } from '../state/model';
import styles from './Attachments.module.css';
import { useChat, useChatState } from './chat-context';
import { fileSize } from './format';
import { Icon } from './Icon';

/** Files of a message: pictures as such, others by name and size. Pressing one gets it. */
export function AttachmentList({ attachments }: { attachments: readonly Attachment[] }) {
  return (
    <ul className={styles.list}>
      {attachments.map((attachment) => (
        <li key={attachment.fileId}>
          {isPicture(attachment.contentType) ? (
            <Picture attachment={attachment} />
          ) : (
            <File attachment={attachment} />
          )}
        </li>
      ))}
    </ul>
  );
}

/** Gets a file by a link that is asked for at the moment it is wanted, and says what went wrong. */
function useDownload({ fileId, name }: Attachment) {
  const chat = useChat();
  const [problem, setProblem] = useState<string | null>(null);
  const open = async (save: boolean) => {
    setProblem(null);
    try {
      const link = document.createElement('a');
      link.href = await chat.files.link(fileId);
      // Whatever the storage makes of it, this page stays.
      link.target = '_blank';
      link.rel = 'noopener';
      if (save) link.download = name;
      link.click();
    } catch (error) {
      setProblem(explain(error));
    }
  };
  return { problem, open };
}

function File({ attachment, note }: { attachment: Attachment; note?: string }) {
  const { problem, open } = useDownload(attachment);
  return (
    <button type="button" className={styles.file} onClick={() => void open(true)}>
      <Icon name="file" />
      <span className={styles.about}>
        <span className={styles.name}>{attachment.name}</span>
        <span className={styles.size}>{problem ?? note ?? fileSize(attachment.size)}</span>
      </span>
    </button>
  );
}

/** A box of one size, whatever is in it: what is below does not move when the picture comes. */
function Picture({ attachment }: { attachment: Attachment }) {
  const { fileId, name } = attachment;
  const { files } = useChat();
  const [source, setSource] = useState(() => files.preview(fileId));
  const [failures, setFailures] = useState(0);
  const { problem, open } = useDownload(attachment);

  // Without a connection nothing can be shown; what failed then is worth another try.
  const online = useChatState((state) => state.connection === 'online');
  const [wasOnline, setWasOnline] = useState(online);
  if (online !== wasOnline) {
    setWasOnline(online);
    if (online) setFailures(0);
  }

  useEffect(() => {
    if (source !== undefined) return;
    let gone = false;
    const timer = setTimeout(() => {
      files.link(fileId).then(
        (link) => gone || setSource(link),
        () => gone || setFailures(2),
      );
    }, PICTURE_DELAY_MS);
    return () => {
      gone = true;
      clearTimeout(timer);
    };
  }, [files, fileId, source, failures]);

  const failed = () => {
    // The link may have ended meanwhile: once more with a new one.
    files.forget(fileId);
    setFailures(failures + 1);
    setSource(undefined);
  };

  if (failures > 1) return <File attachment={attachment} note="The picture cannot be shown" />;
  return (
    <button
      type="button"
      className={styles.picture}
      title={problem ?? name}
      aria-label={`Picture ${name}`}
      onClick={() => void open(false)}
    >
      {source !== undefined && (
        <img src={source} alt="" draggable={false} decoding="async" onError={failed} />
      )}
    </button>
  );
}
