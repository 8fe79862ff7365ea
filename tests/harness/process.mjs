// Children of the test run: started with free ports and a folder of their own, ended by pid.
import { spawn } from 'node:child_process';
import { rmSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import net from 'node:net';
import os from 'node:os';
import path from 'node:path';
import { scaled } from './speed.mjs';

const children = new Set();
const dirs = new Set();

// Whatever way the run ends, nothing of it stays.
process.on('exit', () => {
  for (const child of children) child.kill('SIGKILL');
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true, maxRetries: 5 });
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => process.exit(130));
}

/**
 * Where servers of the tests listen. Clients on this machine call from 127.0.0.1, and take any port
 * there: not one that a server here has left for the moment of its restart.
 */
export const HOST = '127.0.0.2';

/** A port of `HOST` that was free a moment ago. */
export async function freePort() {
  const server = net.createServer();
  await new Promise((resolve, reject) => server.listen(0, HOST, resolve).on('error', reject));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** A folder that is removed by the function returned with it. */
export async function tempDir(name) {
  const dir = await mkdtemp(path.join(os.tmpdir(), `syncchat-${name}-`));
  dirs.add(dir);
  const remove = async () => {
    await rm(dir, { recursive: true, force: true, maxRetries: 5 });
    dirs.delete(dir);
  };
  return { dir, remove };
}

/** Starts a program; keeps the end of its output for error messages. */
export function start(command, args, options = {}) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], ...options });
  children.add(child);
  const running = { child, output: '', exited: null };
  const keep = (chunk) => {
    running.output = (running.output + chunk).slice(-20_000);
  };
  child.stdout.on('data', keep);
  child.stderr.on('data', keep);
  running.exited = new Promise((resolve) => {
    child.on('error', (error) => {
      keep(String(error));
      resolve({ code: null, signal: null, error });
    });
    child.on('exit', (code, signal) => {
      children.delete(child);
      resolve({ code, signal });
    });
  });
  return running;
}

/** Asks a child to end and waits, at most `ms` of the reference machine, then kills it. */
export async function stop(running, signal = 'SIGTERM', ms = 10_000) {
  running.child.kill(signal);
  const late = Symbol('late');
  let timer;
  const outcome = await Promise.race([
    running.exited,
    new Promise((resolve) => {
      timer = setTimeout(resolve, scaled(ms), late);
    }),
  ]);
  clearTimeout(timer);
  if (outcome !== late) return outcome;
  running.child.kill('SIGKILL');
  return running.exited;
}

/**
 * Waits until `check` gives something truthy; fails after `ms` of the reference machine, with what it
 * waited for.
 */
export async function until(what, check, ms = 10_000) {
  const limit = scaled(ms);
  const end = Date.now() + limit;
  let last;
  for (;;) {
    try {
      const value = await check();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`waited ${limit} ms for ${what}; last: ${last}`);
    await sleep(20);
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
