import { useState } from 'react';

import styles from './Avatar.module.css';
import { cx } from './cx';
import { Icon } from './Icon';

const TONES = 8;

/** The same tone for the same id, everywhere and always. */
export function toneOf(id: string): number {
  let hash = 0;
  for (const character of id) hash = (hash * 31 + (character.codePointAt(0) ?? 0)) >>> 0;
  return hash % TONES;
}

/** One or two letters: of the first two words, or the first two of one. */
export function initialsOf(name: string): string {
  const words = name.split(/[\s._-]+/u).filter((word) => word !== '');
  const letters =
    words.length > 1
      ? words.slice(0, 2).map((word) => Array.from(word)[0])
      : Array.from(words[0] ?? '?').slice(0, 2);
  return letters.join('').toUpperCase();
}

interface AvatarProps {
  /** What the colour is made from. */
  readonly id: string;
  readonly name: string;
  readonly picture?: string | null | undefined;
  readonly size?: 'small' | 'medium' | 'large';
  readonly online?: boolean | undefined;
  readonly group?: boolean;
}

/** A face, or what stands for one. The name is said beside it, so this is for eyes only. */
export function Avatar({ id, name, picture, size = 'medium', online, group }: AvatarProps) {
  const [broken, setBroken] = useState(false);
  return (
    <span
      className={cx(styles.avatar, styles[size], styles[`tone${toneOf(id)}`])}
      aria-hidden="true"
    >
      {picture && !broken ? (
        <img src={picture} alt="" referrerPolicy="no-referrer" onError={() => setBroken(true)} />
      ) : group ? (
        <Icon name="people" size={size === 'small' ? 16 : 22} />
      ) : (
        initialsOf(name)
      )}
      {online === true && <span className={styles.online} />}
    </span>
  );
}
