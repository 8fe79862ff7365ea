import { Button } from './Button';
import { useChatState } from './chat-context';
import styles from './Empty.module.css';
import { Mark } from './Mark';

/** What stands in the place of a conversation while none is open. */
export function NothingOpen({ onNewConversation }: { onNewConversation: () => void }) {
  const isNew = useChatState((state) => Object.keys(state.conversations).length === 0);
  const name = useChatState((state) => state.me.username);
  return (
    <div className={styles.empty}>
      <Mark size={48} />
      {isNew ? (
        <>
          <h1>Hello, {name}</h1>
          <p>Find somebody by name and say the first word.</p>
          <Button kind="primary" onClick={onNewConversation}>
            Start a conversation
          </Button>
          <p className={styles.hint}>
            Trying it alone? Open this page in a private window, sign up as somebody else, and talk
            to yourself.
          </p>
        </>
      ) : (
        <>
          <h1>Pick up where you left off</h1>
          <p>Choose a conversation, or start another one.</p>
        </>
      )}
    </div>
  );
}

/** What stands in the place of a conversation that this person cannot see. */
export function NotHere() {
  return (
    <div className={styles.empty}>
      <Mark size={48} />
      <h1>This conversation is not here</h1>
      <p>You are not in it, or not any more. Choose another one, or start one.</p>
    </div>
  );
}
