import type { Upload } from '../state/model';
import { IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import { fileSize } from './format';
import { Icon } from './Icon';
import styles from './Uploads.module.css';

/** What is on its way into a conversation, above the text box. */
export function Uploads({ id }: { id: string }) {
  const uploads = useChatState((state) => state.uploads[id]);
  if (uploads === undefined) return null;
  return (
    <ul className={styles.list} aria-label="Uploads">
      {uploads.map((upload) => (
        <Row key={upload.key} upload={upload} />
      ))}
    </ul>
  );
}

function Row({ upload }: { upload: Upload }) {
  const { uploads } = useChat();
  const { key, file, state } = upload;
  const failed = state === 'failed';
  return (
    <li className={styles.upload}>
      <Icon name={failed ? 'warning' : 'file'} size={18} />
      <span className={styles.about}>
        <span className={styles.name}>{file.name}</span>
        <Progress upload={upload} />
      </span>
      {!failed && <span className={styles.size}>{fileSize(file.size)}</span>}
      {failed && (
        <button type="button" className={styles.retry} onClick={() => uploads.retry(key)}>
          Try again
        </button>
      )}
      <IconButton
        icon="close"
        label={failed ? 'Dismiss' : 'Stop the upload'}
        size="small"
        onClick={() => uploads.stop(key)}
      />
    </li>
  );
}

function Progress({ upload: { file, state, share, reason } }: { upload: Upload }) {
  const away = useChatState(({ connection }) => connection === 'away');
  if (state === 'failed') {
    return (
      <span className={styles.problem} role="alert">
        {reason}
      </span>
    );
  }
  if (state === 'waiting' && away) {
    return <span className={styles.note}>Waiting for the connection</span>;
  }
  return <progress max={1} value={share} aria-label={`Uploading ${file.name}`} />;
}
