/** Puts the parts together, once for a page, and says who is signed in. */

import { Chat } from '../net/client';
import { openDatabase, type Database } from '../net/database';
import { Rest } from '../net/rest';
import { refreshByFetch, renewByWorker, renewInPage } from '../net/renewal';
import { Session } from '../net/session';
import { openTabs, type Tabs } from '../net/tabs';
import { forgetDrafts } from '../state/drafts';
import type { Me } from '../state/model';
import { goTo } from './route';

export type Stage =
  | { readonly name: 'starting' }
  /** `notice`: why somebody who was signed in is not any more. */
  | { readonly name: 'signed-out'; readonly notice: string | null }
  | { readonly name: 'signed-in'; readonly chat: Chat };

export interface SignUp {
  readonly username: string;
  readonly email: string;
  readonly password: string;
}

export interface LogIn {
  readonly login: string;
  readonly password: string;
}

export class Runtime {
  readonly #database: Database;
  readonly #tabs: Tabs;
  readonly #rest: Rest;
  readonly #session: Session;
  readonly #listeners = new Set<() => void>();
  #stage: Stage = { name: 'starting' };

  private constructor(database: Database) {
    this.#database = database;
    this.#tabs = openTabs();
    this.#rest = new Rest();
    this.#session = new Session(
      database,
      this.#tabs,
      renewByWorker(renewInPage(database, this.#tabs, refreshByFetch)),
      (refreshToken) => this.#rest.logout(refreshToken),
    );
    this.#rest.useTokens(this.#session);
    this.#session.listen({
      onToken: (token) => {
        if (this.#stage.name === 'signed-in') this.#stage.chat.authenticate(token);
      },
      onSignedOut: (why) => this.#leave(why),
      onSignedIn: () => window.location.reload(),
    });
    window.addEventListener('pagehide', () => this.#session.handOver());
  }

  static async start(): Promise<Runtime> {
    const runtime = new Runtime(await openDatabase());
    const me = await runtime.#session.restore();
    if (me) await runtime.#enter(me);
    else runtime.#become({ name: 'signed-out', notice: null });
    return runtime;
  }

  get stage(): Stage {
    return this.#stage;
  }

  subscribe = (changed: () => void): (() => void) => {
    this.#listeners.add(changed);
    return () => this.#listeners.delete(changed);
  };

  signUp = async (form: SignUp): Promise<void> => {
    const { answer, serverNow } = await this.#rest.register(form);
    await this.#enter(await this.#session.signIn(answer, serverNow));
  };

  logIn = async (form: LogIn): Promise<void> => {
    const { answer, serverNow } = await this.#rest.login(form);
    await this.#enter(await this.#session.signIn(answer, serverNow));
  };

  logOut = async (): Promise<void> => {
    await this.#session.signOut();
  };

  async #enter(me: Me): Promise<void> {
    const chat = new Chat({
      me,
      session: this.#session,
      rest: this.#rest,
      database: this.#database,
      tabs: this.#tabs,
    });
    await chat.start();
    this.#become({ name: 'signed-in', chat });
  }

  #leave(why: 'asked' | 'ended'): void {
    if (this.#stage.name === 'signed-in') this.#stage.chat.close();
    if (why === 'asked') {
      // What was said is this person's, not this browser's. What is not sent yet goes too, which
      // the page asks about first.
      forgetDrafts();
      for (const store of ['outbox', 'snapshot'] as const) {
        this.#database.clear(store).catch(() => undefined);
      }
    }
    goTo(null);
    const notice = why === 'ended' ? 'You have been signed out. Please log in again.' : null;
    this.#become({ name: 'signed-out', notice });
  }

  #become(stage: Stage): void {
    this.#stage = stage;
    for (const listener of this.#listeners) listener();
  }
}
