/**
 * Files on their way to the server, whichever conversation is open meanwhile. Each becomes a message
 * of its own when it is there. Without a connection they wait for it; what the network broke off
 * goes on when the connection is back; what the server refused waits for its sender's decision.
 */

import type { Attachment, Upload } from '../state/model';
import { Unreachable, explain } from './errors';
import { UPLOADS_MAX, UPLOADS_RUNNING_MAX, UPLOAD_STALL_MS } from './limits';

export interface UploadsPort {
  /** Brings a file to the server; rejects with `Refused` or `Unreachable`. */
  upload: (
    file: File,
    progress: (share: number) => void,
    signal: AbortSignal,
  ) => Promise<Attachment>;
  /** Whether there is a connection. */
  isOnline: () => boolean;
  /** What is on its way now. */
  changed: (uploads: readonly Upload[]) => void;
  /** The file is there, and can be shown by a message. */
  arrived: (conversationId: string, attachment: Attachment) => void;
}

export class Uploads {
  #all: readonly Upload[] = [];
  readonly #running = new Map<number, AbortController>();
  /** Those that the network broke off: the next connection is reason enough to try again. */
  readonly #brokenOff = new Set<number>();
  #lastKey = 0;

  constructor(private readonly port: UploadsPort) {
    window.addEventListener('beforeunload', this.#askFirst);
  }

  close(): void {
    window.removeEventListener('beforeunload', this.#askFirst);
    this.#all = [];
    for (const controller of this.#running.values()) controller.abort();
  }

  /** Takes these files; the answer is how many were left out, because too many are on their way. */
  add(conversationId: string, files: readonly File[]): number {
    const taken = files.slice(0, Math.max(0, UPLOADS_MAX - this.#all.length));
    const more = taken.map((file): Upload => {
      this.#lastKey += 1;
      const key = this.#lastKey;
      return { key, conversationId, file, state: 'waiting', share: 0, reason: null };
    });
    this.#show([...this.#all, ...more]);
    this.#pump();
    return files.length - taken.length;
  }

  retry(key: number): void {
    this.#change(key, { state: 'waiting', share: 0, reason: null });
    this.#pump();
  }

  /** Stops it, or puts away what failed. */
  stop(key: number): void {
    this.#show(this.#all.filter((one) => one.key !== key));
    this.#brokenOff.delete(key);
    this.#running.get(key)?.abort();
  }

  /** The connection is back. */
  resume(): void {
    for (const key of this.#brokenOff) {
      this.#change(key, { state: 'waiting', share: 0, reason: null });
    }
    this.#brokenOff.clear();
    this.#pump();
  }

  /** Starts what waits, as far as there is room. */
  #pump(): void {
    if (!this.port.isOnline()) return;
    for (const upload of this.#all) {
      if (this.#running.size >= UPLOADS_RUNNING_MAX) return;
      if (upload.state === 'waiting') void this.#run(upload);
    }
  }

  async #run({ key, file, conversationId }: Upload): Promise<void> {
    const controller = new AbortController();
    this.#running.set(key, controller);
    this.#brokenOff.delete(key);
    this.#change(key, { state: 'running' });
    let stalled: ReturnType<typeof setTimeout> | undefined;
    const moved = (share: number) => {
      clearTimeout(stalled);
      stalled = setTimeout(() => controller.abort(), UPLOAD_STALL_MS);
      this.#change(key, { share });
    };
    moved(0);
    try {
      const attachment = await this.port.upload(file, moved, controller.signal);
      if (!this.#has(key)) return;
      this.port.arrived(conversationId, attachment);
      this.#show(this.#all.filter((one) => one.key !== key));
    } catch (error) {
      if (this.#has(key)) this.#failed(key, error);
    } finally {
      clearTimeout(stalled);
      this.#running.delete(key);
      this.#pump();
    }
  }

  #failed(key: number, error: unknown): void {
    if (!(error instanceof Unreachable)) {
      this.#change(key, { state: 'failed', reason: explain(error) });
    } else if (this.port.isOnline()) {
      // The connection may not have noticed yet.
      this.#brokenOff.add(key);
      this.#change(key, { state: 'failed', reason: explain(error) });
    } else {
      this.#change(key, { state: 'waiting', share: 0 });
    }
  }

  #has(key: number): boolean {
    return this.#all.some((one) => one.key === key);
  }

  #change(key: number, part: Partial<Upload>): void {
    this.#show(this.#all.map((one) => (one.key === key ? { ...one, ...part } : one)));
  }

  #show(all: readonly Upload[]): void {
    this.#all = all;
    this.port.changed(all);
  }

  /** A file that is not there yet goes with the page: the browser asks whether to leave it. */
  #askFirst = (event: BeforeUnloadEvent): void => {
    if (this.#all.some(({ state }) => state !== 'failed')) event.preventDefault();
  };
}
