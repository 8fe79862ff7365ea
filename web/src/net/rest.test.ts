import axios, { AxiosError, type AxiosAdapter, type InternalAxiosRequestConfig } from 'axios';
import { beforeEach, describe, expect, it, vi } from 'vitest';

import { Refused, Unreachable } from './errors';
import { Rest } from './rest';

type Answer = { status: number; data?: unknown; headers?: Record<string, string> };

/** Answers in order, and what was asked. */
function restOf(...answers: (Answer | 'no network')[]) {
  const asked: InternalAxiosRequestConfig[] = [];
  const adapter: AxiosAdapter = (config) => {
    asked.push(config);
    const answer = answers.shift() ?? 'no network';
    if (answer === 'no network') return Promise.reject(new AxiosError('Network Error'));
    const response = {
      data: answer.data,
      status: answer.status,
      statusText: '',
      headers: answer.headers ?? {},
      config,
    };
    return answer.status < 400
      ? Promise.resolve(response)
      : Promise.reject(new AxiosError('', '', config, null, response));
  };
  const rest = new Rest(axios.create({ baseURL: '/api', adapter }));
  return { rest, asked, bearers: () => asked.map(({ headers }) => headers.get('Authorization')) };
}

const tokens = {
  token: vi.fn(() => Promise.resolve('old')),
  renew: vi.fn<(refused: string) => Promise<string>>(() => Promise.resolve('new')),
};
const error = (code: string) => ({ error: { code, message: 'why' } });

beforeEach(() => tokens.renew.mockClear());

describe('REST', () => {
  it('carries the token, and renews it once where it had ended', async () => {
    const { rest, bearers } = restOf(
      { status: 401, data: error('token_expired') },
      { status: 200, data: { user: { id: 'u' } } },
    );
    rest.useTokens(tokens);
    expect(await rest.user('u')).toEqual({ id: 'u' });
    expect(bearers()).toEqual(['Bearer old', 'Bearer new']);
    expect(tokens.renew).toHaveBeenCalledExactlyOnceWith('old');
  });

  it('does not try a third time', async () => {
    const refused = { status: 401, data: error('unauthorized') };
    const { rest, asked } = restOf(refused, refused, refused);
    rest.useTokens(tokens);
    await expect(rest.user('u')).rejects.toBeInstanceOf(Refused);
    expect(asked).toHaveLength(2);
  });

  it('gives the refusal with its fields', async () => {
    const body = {
      error: { code: 'conflict', message: 'taken', fields: { username: 'is taken' } },
    };
    const { rest } = restOf({ status: 409, data: body });
    const form = { username: 'a', email: 'b', password: 'c' };
    await expect(rest.register(form)).rejects.toMatchObject({
      code: 'conflict',
      fields: { username: 'is taken' },
    });
  });

  it.each([['no network' as const], [{ status: 502, data: '<html>' }], [{ status: 504 }]])(
    'says that nobody was there for %o',
    async (answer) => {
      const { rest } = restOf(answer);
      await expect(rest.logout('r')).rejects.toBeInstanceOf(Unreachable);
    },
  );

  it('reads the list to its end', async () => {
    const page = (ids: string[], next: string | null) => ({
      status: 200,
      data: { conversations: ids.map((id) => ({ id })), next },
    });
    const { rest, asked } = restOf(page(['a', 'b'], 'x'), page(['c'], null));
    rest.useTokens(tokens);
    expect((await rest.conversations()).map(({ id }) => id)).toEqual(['a', 'b', 'c']);
    expect(asked.map(({ params }) => params as unknown)).toEqual([{}, { cursor: 'x' }]);
  });

  it('tells the server’s time with new tokens', async () => {
    const date = 'Sat, 31 Jan 2026 12:00:00 GMT';
    const { rest } = restOf(
      { status: 200, data: {}, headers: { date } },
      { status: 200, data: {} },
    );
    const form = { login: 'a', password: 'b' };
    expect((await rest.login(form)).serverNow).toBe(Date.UTC(2026, 0, 31, 12));
    expect((await rest.login(form)).serverNow).toBeNull();
  });

  it('finds out whether files are offered', async () => {
    const { rest } = restOf(
      { status: 200, data: { paths: { '/api/files': {} } } },
      { status: 200, data: { paths: {} } },
    );
    expect([await rest.offersFiles(), await rest.offersFiles()]).toEqual([true, false]);
  });
});
