import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';

import type { Attachment, Upload } from '../state/model';
import { Refused, Unreachable } from './errors';
import { UPLOADS_MAX, UPLOADS_RUNNING_MAX, UPLOAD_STALL_MS } from './limits';
import { settle } from './testing';
import { Uploads } from './uploads';

/** One call to bring a file to the server, for the test to answer. */
interface Call {
  readonly name: string;
  readonly progress: (share: number) => void;
  readonly signal: AbortSignal;
  readonly done: () => void;
  readonly fail: (error: Error) => void;
}

let calls: Call[];
let shown: readonly Upload[];
let sent: string[];
let online: boolean;
let uploads: Uploads;

beforeEach(() => {
  [calls, shown, sent, online] = [[], [], [], true];
  uploads = new Uploads({
    upload: ({ name }, progress, signal) =>
      new Promise<Attachment>((resolve, fail) => {
        const done = () => resolve({ fileId: name, name, size: 1, contentType: 'text/plain' });
        signal.addEventListener('abort', () => fail(new Unreachable()));
        calls.push({ name, progress, signal, done, fail });
      }),
    isOnline: () => online,
    changed: (all) => (shown = all),
    arrived: (conversation, { name }) => sent.push(`${conversation}/${name}`),
  });
});

afterEach(() => {
  uploads.close();
  vi.useRealTimers();
});

const named = (...names: string[]) => names.map((name) => new File(['1'], name));
const states = () => shown.map(({ file, state }) => `${file.name} ${state}`);
const call = (at: number) => {
  const found = calls[at];
  if (!found) throw new Error(`no call ${at}`);
  return found;
};

describe('uploads', () => {
  it('run a few at a time, show how far they are, and become messages', async () => {
    uploads.add('c', named('1', '2', '3', '4'));
    expect(calls).toHaveLength(UPLOADS_RUNNING_MAX);
    expect(states()).toEqual(['1 running', '2 running', '3 running', '4 waiting']);
    call(1).progress(0.4);
    expect(shown[1]?.share).toBe(0.4);
    call(1).done();
    await settle();
    expect(sent).toEqual(['c/2']);
    expect(states()).toEqual(['1 running', '3 running', '4 running']);
  });

  it('that are too many are left out', () => {
    const names = Array.from({ length: UPLOADS_MAX + 2 }, (_, at) => String(at));
    expect(uploads.add('c', named(...names))).toBe(2);
    expect(shown).toHaveLength(UPLOADS_MAX);
    expect(uploads.add('c', named('more'))).toBe(1);
  });

  it('wait for the connection', () => {
    online = false;
    uploads.add('c', named('1'));
    expect(states()).toEqual(['1 waiting']);
    expect(calls).toHaveLength(0);
    online = true;
    uploads.resume();
    expect(states()).toEqual(['1 running']);
  });

  it('go on when the connection is back, whether it was known to be away or not', async () => {
    uploads.add('c', named('1', '2'));
    call(0).fail(new Unreachable());
    await settle();
    expect(states()).toEqual(['1 failed', '2 running']);
    expect(shown[0]?.reason).toBe('The server cannot be reached. Please try again.');
    online = false;
    call(1).fail(new Unreachable());
    await settle();
    expect(states()).toEqual(['1 failed', '2 waiting']);
    online = true;
    uploads.resume();
    expect(states()).toEqual(['1 running', '2 running']);
    expect(calls).toHaveLength(4);
  });

  it('that were refused wait for a decision', async () => {
    uploads.add('c', named('1'));
    call(0).fail(new Refused({ code: 'too_large', message: 'too many bytes' }));
    await settle();
    uploads.resume();
    expect(states()).toEqual(['1 failed']);
    expect(shown[0]?.reason).toBe('Too many bytes');
    const key = shown[0]?.key ?? NaN;
    uploads.retry(key);
    expect(states()).toEqual(['1 running']);
    call(1).fail(new Refused({ code: 'too_large', message: 'too many bytes' }));
    await settle();
    uploads.stop(key);
    expect(shown).toEqual([]);
  });

  it('that are stopped send nothing, and make room', async () => {
    uploads.add('c', named('1', '2', '3', '4'));
    uploads.stop(shown[0]?.key ?? NaN);
    expect(call(0).signal.aborted).toBe(true);
    await settle();
    expect(states()).toEqual(['2 running', '3 running', '4 running']);
    expect(sent).toEqual([]);
  });

  it('of which nothing moves are broken off', async () => {
    vi.useFakeTimers();
    uploads.add('c', named('1'));
    await vi.advanceTimersByTimeAsync(UPLOAD_STALL_MS - 1);
    call(0).progress(0.1);
    await vi.advanceTimersByTimeAsync(UPLOAD_STALL_MS - 1);
    expect(states()).toEqual(['1 running']);
    await vi.advanceTimersByTimeAsync(1);
    expect(states()).toEqual(['1 failed']);
    uploads.resume();
    expect(states()).toEqual(['1 running']);
  });

  it('under way make the browser ask before the page goes', () => {
    const leaves = () => window.dispatchEvent(new Event('beforeunload', { cancelable: true }));
    expect(leaves()).toBe(true);
    uploads.add('c', named('1'));
    expect(leaves()).toBe(false);
    uploads.stop(shown[0]?.key ?? NaN);
    expect(leaves()).toBe(true);
  });
});
