import {
  useCallback,
  useEffect,
  useId,
  useImperativeHandle,
  useLayoutEffect,
  useRef,
  useState,
  type KeyboardEvent,
  type Ref,
  type RefObject,
  type ReactNode,
  type SubmitEvent,
} from 'react';

import { keepDraft, readDraft } from '../state/drafts';
import type { Message } from '../state/model';
import { AttachButton } from './AttachButton';
import { IconButton } from './Button';
import { useChat, useChatState } from './chat-context';
import styles from './Composer.module.css';
import { Icon } from './Icon';
import { Uploads } from './Uploads';

/** Characters the server takes in one message; counted as it counts, by code point. */
const CONTENT_CHARS_MAX = 4_000;
/** From here on the room that is left is shown. */
const COUNT_FROM = CONTENT_CHARS_MAX - 200;

const countChars = (text: string) => Array.from(text).length;

export interface ComposerHandle {
  readonly focus: () => void;
  /** Uploads these, and sends each when it is there. */
  readonly attach: (files: readonly File[]) => void;
}

interface ComposerProps {
  readonly ref: Ref<ComposerHandle>;
  readonly id: string;
  /** While a message is edited in its place. */
  readonly hidden: boolean;
  readonly replyTo: Message | null;
  readonly onReplyTo: (message: Message | null) => void;
  readonly onEditLast: (message: Message) => void;
}

/** Where a message is written. What was begun is kept until it is sent. */
export function Composer({ ref, id, hidden, replyTo, onReplyTo, onEditLast }: ComposerProps) {
  const chat = useChat();
  const me = useChatState((state) => state.me.id);
  const takesFiles = useChatState((state) => state.features.files);
  const [text, setText] = useState(() => readDraft(me, id).text);
  const box = useRef<HTMLTextAreaElement>(null);

  const [leftOut, setLeftOut] = useState(0);
  const attach = useCallback(
    (files: readonly File[]) => setLeftOut(chat.uploads.add(id, files)),
    [chat, id],
  );

  useImperativeHandle(ref, () => ({ focus: () => box.current?.focus(), attach }), [attach]);

  // Opening a conversation is mostly for writing in it; on a phone the keyboard would cover it.
  useEffect(() => {
    if (window.matchMedia('(hover: hover)').matches) box.current?.focus();
  }, []);

  // A draft comes back with what it answers.
  const draftReply = useRef(readDraft(me, id).replyTo);
  const answered = useChatState((state) =>
    draftReply.current === null
      ? undefined
      : state.logs[id]?.messages.find((message) => message.id === draftReply.current),
  );
  useEffect(() => {
    if (!answered) return;
    draftReply.current = null;
    onReplyTo(answered);
  }, [answered, onReplyTo]);

  const write = (next: string) => {
    setText(next);
    keepDraft(me, id, { text: next, replyTo: replyTo?.id ?? null });
    chat.typing(id, next.trim() !== '');
  };

  const answer = (message: Message | null) => {
    onReplyTo(message);
    keepDraft(me, id, { text, replyTo: message?.id ?? null });
  };

  const send = () => {
    const content = text.trim();
    if (content === '' || countChars(content) > CONTENT_CHARS_MAX) return;
    chat.send(id, { content, replyTo: replyTo?.id ?? null });
    setText('');
    onReplyTo(null);
    keepDraft(me, id, { text: '', replyTo: null });
    box.current?.focus();
  };

  const editLast = (): boolean => {
    const { logs } = chat.store.getState();
    const last = logs[id]?.messages.findLast(
      (message) => message.sender === me && !message.deleted && message.content !== '',
    );
    if (last) onEditLast(last);
    return last !== undefined;
  };

  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Escape' && replyTo) {
      event.preventDefault();
      answer(null);
    } else if (event.key === 'ArrowUp' && text === '' && editLast()) {
      event.preventDefault();
    }
  };

  return (
    <div className={styles.composer} hidden={hidden}>
      {replyTo && <Answering message={replyTo} onCancel={() => answer(null)} />}
      <Uploads id={id} />
      <p className={styles.leftOut} role="alert">
        {leftOut > 0 && `Too many files at once: ${leftOut} of them were left out.`}
      </p>
      <MessageBox
        ref={box}
        text={text}
        onText={write}
        onSubmit={send}
        onKeyDown={onKeyDown}
        submit="Send"
        onFiles={takesFiles ? attach : null}
        before={takesFiles ? <AttachButton onFiles={attach} /> : null}
      />
    </div>
  );
}

function Answering({ message, onCancel }: { message: Message; onCancel: () => void }) {
  const sender = useChatState((state) => state.people[message.sender]?.username);
  return (
    <div className={styles.context}>
      <Icon name="reply" size={18} />
      <p>
        <strong>{sender ?? 'Somebody'}</strong>
        <span>{message.content || message.attachments[0]?.name}</span>
      </p>
      <IconButton icon="close" label="Do not reply" size="small" onClick={onCancel} />
    </div>
  );
}

interface EditBoxProps {
  readonly message: Message;
  /** What the box holds at first. */
  readonly begun: string;
  readonly onSave: (content: string) => void;
  readonly onCancel: () => void;
}

/** Stands in the composer's place while a message is changed. */
export function EditBox({ message, begun, onSave, onCancel }: EditBoxProps) {
  const [text, setText] = useState(begun);
  const box = useRef<HTMLTextAreaElement>(null);

  useEffect(() => {
    box.current?.focus();
    box.current?.setSelectionRange(begun.length, begun.length);
  }, [begun.length]);

  const save = () => {
    const content = text.trim();
    if (content !== '' && countChars(content) <= CONTENT_CHARS_MAX) onSave(content);
  };

  return (
    <div className={styles.composer}>
      <div className={styles.context}>
        <Icon name="edit" size={18} />
        <p>
          <strong>Editing</strong>
          <span>{message.content}</span>
        </p>
        <IconButton icon="close" label="Stop editing" size="small" onClick={onCancel} />
      </div>
      <MessageBox
        ref={box}
        text={text}
        onText={setText}
        onSubmit={save}
        onKeyDown={(event) => {
          if (event.key !== 'Escape') return;
          event.preventDefault();
          onCancel();
        }}
        submit="Save"
        onFiles={null}
        before={null}
      />
    </div>
  );
}

interface MessageBoxProps {
  readonly ref: RefObject<HTMLTextAreaElement | null>;
  readonly text: string;
  readonly onText: (text: string) => void;
  readonly onSubmit: () => void;
  readonly onKeyDown: (event: KeyboardEvent) => void;
  readonly submit: 'Send' | 'Save';
  /** Takes files that are pasted, instead of their names. */
  readonly onFiles: ((files: readonly File[]) => void) | null;
  readonly before: ReactNode;
}

/** A text box that grows with its text. Enter sends, Shift+Enter breaks the line. */
function MessageBox(props: MessageBoxProps) {
  const { ref, text, onText, onSubmit, onKeyDown, submit, onFiles, before } = props;
  const note = useId();
  const length = text.length < COUNT_FROM ? text.length : countChars(text.trim());
  const tooLong = length > CONTENT_CHARS_MAX;

  useLayoutEffect(() => {
    const box = ref.current;
    if (!box) return;
    box.style.height = 'auto';
    box.style.height = `${box.scrollHeight}px`;
  }, [ref, text]);

  const submitForm = (event: SubmitEvent) => {
    event.preventDefault();
    onSubmit();
  };

  return (
    <form className={styles.box} onSubmit={submitForm}>
      {before}
      <textarea
        ref={ref}
        className={styles.text}
        aria-label="Message"
        aria-describedby={length >= COUNT_FROM ? note : undefined}
        aria-invalid={tooLong}
        placeholder="Write a message"
        rows={1}
        dir="auto"
        value={text}
        onChange={(event) => onText(event.target.value)}
        onPaste={(event) => {
          const files = Array.from(event.clipboardData.files);
          if (!onFiles || files.length === 0) return;
          event.preventDefault();
          onFiles(files);
        }}
        onKeyDown={(event) => {
          // While an input method composes, Enter chooses; it does not send.
          if (event.key === 'Enter' && !event.shiftKey && !event.nativeEvent.isComposing) {
            event.preventDefault();
            onSubmit();
          } else {
            onKeyDown(event);
          }
        }}
      />
      {length >= COUNT_FROM && (
        <span id={note} className={styles.count} data-over={tooLong}>
          {CONTENT_CHARS_MAX - length}
        </span>
      )}
      <IconButton
        icon={submit === 'Send' ? 'send' : 'check'}
        label={submit}
        kind="primary"
        type="submit"
        disabled={text.trim() === '' || tooLong}
      />
    </form>
  );
}
