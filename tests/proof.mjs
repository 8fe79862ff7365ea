#!/usr/bin/env node
// The whole proof: every fault in turn, again and again, until so many facts were acknowledged; then docs/proof.md.
//
//   FACTS=1000000 SEED=7 SECONDS=20 MINUTES=60 FAULT="redis is killed" tests/proof.mjs
//
// All are optional. FAULT runs one alone and writes nothing, which is how a line of the report is repeated.
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { profile, root } from './harness/binaries.mjs';
import { FAULTS } from './proof/faults.mjs';
import { startProofFleet } from './proof/fleet.mjs';
import { report } from './proof/report.mjs';
import { prove } from './proof/run.mjs';

const number = (name, fallback) => {
  const text = process.env[name];
  const value = text ? Number(text) : fallback;
  if (!Number.isFinite(value) || value <= 0) throw new Error(`${name} must be a number above 0, not ${text}`);
  return value;
};
const wanted = number('FACTS', 1_000_000);
const seconds = number('SECONDS', 20);
const minutes = number('MINUTES', 120);
const first = number('SEED', Math.floor(Math.random() * 2 ** 31) + 1);
const alone = process.env.FAULT;
if (alone && !FAULTS[alone]) throw new Error(`no such fault: ${alone}; there are: ${Object.keys(FAULTS).join(', ')}`);

const names = alone ? [alone] : Object.keys(FAULTS);
const results = [];
const began = Date.now();
let proof;
try {
  for (let n = 0, total = 0; alone ? n === 0 : total < wanted || n < names.length; n += 1) {
    if (Date.now() - began > minutes * 60_000) {
      console.log(`${minutes} minutes are over`);
      break;
    }
    // A fleet of its own for each round: what one round leaves in the store is not read by the next.
    if (n % names.length === 0) {
      await proof?.stop();
      proof = await startProofFleet();
    }
    const fault = names[n % names.length];
    const result = await prove({ ...proof, fault, seed: alone ? first : first + n, seconds });
    results.push(result);
    total += result.total;
    console.log(`${fault}: ${result.total} facts, ${result.faults.length} faults, whole after ${result.wholeMs} ms (seed ${result.seed}; ${total} facts in all)`);
    for (const { kind, text } of result.faults.slice(0, 20)) console.log(`  ${kind}: ${text}`);
    await proof.ready();
  }
} finally {
  await proof?.stop();
}

if (!alone) {
  const commit = execFileSync('git', ['rev-parse', '--short=12', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
  const machine = `${os.availableParallelism()} cores, Linux, profile \`${profile}\``;
  writeFileSync(path.join(root, 'docs/proof.md'), report({ results, commit, machine, first, seconds, date: new Date().toISOString().slice(0, 10) }));
}
process.exitCode = results.some(({ faults }) => faults.length > 0) ? 1 : 0;
