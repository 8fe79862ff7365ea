import { useId, useRef, useState, type SubmitEvent } from 'react';

import type { LogIn, SignUp } from '../app/runtime';
import { Refused, explain, sentence } from '../net/errors';
import { Button } from './Button';
import { Mark } from './Mark';
import styles from './Welcome.module.css';
import { cx } from './cx';

interface WelcomeProps {
  readonly notice: string | null;
  readonly signUp: (form: SignUp) => Promise<void>;
  readonly logIn: (form: LogIn) => Promise<void>;
}

type Fields = 'username' | 'email' | 'password';
type Problems = Partial<Record<Fields | 'form', string>>;

/** bcrypt reads no more than this, so the server refuses longer passwords rather than cut them. */
const PASSWORD_BYTES = { min: 8, max: 72 };

/** What can be said before asking the server. */
function check({ username, email, password }: SignUp): Problems {
  const problems: Problems = {};
  if (!/^[A-Za-z0-9_.-]{3,32}$/u.test(username)) {
    problems.username = '3 to 32 letters, digits, dots, dashes or underscores';
  }
  if (!/^[^\s@]+@[^\s@]+$/u.test(email)) problems.email = 'An address like name@example.org';
  const bytes = new TextEncoder().encode(password).length;
  if (bytes < PASSWORD_BYTES.min) problems.password = 'At least 8 characters';
  if (bytes > PASSWORD_BYTES.max) problems.password = 'At most 72 bytes';
  return problems;
}

function problemsOf(error: unknown): Problems {
  if (!(error instanceof Refused)) return { form: explain(error) };
  const problems: Problems = {};
  for (const [field, why] of Object.entries(error.fields)) {
    if (field === 'username' || field === 'email' || field === 'password') {
      problems[field] = sentence(why);
    }
  }
  return Object.keys(problems).length > 0 ? problems : { form: explain(error) };
}

function logInProblem(error: unknown): Problems {
  const wrong = error instanceof Refused && ['unauthorized', 'invalid'].includes(error.code);
  return { form: wrong ? 'Wrong name or password' : explain(error) };
}

export function Welcome({ notice, signUp, logIn }: WelcomeProps) {
  const [form, setForm] = useState<'log in' | 'sign up'>('log in');
  const [problems, setProblems] = useState<Problems>({});
  const [busy, setBusy] = useState(false);
  const element = useRef<HTMLFormElement>(null);
  const isSignUp = form === 'sign up';

  const showProblems = (found: Problems) => {
    setProblems(found);
    const first = (['username', 'email', 'password'] as const).find((field) => found[field]);
    element.current?.querySelector<HTMLInputElement>(`[name=${first ?? 'password'}]`)?.focus();
  };

  const submit = async (event: SubmitEvent<HTMLFormElement>) => {
    event.preventDefault();
    if (busy) return;
    const data = new FormData(event.currentTarget);
    const text = (field: Fields) => {
      const value = data.get(field);
      return typeof value === 'string' ? value : '';
    };
    const filled = {
      username: text('username').trim(),
      email: text('email').trim(),
      password: text('password'),
    };
    const found = isSignUp ? check(filled) : {};
    if (Object.keys(found).length > 0) {
      showProblems(found);
      return;
    }
    setProblems({});
    setBusy(true);
    try {
      if (isSignUp) await signUp(filled);
      else await logIn({ login: filled.username, password: filled.password });
    } catch (error) {
      setBusy(false);
      showProblems(isSignUp ? problemsOf(error) : logInProblem(error));
    }
  };

  const change = () => {
    setForm(isSignUp ? 'log in' : 'sign up');
    setProblems({});
    element.current?.querySelector<HTMLInputElement>('[name=username]')?.focus();
  };

  return (
    <main className={styles.page}>
      <div className={styles.card}>
        <header className={styles.header}>
          <Mark size={44} />
          <h1>{isSignUp ? 'Join the conversation' : 'Welcome to SyncChat'}</h1>
          <p>
            {isSignUp
              ? 'Pick a name, and you are in.'
              : 'Talk to the people on this server. Nothing gets lost on the way.'}
          </p>
        </header>
        {notice && (
          <p className={styles.notice} role="alert">
            {notice}
          </p>
        )}
        <form
          ref={element}
          className={styles.form}
          onSubmit={(event) => void submit(event)}
          noValidate
        >
          <Field
            name="username"
            label="Username"
            problem={problems.username}
            autoComplete="username"
            hint={isSignUp ? undefined : 'Or your e-mail address'}
            autoFocus
          />
          {isSignUp && (
            <Field
              name="email"
              label="Email"
              type="email"
              problem={problems.email}
              autoComplete="email"
            />
          )}
          <Field
            name="password"
            label="Password"
            type="password"
            problem={problems.password}
            hint={isSignUp ? 'At least 8 characters' : undefined}
            autoComplete={isSignUp ? 'new-password' : 'current-password'}
          />
          <p className={styles.problem} role="alert">
            {problems.form}
          </p>
          <Button type="submit" kind="primary" wide busy={busy}>
            {isSignUp ? 'Sign up' : 'Log in'}
          </Button>
        </form>
        <p className={styles.change}>
          <span>{isSignUp ? 'Been here before?' : 'New here?'}</span>{' '}
          <button type="button" className={styles.link} onClick={change}>
            {isSignUp ? 'I have an account' : 'Create an account'}
          </button>
        </p>
      </div>
    </main>
  );
}

interface FieldProps {
  readonly name: Fields;
  readonly label: string;
  readonly type?: 'text' | 'email' | 'password';
  readonly problem: string | undefined;
  readonly hint?: string | undefined;
  readonly autoComplete: string;
  readonly autoFocus?: boolean;
}

function Field({ name, label, type = 'text', problem, hint, autoComplete, autoFocus }: FieldProps) {
  const id = useId();
  const note = problem ?? hint;
  return (
    <div className={styles.field}>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        name={name}
        type={type}
        className={styles.input}
        autoComplete={autoComplete}
        autoCapitalize="none"
        spellCheck={false}
        autoFocus={autoFocus}
        required
        aria-invalid={problem !== undefined}
        aria-describedby={note ? `${id}-note` : undefined}
      />
      {note && (
        <span id={`${id}-note`} className={cx(styles.note, problem && styles.wrong)}>
          {note}
        </span>
      )}
    </div>
  );
}
