/**
 * The live connection: the official Socket.IO client, kept connected while somebody is signed in.
 *
 * The client reconnects by itself, with jitter. What it leaves to its user is done here: a refused
 * token is renewed, a server that says goodbye is believed, and a network that is back is used at
 * once.
 */

import { io, type Socket } from 'socket.io-client';

import { backoff } from './backoff';
import type { Ack, ClientEvents, Requests, ServerClosing, ServerEvents } from './contract';
import { Refused, Unreachable } from './errors';
import {
  ACK_TIMEOUT_MS,
  CONNECT_TIMEOUT_MS,
  RECONNECT_FIRST_MS,
  RECONNECT_JITTER,
  RECONNECT_MAX_MS,
} from './limits';

/** A WebSocket at once; long polling where that is refused. */
const QUICK = ['websocket', 'polling'];
/** For networks that swallow WebSockets without a word: something that works, then an upgrade. */
const CAREFUL = ['polling', 'websocket'];

export type ChatSocket = Socket<ServerEvents, ClientEvents>;

/** The live connection as the rest of `net/` uses it. */
export interface Live {
  readonly connected: boolean;
  /** Asks and waits for the ack. Rejects with `Refused`, or with `Unreachable` without one. */
  request: <Name extends keyof Requests>(
    name: Name,
    payload: Requests[Name][0],
  ) => Promise<Requests[Name][1]>;
  /** Says something that may be lost. */
  hint: <Name extends keyof Requests>(name: Name, payload: Requests[Name][0]) => void;
}

export interface ConnectionEvents {
  onUp: () => void;
  onDown: () => void;
}

/** Where tokens come from, and what to do when the server ends the log-in. */
export interface ConnectionTokens {
  token: () => Promise<string>;
  renew: (refused?: string) => Promise<string>;
}

export class Connection implements Live {
  readonly socket: ChatSocket;
  readonly #events: ConnectionEvents;
  readonly #tokens: ConnectionTokens;
  #attempt = 0;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #presented = '';
  #open = false;

  constructor(tokens: ConnectionTokens, events: ConnectionEvents) {
    this.#tokens = tokens;
    this.#events = events;
    this.socket = io({
      autoConnect: false,
      transports: QUICK,
      tryAllTransports: true,
      timeout: CONNECT_TIMEOUT_MS,
      reconnectionDelay: RECONNECT_FIRST_MS,
      reconnectionDelayMax: RECONNECT_MAX_MS,
      randomizationFactor: RECONNECT_JITTER,
      auth: (present) => {
        const { engine } = this.socket.io;
        tokens.token().then(
          (token) => {
            // A connection that has ended meanwhile must not be introduced on its successor.
            if (this.socket.io.engine !== engine) return;
            this.#presented = token;
            present({ token });
          },
          // Without a token there is nothing to present; the engine is closed and tried again.
          () => this.#again(),
        );
      },
    });
    this.socket.on('connect', () => {
      this.#attempt = 0;
      this.socket.io.engine.once('upgrade', () => (this.socket.io.opts.transports = QUICK));
      this.#events.onUp();
    });
    this.socket.on('disconnect', (reason) => {
      this.#events.onDown();
      // The client stays away after these two; everything else it repairs by itself.
      if (reason === 'io server disconnect') this.#again();
    });
    this.socket.on('connect_error', (error: Error & { data?: { code?: string } }) => {
      const code = error.data?.code;
      if (code === undefined && this.socket.active) {
        this.socket.io.opts.transports = CAREFUL;
        return;
      }
      if (code === 'unauthorized' || code === 'token_expired') {
        this.#tokens.renew(this.#presented).then(
          () => this.#again(),
          () => this.#again(),
        );
      } else {
        this.#again();
      }
    });
    this.socket.on('server_closing', (event) => this.#leave(event));
  }

  get connected(): boolean {
    return this.socket.connected;
  }

  open(): void {
    this.#open = true;
    this.socket.connect();
    window.addEventListener('online', this.#nudge);
    window.addEventListener('offline', this.#drop);
    document.addEventListener('visibilitychange', this.#looked);
  }

  close(): void {
    this.#open = false;
    clearTimeout(this.#timer);
    window.removeEventListener('online', this.#nudge);
    window.removeEventListener('offline', this.#drop);
    document.removeEventListener('visibilitychange', this.#looked);
    this.socket.disconnect();
  }

  /** Presents a newer token on the live socket. */
  authenticate(token: string): void {
    this.#presented = token;
    if (this.connected) this.request('authenticate', { token }).catch(() => undefined);
  }

  async request<Name extends keyof Requests>(
    name: Name,
    payload: Requests[Name][0],
  ): Promise<Requests[Name][1]> {
    // The client would keep it for the next connection; what must outlive this one is in the outbox.
    if (!this.connected) throw new Unreachable();
    let answer: Ack<Requests[Name][1]>;
    try {
      const socket = this.socket.timeout(ACK_TIMEOUT_MS) as unknown as {
        emitWithAck: (name: string, payload: unknown) => Promise<Ack<Requests[Name][1]>>;
      };
      answer = await socket.emitWithAck(name, payload);
    } catch {
      throw new Unreachable();
    }
    if (!answer.ok) throw new Refused(answer.error);
    return answer;
  }

  hint<Name extends keyof Requests>(name: Name, payload: Requests[Name][0]): void {
    if (!this.connected) return;
    const socket = this.socket as unknown as { emit: (name: string, payload: unknown) => void };
    socket.emit(name, payload);
  }

  /** Connects anew after a wait that grows with every failure. */
  #again(afterMs?: number): void {
    if (!this.#open) return;
    const wait = { firstMs: RECONNECT_FIRST_MS, maxMs: RECONNECT_MAX_MS };
    const ms = afterMs ?? backoff(this.#attempt, wait);
    this.#attempt += 1;
    this.socket.disconnect();
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      if (this.#open) this.socket.connect();
    }, ms);
  }

  /** The server closes on purpose and says when to come back. */
  #leave({ reason, reconnectInMs }: ServerClosing): void {
    // A little later than told, each client by its own measure.
    const later = reconnectInMs * (1 + 0.25 * Math.random());
    if (reason === 'token_expired' || reason === 'kicked') {
      const renewed = this.#tokens.renew(this.#presented);
      renewed.then(
        () => this.#again(0),
        () => this.#again(later),
      );
    }
    this.#again(later);
  }

  /** The network is back: no reason to wait any longer. */
  #nudge = (): void => {
    if (!this.#open || this.connected) return;
    clearTimeout(this.#timer);
    this.socket.disconnect();
    this.socket.connect();
  };

  /** The browser says the network is gone: believe it sooner than the heartbeat would. */
  #drop = (): void => {
    if (this.connected) this.socket.io.engine.close();
  };

  /** Somebody looks at the page again. */
  #looked = (): void => {
    if (document.visibilityState === 'visible') this.#nudge();
  };
}
