/**
 * A bucket on a real server of the S3 protocol, behind what such a server does for browsers and
 * this one does not: it lets pages of other origins in, by the bucket's rule.
 */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import {
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { freePort } from './node';
import { scaled } from './patience';

const BINARY = resolve(process.env.SYNCCHAT_TEST_S3 ?? '../target/debug/syncchat-test-s3');
const MANUAL = resolve('../README.md');
const KEYS = { access: 'TESTACCESSKEY', secret: 'test/secret+key' };
/** A server that does not answer by then will not. */
const READY_MS = scaled(20_000);

/** A bucket's rule for pages of other origins, as S3 spells it. */
export interface CorsRule {
  readonly AllowedOrigins: readonly string[];
  readonly AllowedMethods: readonly string[];
  readonly AllowedHeaders: readonly string[];
}

/** The rule that the manual asks for. */
async function ruleOfTheManual(): Promise<CorsRule> {
  const text = await readFile(MANUAL, 'utf8');
  const found = /^\s*(\[\{ "AllowedOrigins".*\}\])$/mu.exec(text)?.[1];
  if (found === undefined) throw new Error('README.md has no rule for the bucket');
  const [rule] = JSON.parse(found) as CorsRule[];
  if (rule === undefined) throw new Error('the rule of README.md is empty');
  return rule;
}

export class Bucket {
  /** What the bucket answers browsers by; none: it lets no other origin in. */
  rule: CorsRule | null = null;
  /** Methods and paths of what browsers asked for, in order. */
  readonly asked: string[] = [];

  private constructor(
    private readonly s3: ChildProcess,
    private readonly folder: string,
    private readonly inside: number,
    private readonly front: Server,
  ) {
    front.on('request', (asked, answer) => this.#pass(asked, answer));
  }

  static async start(): Promise<Bucket> {
    await access(BINARY).catch(() => {
      throw new Error(`${BINARY} is not there; tests/services.sh builds it`);
    });
    const folder = await mkdtemp(join(tmpdir(), 'syncchat-bucket-'));
    await mkdir(join(folder, 'chat'));
    const port = await freePort();
    const args = [`127.0.0.1:${port}`, KEYS.access, KEYS.secret, folder];
    const s3 = spawn(BINARY, args, { stdio: 'ignore' });
    const front = createServer().listen(0, '127.0.0.1');
    await once(front, 'listening');
    const bucket = new Bucket(s3, folder, port, front);
    for (const deadline = Date.now() + READY_MS; ;) {
      if (await fetch(`http://127.0.0.1:${port}`).catch(() => null)) return bucket;
      if (s3.exitCode !== null || Date.now() > deadline) throw new Error('S3 did not start');
      await new Promise((again) => setTimeout(again, 50));
    }
  }

  /** Where browsers find it. */
  get origin(): string {
    return `http://127.0.0.1:${(this.front.address() as AddressInfo).port}`;
  }

  /** What a node is given to keep its files here. */
  get flags(): string[] {
    const query = new URLSearchParams({
      endpoint: `http://127.0.0.1:${this.inside}`,
      'public-endpoint': this.origin,
    });
    const address = `s3://chat/files?${query}`;
    return ['--files', address, '--s3-access-key', KEYS.access, '--s3-secret-key', KEYS.secret];
  }

  /** Lets pages of this origin in, by the rule in the manual. */
  async letIn(origin: string): Promise<void> {
    this.rule = { ...(await ruleOfTheManual()), AllowedOrigins: [origin] };
  }

  async stop(): Promise<void> {
    this.front.closeAllConnections();
    this.front.close();
    const ended = once(this.s3, 'exit');
    this.s3.kill('SIGKILL');
    await ended;
    await rm(this.folder, { recursive: true, force: true });
  }

  /** What S3 adds for this origin, or nothing where the rule does not let it do this. */
  #allowed(asked: IncomingMessage): Record<string, string> | null {
    const { origin, 'access-control-request-method': wanted } = asked.headers;
    const method = wanted ?? asked.method ?? '';
    if (!this.rule || origin === undefined) return null;
    const { AllowedOrigins, AllowedMethods, AllowedHeaders } = this.rule;
    if (!AllowedOrigins.includes(origin) || !AllowedMethods.includes(method)) return null;
    const headers = asked.headers['access-control-request-headers'] ?? '';
    const named = AllowedHeaders.map((name) => name.toLowerCase());
    const fits = (name: string) => named.includes('*') || named.includes(name);
    if (!headers.split(',').every((name) => name === '' || fits(name.trim()))) return null;
    return {
      'access-control-allow-origin': origin,
      'access-control-allow-methods': AllowedMethods.join(', '),
      'access-control-allow-headers': headers,
      vary: 'Origin',
    };
  }

  #pass(asked: IncomingMessage, answer: ServerResponse): void {
    const allowed = this.#allowed(asked);
    if (asked.method === 'OPTIONS') {
      answer.writeHead(allowed ? 200 : 403, allowed ?? {}).end();
      return;
    }
    this.asked.push(`${asked.method} ${asked.url?.split('?')[0]}`);
    // The signature covers the host that the browser named, so that is passed on.
    const { method, url: path, headers } = asked;
    const inside = request({ host: '127.0.0.1', port: this.inside, method, path, headers });
    inside.on('response', (told) => {
      answer.writeHead(told.statusCode ?? 502, { ...told.headers, ...allowed });
      told.pipe(answer);
    });
    inside.on('error', () => answer.destroy());
    answer.on('close', () => inside.destroy());
    asked.pipe(inside);
  }
}
