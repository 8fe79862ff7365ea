/** REST, through axios: the token on each request, one renewal where it had ended, typed answers. */

import axios, { type AxiosInstance, type AxiosRequestConfig, isAxiosError } from 'axios';

import type * as wire from './contract';
import { Refused, Unreachable } from './errors';
import { LIST_PAGES_MAX, PAGE, REST_TIMEOUT_MS } from './limits';

/** Where the token comes from. */
export interface Tokens {
  token: () => Promise<string>;
  renew: (refused: string) => Promise<string>;
}

/** The server's time of an answer, to the second; its clock and ours may differ. */
function serverTime(headers: unknown): number | null {
  const date = (headers as { date?: unknown }).date;
  const at = typeof date === 'string' ? Date.parse(date) : NaN;
  return Number.isNaN(at) ? null : at;
}

function refusal(error: unknown): Error {
  if (isAxiosError<wire.ErrorAnswer | undefined>(error) && error.response) {
    const body = error.response.data?.error;
    if (body) return new Refused(body);
    return error.response.status >= 500
      ? new Unreachable()
      : new Refused({ code: 'invalid', message: `the server answered ${error.response.status}` });
  }
  return new Unreachable();
}

export class Rest {
  readonly #http: AxiosInstance;
  #tokens: Tokens | null = null;

  constructor(http: AxiosInstance = axios.create({ baseURL: '/api', timeout: REST_TIMEOUT_MS })) {
    this.#http = http;
  }

  useTokens(tokens: Tokens): void {
    this.#tokens = tokens;
  }

  // === without a token ===

  async register(body: wire.Register) {
    return this.#signIn('/auth/register', body);
  }

  async login(body: wire.Login) {
    return this.#signIn('/auth/login', body);
  }

  async #signIn(url: string, data: object) {
    const { data: answer, headers } = await this.#plain<wire.SessionAnswer>({
      method: 'POST',
      url,
      data,
    });
    return { answer, serverNow: serverTime(headers) };
  }

  async logout(refreshToken: string): Promise<void> {
    await this.#plain({ method: 'POST', url: '/auth/logout', data: { refreshToken } });
  }

  /** Whether this server takes files. */
  async offersFiles(): Promise<boolean> {
    const { data } = await this.#plain<{ paths?: Record<string, unknown> }>({
      url: '/openapi.json',
    });
    return '/api/files' in (data.paths ?? {});
  }

  // === with one ===

  async conversations(): Promise<wire.Conversation[]> {
    const all: wire.Conversation[] = [];
    let cursor: string | null = null;
    for (let page = 0; page < LIST_PAGES_MAX; page += 1) {
      const { conversations, next }: wire.ConversationsAnswer = await this.#ask({
        url: '/conversations',
        params: cursor === null ? {} : { cursor },
      });
      all.push(...conversations);
      if (!next) break;
      cursor = next;
    }
    return all;
  }

  async conversation(id: string): Promise<wire.Conversation> {
    const { conversation } = await this.#ask<wire.ConversationAnswer>({
      url: `/conversations/${id}`,
    });
    return conversation;
  }

  async createConversation(data: wire.NewConversation): Promise<wire.Conversation> {
    const { conversation } = await this.#ask<wire.ConversationAnswer>({
      method: 'POST',
      url: '/conversations',
      data,
    });
    return conversation;
  }

  async rename(id: string, title: string): Promise<void> {
    await this.#ask({ method: 'PATCH', url: `/conversations/${id}`, data: { title } });
  }

  async addMember(id: string, userId: string): Promise<void> {
    await this.#ask({
      method: 'POST',
      url: `/conversations/${id}/participants`,
      data: { userId },
    });
  }

  async removeMember(id: string, userId: string): Promise<void> {
    await this.#ask({ method: 'DELETE', url: `/conversations/${id}/participants/${userId}` });
  }

  /** A page of history: the newest messages, or those before a `seq`. */
  async messages(id: string, before?: number, limit = PAGE): Promise<wire.MessagesAnswer> {
    return this.#ask({
      url: `/conversations/${id}/messages`,
      params: before === undefined ? { limit } : { limit, before },
    });
  }

  async findPeople(q: string, signal: AbortSignal): Promise<wire.User[]> {
    const { users } = await this.#ask<wire.UsersAnswer>({
      url: '/users',
      params: { q },
      signal,
    });
    return users;
  }

  async user(id: string): Promise<wire.User> {
    const { user } = await this.#ask<wire.UserAnswer>({ url: `/users/${id}` });
    return user;
  }

  async newFile(data: {
    name: string;
    size: number;
    contentType: string;
  }): Promise<wire.FileAnswer> {
    return this.#ask({ method: 'POST', url: '/files', data });
  }

  /** Where a file can be got, and for how long. */
  async fileLink(id: string): Promise<{ url: string; lifeMs: number }> {
    const { data, headers } = await this.#answer<wire.LinkAnswer>({ url: `/files/${id}/link` });
    const { url, expiresAt } = data.link;
    return { url, lifeMs: Date.parse(expiresAt) - (serverTime(headers) ?? Date.now()) };
  }

  async #plain<T>(config: AxiosRequestConfig) {
    try {
      return await this.#http.request<T>(config);
    } catch (error) {
      throw refusal(error);
    }
  }

  async #ask<T>(config: AxiosRequestConfig): Promise<T> {
    return (await this.#answer<T>(config)).data;
  }

  async #answer<T>(config: AxiosRequestConfig) {
    if (!this.#tokens) throw new Refused({ code: 'unauthorized', message: 'signed out' });
    const token = await this.#tokens.token();
    try {
      return await this.#plain<T>(bearing(config, token));
    } catch (error) {
      const ended =
        error instanceof Refused && ['unauthorized', 'token_expired'].includes(error.code);
      if (!ended) throw error;
      const next = await this.#tokens.renew(token);
      return await this.#plain<T>(bearing(config, next));
    }
  }
}

function bearing(config: AxiosRequestConfig, token: string): AxiosRequestConfig {
  return { ...config, headers: { Authorization: `Bearer ${token}` } };
}
