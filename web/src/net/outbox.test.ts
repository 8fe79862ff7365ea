import { beforeEach, describe, expect, it, vi } from 'vitest';

import type { Message, Pending } from '../state/model';
import { message, pending } from '../state/testing';
import { openDatabase, type Database } from './database';
import { Refused, Unreachable } from './errors';
import { SEND_TRIES_MAX } from './limits';
import { Outbox } from './outbox';
import { Browser, settle } from './testing';

/** A server that makes one message of one `clientMsgId`, however often it comes. */
class Server {
  readonly stored: string[] = [];
  attempts = 0;
  /** What becomes of the next attempts: stored but unanswered, or refused. */
  readonly faults: ('lost answer' | Error)[] = [];

  async send({ clientMsgId, conversationId }: Pending): Promise<Message> {
    this.attempts += 1;
    await Promise.resolve();
    const fault = this.faults.shift();
    if (fault instanceof Error) throw fault;
    if (!this.stored.includes(clientMsgId)) this.stored.push(clientMsgId);
    if (fault === 'lost answer') throw new Unreachable();
    const seq = this.stored.indexOf(clientMsgId) + 1;
    return message(seq, { sender: 'me', clientMsgId, conversationId });
  }
}

let server: Server;
let browser: Browser;
let database: Database;
const wait = vi.fn<(ms: number) => Promise<void>>(() => Promise.resolve());

function open(userId = 'me') {
  const tab = { online: true, shown: [] as readonly Pending[], committed: [] as string[] };
  const outbox = new Outbox(
    database,
    browser.tab(),
    userId,
    {
      send: (one) => (tab.online ? server.send(one) : Promise.reject(new Unreachable())),
      isOnline: () => tab.online,
      isGone: (id) => id === 'gone',
      changed: (shown) => (tab.shown = shown),
      committed: (one) => tab.committed.push(one.clientMsgId ?? ''),
    },
    wait,
  );
  return { tab, outbox };
}

const ids = (shown: readonly Pending[]) => shown.map((one) => one.clientMsgId);
const states = (shown: readonly Pending[]) => shown.map((one) => one.state);

beforeEach(async () => {
  server = new Server();
  browser = new Browser();
  database = await openDatabase();
  await database.clear('outbox');
  wait.mockClear();
});

describe('an outbox', () => {
  it('sends what is written, in the order of writing', async () => {
    const { tab, outbox } = open();
    for (const id of ['a', 'b', 'c']) await outbox.add(pending(id));
    await settle();
    expect(server.stored).toEqual(['a', 'b', 'c']);
    expect(tab.committed).toEqual(['a', 'b', 'c']);
    expect(tab.shown).toEqual([]);
    expect(await database.all('outbox')).toEqual([]);
  });

  it('keeps it while the connection is away, across a reload, and sends it once after', async () => {
    const before = open();
    before.tab.online = false;
    await before.outbox.add(pending('a'));
    await before.outbox.add(pending('b'));
    await settle();
    expect(states(before.tab.shown)).toEqual(['waiting', 'waiting']);
    before.outbox.close();

    const after = open();
    await after.outbox.load();
    expect(ids(after.tab.shown)).toEqual(['a', 'b']);
    after.outbox.drainAll();
    await settle();
    expect(server.stored).toEqual(['a', 'b']);
    expect(after.tab.shown).toEqual([]);
  });

  it('sends again what was not answered, and it stays one message', async () => {
    server.faults.push('lost answer', 'lost answer');
    const { tab, outbox } = open();
    await outbox.add(pending('a'));
    await outbox.add(pending('b'));
    await settle();
    expect(server.attempts).toBe(4);
    expect(server.stored).toEqual(['a', 'b']);
    expect(tab.shown).toEqual([]);
  });

  it('waits as long as the server asks', async () => {
    server.faults.push(new Refused({ code: 'rate_limited', message: '', retryAfterMs: 1_234 }));
    const { outbox } = open();
    await outbox.add(pending('a'));
    await settle();
    expect(wait).toHaveBeenCalledExactlyOnceWith(1_234);
    expect(server.stored).toEqual(['a']);
  });

  it('stops when the connection goes away, and goes on with the next', async () => {
    const { tab, outbox } = open();
    server.faults.push(new Unreachable());
    wait.mockImplementationOnce(() => {
      tab.online = false;
      return Promise.resolve();
    });
    await outbox.add(pending('a'));
    await settle();
    expect(states(tab.shown)).toEqual(['waiting']);
    tab.online = true;
    outbox.drainAll();
    await settle();
    expect(server.stored).toEqual(['a']);
  });

  it('shows what is refused for good, and lets the rest pass', async () => {
    server.faults.push(new Refused({ code: 'not_found', message: 'no such conversation' }));
    const { tab, outbox } = open();
    await outbox.add(pending('a'));
    await outbox.add(pending('b'));
    await settle();
    expect(server.stored).toEqual(['b']);
    expect(ids(tab.shown)).toEqual(['a']);
    expect(tab.shown[0]).toMatchObject({ state: 'failed', reason: expect.any(String) as string });

    await outbox.retry('a');
    await settle();
    expect(server.stored).toEqual(['b', 'a']);
    expect(tab.shown).toEqual([]);
  });

  it('does not wait longer than a moment', async () => {
    server.faults.push(new Refused({ code: 'rate_limited', message: '', retryAfterMs: 60_000 }));
    const { tab, outbox } = open();
    await outbox.add(pending('a'));
    await settle();
    expect(wait).not.toHaveBeenCalled();
    expect(states(tab.shown)).toEqual(['failed']);
  });

  it('drops what can never arrive, because the conversation is gone', async () => {
    server.faults.push(new Refused({ code: 'not_found', message: '' }));
    const { tab, outbox } = open();
    await outbox.add(pending('a', { conversationId: 'gone' }));
    await settle();
    expect([tab.shown, await database.all('outbox')]).toEqual([[], []]);
  });

  it('gives up on a server that cannot, after a bounded number of tries', async () => {
    const refusal = new Refused({ code: 'unavailable', message: '' });
    server.faults.push(...Array.from({ length: 50 }, () => refusal));
    const { tab, outbox } = open();
    await outbox.add(pending('a'));
    await settle();
    expect(server.attempts).toBe(SEND_TRIES_MAX);
    expect(states(tab.shown)).toEqual(['failed']);
  });

  it('remembers across a reload what was refused, and can throw it away', async () => {
    server.faults.push(new Refused({ code: 'forbidden', message: '' }));
    const before = open();
    await before.outbox.add(pending('a'));
    await settle();
    const { tab, outbox } = open();
    await outbox.load();
    outbox.drainAll();
    await settle();
    expect([states(tab.shown), server.stored]).toEqual([['failed'], []]);
    await outbox.remove('a');
    expect([tab.shown, await database.all('outbox')]).toEqual([[], []]);
  });

  it('does not let one conversation wait for another', async () => {
    const { outbox } = open();
    server.faults.push(new Unreachable());
    let go = () => {};
    wait.mockImplementationOnce(() => new Promise<void>((resolve) => (go = resolve)));
    await outbox.add(pending('a', { conversationId: 'slow' }));
    await settle();
    await outbox.add(pending('b', { conversationId: 'fast' }));
    await settle();
    expect(server.stored).toEqual(['b']);
    go();
    await settle();
    expect(server.stored).toEqual(['b', 'a']);
  });

  it('shows and sends only what this person wrote', async () => {
    const mine = open('me');
    mine.tab.online = false;
    await mine.outbox.add(pending('a'));
    const other = open('other');
    await other.outbox.load();
    other.outbox.drainAll();
    await settle();
    expect([other.tab.shown, server.stored]).toEqual([[], []]);
  });
});

describe('several tabs', () => {
  it('show one another what waits, and send it once and in order', async () => {
    const [one, two] = [open(), open()];
    one.tab.online = two.tab.online = false;
    await one.outbox.add(pending('a', { writtenAt: 1 }));
    await two.outbox.add(pending('b', { writtenAt: 2 }));
    await one.outbox.add(pending('c', { writtenAt: 3 }));
    await settle();
    expect(ids(one.tab.shown)).toEqual(['a', 'b', 'c']);
    expect(ids(two.tab.shown)).toEqual(['a', 'b', 'c']);

    one.tab.online = two.tab.online = true;
    one.outbox.drainAll();
    two.outbox.drainAll();
    await settle();
    expect(server.stored).toEqual(['a', 'b', 'c']);
    expect(server.attempts).toBe(3);
    expect([one.tab.shown, two.tab.shown]).toEqual([[], []]);
  });
});
