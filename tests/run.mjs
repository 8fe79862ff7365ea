#!/usr/bin/env node
// Runs the pieces that `make test` is made of, side by side where they do not disturb one another, and
// ends everything it has started, however it ends itself.
//
//   tests/run.mjs                all pieces
//   tests/run.mjs core,e2e       these pieces, or these groups of them, and what they need
//   tests/run.mjs --list         the names
//
// PROFILE names cargo's profile for everything that is built. What a piece prints is in
// target/tests/NAME.log, and on the terminal if it fails.
import { spawn } from 'node:child_process';
import { closeSync, mkdirSync, openSync, readFileSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { built, profile, root } from './harness/binaries.mjs';
import { crates } from './harness/crates.mjs';
import { schedule } from './harness/schedule.mjs';
import { speed } from './harness/speed.mjs';

const logs = path.join(root, 'target/tests');
/** What is shared out among pieces: each says how much of a core it keeps busy on average. */
const CORES = Math.max(2, os.availableParallelism());
/** How long a piece may take to end when it is told to, before it is killed. */
const END_MS = 10_000;
/** Waiting for timers, not working. */
const IDLE = 0.2;
/** Judges how soon something happens: nothing that works runs beside it. */
const ALONE = CORES - IDLE;
/** Judges bounds of the contract, or keeps all cores busy by itself: only waiting runs beside it. */
const FIRST = CORES - 2 * IDLE;

const rust = crates();

const cargo = (...args) => ({ command: 'cargo', args: [...args, '--locked', '--profile', profile] });
const script = (file, ...args) => ({ command: path.join(root, 'tests', file), args });
const npm = (folder, name) => ({ command: 'npm', args: ['run', '--silent', name], cwd: path.join(root, folder) });

// What must be there before tests run. `steps` may be a function, called when the piece begins.
const preparations = [
  { name: 'packages', cores: IDLE, steps: [script('services.sh', 'packages')] },
  { name: 'page-build', cores: 1, steps: [{ command: 'cargo', args: ['run', '--quiet', '--profile', profile, '--package', 'xtask', '--', 'web'] }] },
  { name: 'build', cores: 1, steps: buildSteps },
  // The programs come with the build; one that is asked for without them builds crates only.
  { name: 'programs', cores: 0, needs: ['build'], steps: [] },
  { name: 'mongod', cores: IDLE, steps: [script('services.sh', 'mongod')] },
  { name: 'clients', cores: IDLE, steps: [script('clients.sh')] },
  // Cargo lets one build at a time into its folder: before the end of the other one it would only wait.
  { name: 's3', cores: 1, needs: ['build'], steps: [script('services.sh', 's3')] },
];

const CHAT = ['programs', 'packages', 'mongod', 'clients'];
const needsOf = { store: ['mongod'], backplane: ['packages'] };
// In the order in which they begin: what takes longest first.
const tests = [
  { name: 'fleet-return', group: 'fleet', cores: FIRST, needs: CHAT, steps: [npm('tests', 'fleet:return')] },
  { name: 'faults-fleet', group: 'faults', cores: 1, needs: CHAT, steps: [npm('tests', 'faults:fleet')] },
  { name: 'faults-redis', group: 'faults', cores: FIRST, needs: CHAT, steps: [npm('tests', 'faults:redis')] },
  { name: 'faults-node', group: 'faults', cores: 0.6, needs: CHAT, steps: [npm('tests', 'faults:node')] },
  { name: 'browser', cores: 1, needs: ['programs', 'packages', 's3'], steps: [npm('web', 'e2e:quick')] },
  { name: 'churn', cores: 1, needs: ['programs', 'clients'], steps: [npm('tests', 'churn')], figures: /KiB a minute/ },
  { name: 'fleet-chat', group: 'fleet', cores: 1, needs: CHAT, steps: [npm('tests', 'fleet:chat')] },
  { name: 'proof', cores: FIRST, needs: CHAT, steps: [npm('tests', 'proof')] },
  { name: 'e2e', cores: FIRST, needs: [...CHAT, 's3'], steps: [npm('tests', 'e2e')] },
  ...[...rust.keys()].map((name) => ({
    name,
    group: 'crates',
    cores: name === 'store' ? FIRST : 1,
    needs: ['build', ...(needsOf[name] ?? [])],
    steps: () => rustTests(name),
  })),
  { name: 'docs', group: 'crates', cores: 1, needs: ['build'], steps: [cargo('test', '--workspace', '--doc')] },
  { name: 'harness', cores: 0.2, steps: [npm('tests', 'harness')] },
  { name: 'page', cores: 1, needs: ['page-build'], steps: [npm('web', 'test')] },
  { name: 'hostile', cores: 1, needs: ['programs', 'clients'], steps: [npm('tests', 'hostile')] },
  { name: 'load', cores: ALONE, needs: ['programs', 'packages', 'clients'], steps: [npm('tests', 'load')] },
];

const names = new Set([...tests.map(({ name }) => name), ...tests.flatMap(({ group }) => group ?? [])]);
const asked = process.argv.slice(2);
if (asked.includes('--list')) {
  console.log([...names].join('\n'));
  process.exit(0);
}
const wanted = asked.flatMap((arg) => arg.split(',')).filter(Boolean);
const unknown = wanted.filter((name) => !names.has(name));
if (unknown.length > 0) {
  console.error(`no such tests: ${unknown.join(', ')}; there are: ${[...names].join(', ')}`);
  process.exit(2);
}
const all = wanted.length === 0;
const chosen = tests.filter(({ name, group }) => all || wanted.includes(name) || wanted.includes(group));
const programs = chosen.some(({ needs = [] }) => needs.includes('programs'));
const needed = new Set();
// The program holds the page; without it there, a crate's tests do not wait for one.
if (programs || chosen.some(({ name }) => name === 'syncchat')) {
  preparations.find(({ name }) => name === 'build').needs = ['page-build'];
}
const need = (name) => {
  const piece = preparations.find((one) => one.name === name);
  needed.add(name);
  piece.needs?.forEach(need);
};
chosen.flatMap(({ needs = [] }) => needs).forEach(need);
const pieces = [...preparations.filter(({ name }) => needed.has(name)), ...chosen];

/** What cargo has to build for what was chosen, each with its list of what it made. */
function buildSteps() {
  const build = (list, ...args) => ({ ...cargo('build', ...args, '--message-format=json-render-diagnostics'), output: list });
  // All of it at once: the programs have the features that the tests of any crate ask for, so that
  // nothing is compiled twice.
  if (all) return [build('built', '--workspace', '--bins', '--tests')];
  const steps = [];
  const packages = chosen.filter(({ name }) => rust.has(name)).flatMap(({ name }) => ['--package', rust.get(name).package]);
  if (packages.length > 0) steps.push(build('built', ...packages, '--tests'));
  // The same programs as in a whole run; a test of one of them is named for the sake of its features.
  if (programs) {
    steps.push(cargo('build', '--workspace', '--bin', 'syncchat', '--bin', 'syncchat-loadtest', '--test', 'program'));
  }
  return steps;
}

/** The test programs of a crate, as cargo has listed them; they run in its folder, as cargo does it. */
function rustTests(crate) {
  const lines = readFileSync(path.join(logs, 'built.json'), 'utf8').split('\n').filter(Boolean);
  const made = lines.map((line) => JSON.parse(line)).filter(({ reason }) => reason === 'compiler-artifact');
  const steps = [];
  for (const { executable, profile: how, manifest_path: manifest, target } of made) {
    const folder = path.dirname(manifest);
    if (!executable || !how.test || folder !== rust.get(crate).folder) continue;
    steps.push({ command: executable, args: [], cwd: folder, title: `${target.kind[0]} ${target.name}` });
  }
  if (steps.length === 0) throw new Error(`cargo has built no tests of ${crate}`);
  return steps;
}

const running = new Set();
let ending = false;

/** Counts of tests in what runners print: cargo's, Node's, Vitest's and Playwright's. */
function counts(text) {
  const sum = (...patterns) =>
    patterns.flatMap((pattern) => [...text.matchAll(pattern)]).reduce((total, found) => total + Number(found[1]), 0);
  return {
    passed: sum(/^test result: \w+\. (\d+) passed/gm, /^(?:#|ℹ) pass (\d+)$/gm, /^ +(\d+) passed \(/gm, /^ +Tests .*?(\d+) passed/gm),
    skipped: sum(/^test result: .* (\d+) ignored/gm, /^(?:#|ℹ) skipped (\d+)$/gm, /^ +(\d+) skipped$/gm),
    flaky: sum(/^ +(\d+) flaky$/gm),
    failed: sum(/^test result: .* (\d+) failed/gm, /^(?:#|ℹ) fail (\d+)$/gm, /^ +(\d+) failed$/gm, /^ +Tests .*?(\d+) failed/gm),
  };
}

/** Sends a signal to a step and all that it has started. */
function tell({ pid }, signal) {
  try {
    process.kill(-pid, signal);
  } catch {
    // All of it has ended.
  }
}

/** Runs one step with its output in `log`; the exit code and the seconds of CPU. */
function runStep({ command, args, cwd = root, output, title }, log, piece) {
  return new Promise((resolve) => {
    const list = output ? openSync(path.join(logs, `${output}.json`), 'w') : log;
    // Bash knows what all that a command has started and waited for took.
    const timed = 'TIMEFORMAT="%U %S"; { time "$@" 2>&4 3>&- 4>&-; } 4>&2 2>&3';
    // A group of processes of its own, so that all of it can be ended.
    const child = spawn('bash', ['-c', timed, 'timed', command, ...args], {
      cwd,
      detached: true,
      stdio: ['ignore', list, log, 'pipe'],
      env: { ...process.env, PROFILE: profile, SYNCCHAT_BIN: process.env.SYNCCHAT_BIN ?? path.join(built, 'syncchat') },
    });
    piece.child = child;
    let times = '';
    child.stdio[3].on('data', (data) => (times += data));
    child.on('close', (code, signal) => {
      if (list !== log) closeSync(list);
      // What it has left behind goes with it.
      tell(child, 'SIGKILL');
      const cpu = times.trim().split(/\s+/).map(Number).reduce((a, b) => a + b, 0);
      resolve({ code: code ?? signal, cpu: Number.isFinite(cpu) ? cpu : 0, title: title ?? [command, ...args].join(' ') });
    });
    child.on('error', (error) => resolve({ code: error.message, cpu: 0, title: command }));
  });
}

/** How many characters wide the run is drawn. */
const LINE = 50;

/** The pieces in the order in which they began: when, for how long, their CPU time, and drawn as lines. */
function timeline(from, to) {
  const place = (ms) => Math.round(((ms - from) / (to - from)) * LINE);
  const seconds = (ms) => (ms / 1_000).toFixed(1).padStart(8);
  const rows = pieces
    .filter(({ ended }) => ended)
    .sort((a, b) => a.began - b.began)
    .map(({ name, began, ended, cpu }) => {
      const drawn = ' '.repeat(place(began)) + '#'.repeat(Math.max(1, place(ended) - place(began)));
      return `${name.padEnd(13)}${seconds(began - from)}${seconds(ended - began)}${seconds(cpu * 1_000)}  ${drawn}`;
    });
  return [`${'piece'.padEnd(13)}${['began', 'took', 'CPU s'].map((word) => word.padStart(8)).join('')}`, ...rows].join('\n');
}

const duration = (ms) => `${(ms / 1_000).toFixed(1)} s`;

/** Runs a piece and says how it went. */
async function runPiece(piece) {
  running.add(piece);
  const verdict = await runSteps(piece).catch((error) => `FAILED: ${error.stack}`);
  running.delete(piece);
  return verdict;
}

async function runSteps(piece) {
  const began = performance.now();
  const file = path.join(logs, `${piece.name}.log`);
  const log = openSync(file, 'w');
  const failures = [];
  let cpu = 0;
  let steps = [];
  try {
    steps = typeof piece.steps === 'function' ? piece.steps() : piece.steps;
    for (const step of steps) {
      if (ending) break;
      const outcome = await runStep(step, log, piece);
      cpu += outcome.cpu;
      if (outcome.code !== 0) failures.push(`${outcome.title}: ${outcome.code}`);
    }
  } catch (error) {
    failures.push(String(error.stack));
  }
  closeSync(log);
  if (ending) return 'ended';
  const text = readFileSync(file, 'utf8');
  const { passed, skipped, flaky, failed } = counts(text);
  const remarks = [
    passed > 0 && `${passed} passed`,
    skipped > 0 && `${skipped} skipped`,
    flaky > 0 && `${flaky} flaky`,
    ...(piece.figures ? text.split('\n').filter((line) => piece.figures.test(line)).map((line) => line.trim()) : []),
  ].filter(Boolean);
  const verdict = failures.length === 0 ? 'ok' : 'FAILED';
  if (steps.length === 0 && failures.length === 0) return verdict;
  const took = [performance.now() - began, cpu * 1_000].map((ms) => duration(ms).padStart(9));
  console.log(`${verdict.padEnd(6)} ${piece.name.padEnd(13)}${took[0]}, CPU${took[1]}  ${remarks.join(', ')}`);
  if (failures.length > 0) console.log(`\n== ${piece.name}: ${failures.join('; ')}\n${text}\n== end of ${piece.name}\n`);
  // A piece that ended badly without a count has failed once at least.
  Object.assign(piece, { began, ended: performance.now(), cpu, passed, failed: failures.length === 0 ? failed : Math.max(failed, 1) });
  return verdict;
}

/** Ends the groups of all that runs: asked first, killed after a while. */
async function endAll() {
  ending = true;
  const tellAll = (signal) => {
    for (const { child } of running) if (child) tell(child, signal);
  };
  tellAll('SIGTERM');
  const end = Date.now() + END_MS;
  while (running.size > 0 && Date.now() < end) await new Promise((resolve) => setTimeout(resolve, 50));
  tellAll('SIGKILL');
}

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (ending) return;
    void endAll().then(() => process.exit(130));
  });
}

rmSync(logs, { recursive: true, force: true });
mkdirSync(logs, { recursive: true });
const began = performance.now();
console.log(`${chosen.length} pieces on ${CORES} cores, profile ${profile}, speed ${speed.toFixed(2)} of the reference machine`);
const verdicts = await schedule(pieces, CORES, runPiece, () => ending);
if (!ending) {
  const ended = performance.now();
  console.log(timeline(began, ended));
  const cpu = pieces.reduce((sum, piece) => sum + (piece.cpu ?? 0), 0);
  const bad = pieces.filter(({ name }) => verdicts.get(name) !== 'ok').map(({ name }) => `${name} ${verdicts.get(name)}`);
  console.log(`${bad.length === 0 ? 'all passed' : bad.join(', ')}; ${duration(ended - began)}, CPU ${duration(cpu * 1_000)}`);
  const total = (figure) => pieces.reduce((sum, piece) => sum + (piece[figure] ?? 0), 0);
  console.log(`${total('passed')} passed, ${total('failed')} failed`);
  process.exit(bad.length === 0 ? 0 : 1);
}
