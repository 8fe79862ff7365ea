/** A real node, started and stopped by the tests, with its data in a folder of its own. */

import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

import { scaled } from './patience';

const BINARY = resolve(process.env.SYNCCHAT_BIN ?? '../target/debug/syncchat');
/** Settings of the tests themselves are none of the node's. */
const ENVIRONMENT = Object.fromEntries(
  Object.entries(process.env).filter(([name]) => !name.startsWith('SYNCCHAT_')),
);
/** A node that is not ready by then will not be. */
const READY_MS = scaled(20_000);

/** A port of this machine that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

export class Node {
  #process: ChildProcess | null = null;
  #log = '';

  private constructor(
    readonly url: string,
    private readonly admin: string,
    private readonly folder: string,
    private readonly flags: readonly string[],
  ) {}

  static async start(...flags: string[]): Promise<Node> {
    const [port, admin] = [await freePort(), await freePort()];
    const folder = await mkdtemp(join(tmpdir(), 'syncchat-e2e-'));
    const node = new Node(`http://127.0.0.1:${port}`, `127.0.0.1:${admin}`, folder, flags);
    await node.start();
    return node;
  }

  /** Starts it, with what it stored before. */
  async start(): Promise<void> {
    const common = ['--bcrypt-cost', '4', '--rate-registrations', 'off', '--rate-logins', 'off'];
    const listen = ['--listen', new URL(this.url).host, '--admin-listen', this.admin];
    this.#process = spawn(BINARY, ['serve', ...listen, ...common, ...this.flags], {
      cwd: this.folder,
      env: ENVIRONMENT,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const note = (data: Buffer) => (this.#log += data.toString());
    this.#process.stdout?.on('data', note);
    this.#process.stderr?.on('data', note);
    const deadline = Date.now() + READY_MS;
    while (!(await this.#isReady())) {
      if (this.#process.exitCode !== null || Date.now() > deadline) {
        throw new Error(`the node did not start:\n${this.#log}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async #isReady(): Promise<boolean> {
    try {
      return (await fetch(`http://${this.admin}/readyz`)).ok;
    } catch {
      return false;
    }
  }

  /** Ends it as a power cut would. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** Asks it to end, as an operator does, and waits until it has said goodbye to everybody. */
  async drain(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it for good, and its data with it. */
  async stop(): Promise<void> {
    await this.#end('SIGKILL');
    await rm(this.folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const running = this.#process;
    this.#process = null;
    if (!running || running.exitCode !== null) return;
    const ended = once(running, 'exit');
    running.kill(signal);
    await ended;
  }
}
