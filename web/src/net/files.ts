/**
 * Files: announced to the server, then put where it says, with progress; got by links that end,
 * asked for when they are needed.
 */

import axios, { isAxiosError } from 'axios';

import type { Attachment } from '../state/model';
import type { ErrorAnswer } from './contract';
import { Refused, Unreachable } from './errors';
import { LINK_KEPT_SHARE, LINKS_MAX, PREVIEWS_MAX } from './limits';
import type { Rest } from './rest';

/** Pictures that browsers show; others are files to be saved. SVG can hold scripts, so it is one. */
const PICTURES = ['image/png', 'image/jpeg', 'image/gif', 'image/webp', 'image/avif', 'image/bmp'];

export const isPicture = (contentType: string) => PICTURES.includes(contentType);

interface Kept {
  readonly url: Promise<string>;
  /** When it is not used any more; while it is asked for, never. */
  until: number;
}

export class Files {
  readonly #links = new Map<string, Kept>();
  /** Of what was uploaded here: shown without asking the server back for it. */
  readonly #previews = new Map<string, string>();

  constructor(private readonly rest: Pick<Rest, 'newFile' | 'fileLink'>) {}

  async upload(
    file: File,
    progress: (share: number) => void,
    signal: AbortSignal,
  ): Promise<Attachment> {
    const contentType = file.type === '' ? 'application/octet-stream' : file.type;
    const told = await this.rest.newFile({ name: file.name, size: file.size, contentType });
    try {
      await axios.request({
        method: told.upload.method,
        url: reachable(told.upload.url),
        headers: told.upload.headers,
        data: file,
        signal,
        onUploadProgress: ({ loaded, total }) => progress(total ? loaded / total : 0),
      });
    } catch (error) {
      throw refusal(error, isHere(told.upload.url) ? 'server' : 'file storage');
    }
    if (isPicture(contentType)) this.#preview(told.fileId, file);
    return { fileId: told.fileId, name: file.name, size: file.size, contentType };
  }

  /** An address the browser can get the file from, for a while. */
  link(fileId: string, now = Date.now()): Promise<string> {
    const known = this.#links.get(fileId);
    if (known && now < known.until) return known.url;
    const url = this.rest.fileLink(fileId).then((link) => {
      kept.until = now + link.lifeMs * LINK_KEPT_SHARE;
      return reachable(link.url);
    });
    const kept: Kept = { url, until: Infinity };
    this.#links.delete(fileId);
    this.#links.set(fileId, kept);
    forgetOldest(this.#links, LINKS_MAX);
    // What failed is asked for again.
    url.catch(() => this.forget(fileId));
    return url;
  }

  /** The link turned out not to be good. */
  forget(fileId: string): void {
    this.#links.delete(fileId);
  }

  /** The picture itself, if it was uploaded here. */
  preview(fileId: string): string | undefined {
    return this.#previews.get(fileId);
  }

  close(): void {
    for (const url of this.#previews.values()) URL.revokeObjectURL(url);
    this.#previews.clear();
  }

  #preview(fileId: string, file: File): void {
    this.#previews.set(fileId, URL.createObjectURL(file));
    for (const url of forgetOldest(this.#previews, PREVIEWS_MAX)) URL.revokeObjectURL(url);
  }
}

function forgetOldest<T>(map: Map<string, T>, max: number): T[] {
  const forgotten: T[] = [];
  for (const [key, value] of map) {
    if (map.size <= max) break;
    map.delete(key);
    forgotten.push(value);
  }
  return forgotten;
}

/**
 * Behind a proxy the server may not know by which protocol it is reached; this page does. What
 * leads elsewhere is left as it is.
 */
function reachable(url: string): string {
  const there = new URL(url, window.location.href);
  return isHere(url) ? window.location.origin + there.pathname + there.search : there.href;
}

const isHere = (url: string) => new URL(url, window.location.href).host === window.location.host;

function refusal(error: unknown, where: string): Error {
  const unreachable = new Unreachable(`the ${where} cannot be reached`);
  if (!isAxiosError<ErrorAnswer | undefined>(error) || !error.response) return unreachable;
  const { status, data } = error.response;
  // The server says why; a bucket answers with XML.
  if (typeof data === 'object' && 'error' in data) return new Refused(data.error);
  return status >= 500
    ? unreachable
    : new Refused({ code: 'invalid', message: `the ${where} answered ${status}` });
}
