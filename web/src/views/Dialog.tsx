import * as Ariakit from '@ariakit/react';
import type { ReactNode } from 'react';

import { IconButton } from './Button';
import styles from './Dialog.module.css';

interface DialogProps {
  readonly title: string;
  readonly onClose: () => void;
  readonly children: ReactNode;
  readonly role?: 'dialog' | 'alertdialog';
}

/** A dialog over the page: focus stays inside, Escape closes it, focus returns where it was. */
export function Dialog({ title, onClose, children, role = 'dialog' }: DialogProps) {
  return (
    <Ariakit.Dialog
      open
      onClose={onClose}
      role={role}
      className={styles.dialog}
      backdrop={<div className={styles.backdrop} />}
    >
      <header className={styles.header}>
        <Ariakit.DialogHeading className={styles.title}>{title}</Ariakit.DialogHeading>
        <IconButton icon="close" label="Close" size="small" onClick={onClose} />
      </header>
      {children}
    </Ariakit.Dialog>
  );
}
