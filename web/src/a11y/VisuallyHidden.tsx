import type { ReactNode } from 'react';

import styles from './hidden.module.css';

/** For ears only. */
export function VisuallyHidden({ children, id }: { children: ReactNode; id?: string | undefined }) {
  return (
    <span id={id} className={styles.hidden}>
      {children}
    </span>
  );
}
