import { typists } from '../state/select';
import { useChatState } from './chat-context';
import styles from './TypingLine.module.css';

/** Who types. The line keeps its height, so that nothing jumps. */
export function TypingLine({ id }: { id: string }) {
  const names = useChatState((state) => typists(state, id).join('\n'));
  const who = names === '' ? [] : names.split('\n');
  return (
    <div className={styles.line} aria-live="polite">
      {who.length > 0 && (
        <p role="status">
          <span className={styles.dots} aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {phrase(who)}
        </p>
      )}
    </div>
  );
}

function phrase(who: readonly string[]): string {
  if (who.length === 1) return `${who[0] ?? ''} is typing`;
  if (who.length === 2) return `${who.join(' and ')} are typing`;
  return `${who.length} people are typing`;
}
