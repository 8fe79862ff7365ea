import type { ButtonHTMLAttributes, ReactNode, Ref } from 'react';

import styles from './Button.module.css';
import { cx } from './cx';
import { Icon, type IconName } from './Icon';

interface ButtonProps extends Omit<ButtonHTMLAttributes<HTMLButtonElement>, 'className'> {
  readonly kind?: 'primary' | 'plain' | 'danger';
  readonly wide?: boolean;
  /** At work: it stays where it is, but cannot be pressed again. */
  readonly busy?: boolean;
  /** Whether it has the focus when its dialog opens. */
  readonly 'data-autofocus'?: boolean;
  readonly children: ReactNode;
}

export function Button({ kind = 'plain', wide, busy, children, type, ...rest }: ButtonProps) {
  return (
    <button
      {...rest}
      type={type ?? 'button'}
      className={cx(styles.button, styles[kind], wide && styles.wide, busy && styles.busy)}
      aria-disabled={busy === true ? true : undefined}
    >
      {children}
    </button>
  );
}

interface IconButtonProps extends Omit<
  ButtonHTMLAttributes<HTMLButtonElement>,
  'className' | 'aria-label'
> {
  readonly icon: IconName;
  /** Its name; shown as a tip too. */
  readonly label: string;
  readonly size?: 'small' | 'medium';
  readonly kind?: 'plain' | 'primary' | 'danger';
  readonly ref?: Ref<HTMLButtonElement>;
}

export function IconButton({
  icon,
  label,
  size = 'medium',
  kind = 'plain',
  ...rest
}: IconButtonProps) {
  return (
    <button
      type="button"
      {...rest}
      className={cx(styles.icon, styles[`icon-${size}`], styles[`icon-${kind}`])}
      aria-label={label}
      title={label}
    >
      <Icon name={icon} size={size === 'small' ? 17 : 20} />
    </button>
  );
}
