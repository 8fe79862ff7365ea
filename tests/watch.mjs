#!/usr/bin/env node
// Runs the tests of one crate, and again whenever a source of the workspace has changed: `make watch
// CRATE=gateway`. It looks at the times of files, twice a second, and needs nothing installed.
import { spawn } from 'node:child_process';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { profile, root } from './harness/binaries.mjs';
import { crates } from './harness/crates.mjs';

const LOOK_MS = 500;
const known = crates();
const crate = known.get(process.argv[2]);
if (!crate) {
  console.error(`make watch CRATE=…: there are ${[...known.keys()].join(', ')}`);
  process.exit(2);
}

/** When the newest source was changed, in milliseconds. */
function newest() {
  let latest = 0;
  for (const { folder } of known.values()) {
    for (const name of readdirSync(folder, { recursive: true })) {
      if (!/\.(rs|toml|lua|sql|json|jsonl)$/.test(name) || name.includes('node_modules')) continue;
      // A file that an editor has just replaced is seen at the next look.
      latest = Math.max(latest, statSync(path.join(folder, name), { throwIfNoEntry: false })?.mtimeMs ?? 0);
    }
  }
  return latest;
}

const run = () =>
  new Promise((resolve) => {
    const args = ['test', '--locked', '--profile', profile, '--package', crate.package];
    spawn('cargo', args, { cwd: root, stdio: 'inherit' }).on('close', resolve);
  });

for (;;) {
  const seen = newest();
  await run();
  console.log('waiting for a change; Ctrl-C ends');
  while (newest() <= seen) await new Promise((resolve) => setTimeout(resolve, LOOK_MS));
}
