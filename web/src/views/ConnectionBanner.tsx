import { useEffect, useState } from 'react';

import { useChatState } from './chat-context';
import styles from './ConnectionBanner.module.css';

/** A connection that is back before this is not worth a word. */
const PATIENCE_MS = 600;

/** Says that the connection is away, and that nothing is lost by it. */
export function ConnectionBanner() {
  const away = useChatState((state) => state.connection === 'away');
  const waiting = useChatState((state) => Object.values(state.pending).some((of) => of.length > 0));
  const [late, setLate] = useState(false);

  useEffect(() => {
    if (!away) return;
    const timer = setTimeout(() => setLate(true), PATIENCE_MS);
    return () => {
      clearTimeout(timer);
      setLate(false);
    };
  }, [away]);

  // The region is always there, so that what appears in it is announced.
  return (
    <div aria-live="polite">
      {away && late && (
        <div className={styles.banner} role="status">
          <span className={styles.pulse} aria-hidden="true" />
          <strong>Reconnecting…</strong>
          {waiting && <span>What you write is kept and sent once you are back.</span>}
        </div>
      )}
    </div>
  );
}
