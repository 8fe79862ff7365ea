import { IconButton } from './Button';
import { fileSize } from './format';
import { Icon } from './Icon';
import styles from './Uploads.module.css';
import type { Upload } from './useUploads';

interface UploadsProps {
  readonly uploads: readonly Upload[];
  readonly onRetry: (upload: Upload) => void;
  readonly onDismiss: (key: number) => void;
}

/** What is on its way to the server, above the text box. */
export function Uploads({ uploads, onRetry, onDismiss }: UploadsProps) {
  if (uploads.length === 0) return null;
  return (
    <ul className={styles.list} aria-label="Uploads">
      {uploads.map((upload) => (
        <li key={upload.key} className={styles.upload}>
          <Icon name={upload.problem === null ? 'file' : 'warning'} size={18} />
          <span className={styles.about}>
            <span className={styles.name}>{upload.file.name}</span>
            {upload.problem === null ? (
              <progress max={1} value={upload.share} aria-label={`Uploading ${upload.file.name}`} />
            ) : (
              <span className={styles.problem} role="alert">
                {upload.problem}
              </span>
            )}
          </span>
          <span className={styles.size}>{fileSize(upload.file.size)}</span>
          {upload.problem !== null && (
            <button type="button" className={styles.retry} onClick={() => onRetry(upload)}>
              Try again
            </button>
          )}
          <IconButton
            icon="close"
            label={upload.problem === null ? 'Stop the upload' : 'Dismiss'}
            size="small"
            onClick={() => onDismiss(upload.key)}
          />
        </li>
      ))}
    </ul>
  );
}
