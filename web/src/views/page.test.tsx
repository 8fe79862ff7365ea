import { cleanup, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Chat } from '../net/client';
import { Refused } from '../net/errors';
import { createChatStore, type ChatStore } from '../state/store';
import * as store from '../state/store';
import { ME, conversation, message, pending } from '../state/testing';
import { ChatPage } from './ChatPage';
import { MessageText } from './MessageRow';
import { Welcome } from './Welcome';

/** What a browser has and jsdom has not. */
beforeAll(() => {
  vi.stubGlobal(
    'ResizeObserver',
    class {
      observe() {}
      unobserve() {}
      disconnect() {}
    },
  );
  vi.stubGlobal('matchMedia', () => ({ matches: true }));
  vi.stubGlobal('CSS', { escape: (text: string) => text, supports: () => false });
  Element.prototype.scrollTo = () => undefined;
});

// The dialogs come when one is opened; on a busy machine, compiling them takes longer than a test waits.
beforeAll(async () => {
  await import('./dialogs');
}, 60_000);

afterEach(() => {
  cleanup();
  window.location.hash = '';
  localStorage.clear();
});

describe('markup in a message', () => {
  it.each([
    '<img src=x onerror="window.hit=1">',
    '<script>window.hit=1</script>',
    '<a href="javascript:window.hit=1">click</a>',
    '"><svg/onload=window.hit=1>',
    '{{constructor.constructor("window.hit=1")()}}',
    '&lt;b&gt;',
  ])('is text: %s', (text) => {
    const { container } = render(<MessageText text={text} />);
    expect(container.textContent).toBe(text);
    expect(container.querySelectorAll('p > *')).toHaveLength(0);
    expect('hit' in window).toBe(false);
  });

  it('stands beside a link that leads away safely', () => {
    render(<MessageText text="<b>see</b> https://example.org/." />);
    const link = screen.getByRole('link', { name: 'https://example.org/' });
    expect(link.getAttribute('href')).toBe('https://example.org/');
    expect(link.getAttribute('rel')).toContain('noopener');
    expect(link.getAttribute('target')).toBe('_blank');
  });
});

describe('signed out', () => {
  const signUp = vi.fn(() => Promise.resolve());
  const logIn = vi.fn(() => Promise.resolve());
  const user = userEvent.setup();

  beforeEach(() => {
    signUp.mockClear();
    logIn.mockClear();
    render(<Welcome notice={null} signUp={signUp} logIn={logIn} />);
  });

  const fill = async (name: string, text: string) =>
    user.type(screen.getByLabelText(name, { exact: true }), text);

  it('logs in', async () => {
    await fill('Username', 'ann');
    await fill('Password', 'correct horse');
    await user.click(screen.getByRole('button', { name: 'Log in' }));
    expect(logIn).toHaveBeenCalledExactlyOnceWith({ login: 'ann', password: 'correct horse' });
    expect(screen.queryByRole('textbox', { name: 'Email' })).toBeNull();
  });

  it('says nothing of which half was wrong', async () => {
    logIn.mockRejectedValueOnce(new Refused({ code: 'unauthorized', message: 'x' }));
    await fill('Username', 'ann');
    await fill('Password', 'wrong');
    await user.click(screen.getByRole('button', { name: 'Log in' }));
    expect(await screen.findByText('Wrong name or password')).toBeTruthy();
  });

  it('changes to signing up and back', async () => {
    await user.click(screen.getByRole('button', { name: 'Create an account' }));
    expect(screen.getByRole('textbox', { name: 'Email' })).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'I have an account' }));
    expect(screen.getByRole('button', { name: 'Log in' })).toBeTruthy();
  });

  it('signs up, and says beside the field what is wrong with it', async () => {
    await user.click(screen.getByRole('button', { name: 'Create an account' }));
    await fill('Username', 'a');
    await fill('Email', 'ann@example.org');
    await fill('Password', 'correct horse');
    await user.click(screen.getByRole('button', { name: 'Sign up' }));
    expect(signUp).not.toHaveBeenCalled();
    const name = screen.getByLabelText('Username');
    expect([name.getAttribute('aria-invalid'), document.activeElement]).toEqual(['true', name]);

    await fill('Username', 'nn');
    const taken = { code: 'conflict' as const, message: 'taken', fields: { username: 'is taken' } };
    signUp.mockRejectedValueOnce(new Refused(taken));
    await user.click(screen.getByRole('button', { name: 'Sign up' }));
    expect(await screen.findByText('Is taken')).toBeTruthy();
    await user.click(screen.getByRole('button', { name: 'Sign up' }));
    expect(signUp).toHaveBeenLastCalledWith({
      username: 'ann',
      email: 'ann@example.org',
      password: 'correct horse',
    });
  });
});

describe('signed in', () => {
  let chat: ChatStore;
  const asked = {
    open: vi.fn(() => Promise.resolve()),
    send: vi.fn(),
    retry: vi.fn(),
    discard: vi.fn(),
    typing: vi.fn(),
    read: vi.fn(),
    loadOlder: vi.fn(() => Promise.resolve()),
    onIncoming: () => () => undefined,
  };
  const user = userEvent.setup();

  beforeEach(() => {
    for (const one of Object.values(asked)) if (vi.isMockFunction(one)) one.mockClear();
    chat = createChatStore(ME);
    chat.setState({ loaded: true, connection: 'online' });
    chat.setState(
      store.peopleKnown([
        { id: 'you', username: 'ann', avatar: null },
        { id: 'third', username: 'ben', avatar: null },
      ]),
    );
    chat.setState(store.conversationsKnown([conversation()]));
    chat.setState(store.messageArrived(message(1, { content: 'hello there' })));
    chat.setState(store.presenceChanged([{ userId: 'you', online: true, lastSeen: null }]));
  });

  const show = (open = true) => {
    if (open) window.location.hash = '#/c/c';
    const signedIn = { store: chat, ...asked } as unknown as Chat;
    return render(<ChatPage chat={signedIn} logOut={() => Promise.resolve()} />);
  };

  it('lists conversations with what one wants to know of each', () => {
    show(false);
    const list = screen.getByRole('navigation', { name: 'Conversations' });
    const link = within(list).getByRole('link');
    expect(link.textContent).toMatch(/ann online .*hello there1 unread/u);
    expect(screen.getByRole('button', { name: 'New conversation' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Log out' })).toBeTruthy();
    expect(document.title).toBe('(1) SyncChat');
  });

  it('has the parts of a conversation under their names', () => {
    show();
    expect(screen.getByRole('log', { name: 'Messages' })).toBeTruthy();
    expect(screen.getByRole('textbox', { name: 'Message' })).toBeTruthy();
    expect(screen.getByRole('button', { name: 'Send' })).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Attach a file' })).toBeNull();
    expect(screen.queryByRole('status')).toBeNull();
  });

  it('offers files where the server does', () => {
    chat.setState({ features: { files: true } });
    show();
    expect(screen.getByRole('button', { name: 'Attach a file' })).toBeTruthy();
  });

  it('sends with Enter, breaks the line with Shift and Enter, and keeps the draft', async () => {
    show();
    const box = screen.getByRole('textbox', { name: 'Message' });
    await user.type(box, 'one{Shift>}{Enter}{/Shift}two');
    expect(asked.send).not.toHaveBeenCalled();
    expect(asked.typing).toHaveBeenLastCalledWith('c', true);
    cleanup();
    show();
    const again = screen.getByRole<HTMLTextAreaElement>('textbox', { name: 'Message' });
    expect(again.value).toBe('one\ntwo');
    await user.type(again, '{Enter}');
    expect(asked.send).toHaveBeenCalledExactlyOnceWith('c', { content: 'one\ntwo', replyTo: null });
    expect(again.value).toBe('');
  });

  it('says who is typing', () => {
    chat.setState(store.typingChanged('c', 'you', Date.now() + 5_000));
    show();
    expect(screen.getByRole('status').textContent).toBe('ann is typing');
  });

  it('says that the connection is away, and no word of a blink', async () => {
    vi.useFakeTimers();
    chat.setState({ connection: 'away' });
    show();
    expect(screen.queryByRole('status')).toBeNull();
    await vi.advanceTimersByTimeAsync(1_000);
    vi.useRealTimers();
    expect((await screen.findByRole('status')).textContent).toContain('Reconnecting…');
  });

  it('asks before it throws away what is not sent', async () => {
    chat.setState(store.pendingKnown([pending('a')]));
    show();
    await user.click(screen.getByRole('button', { name: 'Log out' }));
    expect(await screen.findByRole('alertdialog')).toBeTruthy();
    expect(await screen.findByText(/One message or file is not sent yet/u)).toBeTruthy();
  });
});
