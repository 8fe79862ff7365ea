import { Button } from './Button';
import { Dialog } from './Dialog';
import styles from './forms.module.css';

interface ConfirmProps {
  readonly title: string;
  readonly text: string;
  /** What the button does, in its words. */
  readonly action: string;
  readonly onClose: () => void;
  readonly onConfirm: () => void;
}

export function Confirm({ title, text, action, onClose, onConfirm }: ConfirmProps) {
  return (
    <Dialog title={title} role="alertdialog" onClose={onClose}>
      <p className={styles.text}>{text}</p>
      <div className={styles.buttons}>
        <Button onClick={onClose} data-autofocus>
          Cancel
        </Button>
        <Button kind="danger" onClick={onConfirm}>
          {action}
        </Button>
      </div>
    </Dialog>
  );
}
