import { useEffect, useId, useMemo, useRef, useState, type KeyboardEvent } from 'react';

import { rove } from '../a11y/rove';
import type { Person } from '../state/model';
import { Avatar } from './Avatar';
import { useChat, useChatState } from './chat-context';
import { cx } from './cx';
import { Icon } from './Icon';
import styles from './PeoplePicker.module.css';

/** The server is asked when typing has paused for so long. */
const PAUSE_MS = 120;

interface PeoplePickerProps {
  readonly picked: readonly Person[];
  readonly onPicked: (picked: readonly Person[]) => void;
  /** People who are not offered. */
  readonly except?: readonly string[];
}

/**
 * A search box over a list of people. The keyboard stays in the box: arrows move along the list,
 * Enter picks and unpicks.
 */
export function PeoplePicker({ picked, onPicked, except = [] }: PeoplePickerProps) {
  const chat = useChat();
  const id = useId();
  const me = useChatState((state) => state.me.id);
  const people = useChatState((state) => state.people);
  const presence = useChatState((state) => state.presence);
  const [text, setText] = useState('');
  const [found, setFound] = useState<{ text: string; people: readonly Person[] } | null>(null);
  const [failed, setFailed] = useState(false);
  const [at, setAt] = useState(-1);
  const box = useRef<HTMLInputElement>(null);
  const query = text.trim();

  useEffect(() => {
    if (query === '') return;
    const controller = new AbortController();
    const timer = setTimeout(() => {
      chat.findPeople(query, controller.signal).then(
        (answer) => {
          setFound({ text: query, people: answer });
          setFailed(false);
        },
        () => {
          if (!controller.signal.aborted) setFailed(true);
        },
      );
    }, PAUSE_MS);
    return () => {
      clearTimeout(timer);
      controller.abort();
    };
  }, [chat, query]);

  const offered = useMemo(() => {
    const known = Object.values(people)
      .filter((one) => one.id !== me)
      .toSorted((a, b) => a.username.localeCompare(b.username));
    const matches =
      query === ''
        ? [...picked, ...known.filter((one) => !picked.some((other) => other.id === one.id))]
        : // Until the answer is there, what the last one has of it stands in.
          (found?.people ?? []).filter(
            (one) =>
              found?.text === query || one.username.toLowerCase().includes(query.toLowerCase()),
          );
    return matches.filter((one) => !except.includes(one.id));
  }, [people, me, query, picked, found, except]);

  const isPicked = (one: Person) => picked.some((other) => other.id === one.id);
  const toggle = (one: Person) => {
    onPicked(isPicked(one) ? picked.filter((other) => other.id !== one.id) : [...picked, one]);
    // What comes next replaces this search.
    box.current?.select();
  };

  const active = at >= 0 ? offered[at] : undefined;
  const onKeyDown = (event: KeyboardEvent) => {
    if (event.key === 'Enter') {
      // Not the form's yet: first somebody has to be picked.
      const one = active ?? (query === '' ? undefined : offered[0]);
      if (!one) return;
      event.preventDefault();
      toggle(one);
    } else if (event.key === 'Backspace' && text === '' && picked.length > 0) {
      onPicked(picked.slice(0, -1));
    } else if (event.key === 'ArrowDown' || event.key === 'ArrowUp') {
      event.preventDefault();
      setAt(rove(event.key, at, offered.length) ?? -1);
    }
  };

  const status =
    query === ''
      ? ''
      : failed
        ? 'The server cannot be reached.'
        : found?.text === query && offered.length === 0
          ? 'Nobody of this name.'
          : '';

  return (
    <div className={styles.picker}>
      <div className={styles.field}>
        {picked.map((one) => (
          <button
            key={one.id}
            type="button"
            className={styles.chip}
            aria-label={`Without ${one.username}`}
            onClick={() => toggle(one)}
          >
            {one.username}
            <Icon name="close" size={14} />
          </button>
        ))}
        <input
          ref={box}
          type="search"
          className={styles.search}
          aria-label="People"
          aria-controls={`${id}list`}
          aria-activedescendant={active ? `${id}${active.id}` : undefined}
          placeholder={picked.length === 0 ? 'Search by name' : ''}
          autoComplete="off"
          autoCapitalize="none"
          spellCheck={false}
          autoFocus
          data-autofocus
          value={text}
          onChange={(event) => {
            setText(event.target.value);
            setAt(-1);
          }}
          onKeyDown={onKeyDown}
        />
      </div>
      <ul
        id={`${id}list`}
        className={styles.list}
        role="listbox"
        aria-label="Found"
        aria-multiselectable="true"
      >
        {offered.map((one, index) => (
          <li
            key={one.id}
            id={`${id}${one.id}`}
            role="option"
            aria-selected={isPicked(one)}
            className={cx(styles.option, index === at && styles.active)}
            // The keyboard stays in the search box.
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => toggle(one)}
          >
            <Avatar
              id={one.id}
              name={one.username}
              picture={one.avatar}
              size="small"
              online={presence[one.id]?.online}
            />
            <span className={styles.name}>{one.username}</span>
            {isPicked(one) && <Icon name="check" />}
          </li>
        ))}
      </ul>
      <p className={styles.status} aria-live="polite">
        {status}
      </p>
    </div>
  );
}
