/**
 * Who is signed in, in this browser, and the token that says so.
 *
 * The access token lives in memory. Across a reload of its tab it is handed over in sessionStorage,
 * from which the new page takes it away at once. The refresh token lives in IndexedDB: tabs see each
 * other's writes there in order, which localStorage does not promise across processes, and a stale
 * one would look like theft to the server. Both can be read by script of this origin, so the
 * page has none but its own: see README.md, "Why markup in a message is inert".
 *
 * All tabs share one renewal: it runs under a lock, reads the newest refresh token inside it, and
 * the tab that asked tells the others what came of it (`renewal.ts`).
 */

import type { Me } from '../state/model';
import type { SessionAnswer } from './contract';
import type { Database } from './database';
import { Refused, Unreachable, isPassing } from './errors';
import { LOGOUT_TRIES_MAX, RENEW_LEAD_MS, RENEW_RETRY_MS, TOKEN_MARGIN_MS } from './limits';
import { SESSION_KEY, type Kept, type Renew } from './renewal';
import type { Tabs } from './tabs';
import * as translate from './translate';

interface Access {
  readonly token: string;
  /** By this machine's clock. */
  readonly endsAt: number;
}

export interface SessionEvents {
  /** A newer token is in use: on the live socket too, from now on. */
  onToken: (token: string) => void;
  /** Signed out: here, in another tab, or because the server ended it. */
  onSignedOut: (why: 'asked' | 'ended') => void;
  /** Another tab signed in. */
  onSignedIn: () => void;
}

const HANDOVER = 'syncchat.handover';
/** Where the refresh token of a log-in that ended here is kept until the server knows. */
const ENDED_KEY = 'ended';

export class Session {
  #user: Me | null = null;
  #access: Access | null = null;
  #refreshing: Promise<string> | null = null;
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** From when on the token at hand is to be renewed. */
  #renewAt = 0;
  #events: SessionEvents | null = null;

  constructor(
    private readonly database: Database,
    private readonly tabs: Tabs,
    private readonly renewal: Renew,
    /** Tells the server that this refresh token is not needed any more. */
    private readonly logout: (refreshToken: string) => Promise<void>,
    private readonly now: () => number = Date.now,
  ) {
    tabs.listen((message) => {
      if (message.type === 'token' && message.userId === this.#user?.id) {
        this.#use({ token: message.accessToken, endsAt: message.endsAt });
      } else if (message.type === 'signed-out' && this.#user) {
        this.#forget('asked');
      } else if (message.type === 'signed-in' && message.userId !== this.#user?.id) {
        this.#events?.onSignedIn();
      }
    });
  }

  listen(events: SessionEvents): void {
    this.#events = events;
  }

  get user(): Me | null {
    return this.#user;
  }

  /** Who signed in here before, if anybody. */
  async restore(): Promise<Me | null> {
    const kept = (await this.database.get('session', SESSION_KEY)) as Kept | undefined;
    this.#user = kept?.user ?? null;
    void this.#endLogIn();
    const handed = takeHandover();
    if (this.#user && handed?.userId === this.#user.id) this.#use(handed);
    return this.#user;
  }

  /** Leaves the token for the page that this tab loads next. */
  handOver(): void {
    if (!this.#access || !this.#user) return;
    try {
      const handed = { ...this.#access, userId: this.#user.id };
      sessionStorage.setItem(HANDOVER, JSON.stringify(handed));
    } catch {
      // Then the next page asks for a token of its own.
    }
  }

  async signIn(answer: SessionAnswer, serverNow: number | null): Promise<Me> {
    const user = translate.me(answer.user);
    this.#user = user;
    await this.#keep({ refreshToken: answer.refreshToken, user });
    const lastsMs = Date.parse(answer.expiresAt) - (serverNow ?? this.now());
    this.#use({ token: answer.accessToken, endsAt: this.now() + lastsMs });
    this.tabs.tell({ type: 'signed-in', userId: user.id });
    return user;
  }

  async signOut(): Promise<void> {
    const kept = (await this.database.get('session', SESSION_KEY)) as Kept | undefined;
    if (kept) await this.database.put('session', ENDED_KEY, kept.refreshToken);
    await this.database.remove('session', SESSION_KEY);
    this.tabs.tell({ type: 'signed-out' });
    this.#forget('asked');
    // A server that is away must not keep anybody signed in.
    await this.#endLogIn();
  }

  /** Tells the server of a log-out that it may not know of yet; again later if it does not answer. */
  async #endLogIn(tried = 1): Promise<void> {
    const token = (await this.database.get('session', ENDED_KEY)) as string | undefined;
    if (token === undefined) return;
    try {
      await this.logout(token);
    } catch (error) {
      if (isPassing(error)) {
        if (tried < LOGOUT_TRIES_MAX) {
          setTimeout(() => void this.#endLogIn(tried + 1), RENEW_RETRY_MS);
        }
        return;
      }
    }
    await this.database.replace('session', ENDED_KEY, (value) => value === token, undefined);
  }

  /** A token that is good for a request now. */
  async token(): Promise<string> {
    if (this.#access && this.#access.endsAt - TOKEN_MARGIN_MS > this.now()) {
      return this.#access.token;
    }
    return this.renew();
  }

  /** Renews, unless the token at hand has most of its life left: one with a short life is warned of at once. */
  async renewIfDue(): Promise<void> {
    if (this.now() >= this.#renewAt) await this.renew();
  }

  /**
   * A token that is newer than `refused`, whatever its end. Rejects with `Unreachable` while the
   * server is away, and with `Refused` when it ended the log-in.
   */
  async renew(refused?: string): Promise<string> {
    if (refused !== undefined && this.#access && this.#access.token !== refused) {
      return this.#access.token;
    }
    this.#refreshing ??= this.#refresh().finally(() => (this.#refreshing = null));
    return this.#refreshing;
  }

  async #refresh(): Promise<string> {
    const before = this.#access;
    try {
      // Another tab may have done it while this one waited for its turn.
      const renewed = await this.renewal(() => this.#access === before);
      if (renewed === null) return await this.token();
      if (renewed.userId !== this.#user?.id) {
        throw new Refused({ code: 'unauthorized', message: 'signed out' });
      }
      const access = { token: renewed.accessToken, endsAt: this.now() + renewed.lastsMs };
      this.#use(access);
      this.tabs.tell({
        type: 'token',
        userId: renewed.userId,
        accessToken: access.token,
        endsAt: access.endsAt,
      });
      return access.token;
    } catch (error) {
      if (error instanceof Refused && this.#user) {
        this.tabs.tell({ type: 'signed-out' });
        this.#forget('ended');
      }
      throw error;
    }
  }

  async #keep(kept: Kept): Promise<void> {
    await this.database.put('session', SESSION_KEY, kept);
  }

  #use(access: Access): void {
    this.#access = access;
    const left = access.endsAt - this.now();
    const wait = Math.max(left - RENEW_LEAD_MS, (left * 2) / 3, 0);
    this.#renewAt = this.now() + wait;
    this.#renewIn(wait);
    this.#events?.onToken(access.token);
  }

  #renewIn(ms: number): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.renew().catch((error: unknown) => {
        if (error instanceof Unreachable) this.#renewIn(RENEW_RETRY_MS);
      });
    }, ms);
  }

  #forget(why: 'asked' | 'ended'): void {
    clearTimeout(this.#timer);
    this.#access = null;
    const was = this.#user;
    this.#user = null;
    if (was) this.#events?.onSignedOut(why);
  }
}

function takeHandover(): (Access & { userId: string }) | null {
  try {
    const handed = sessionStorage.getItem(HANDOVER);
    sessionStorage.removeItem(HANDOVER);
    return handed === null ? null : (JSON.parse(handed) as Access & { userId: string });
  } catch {
    return null;
  }
}
