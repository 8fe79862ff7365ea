// The crates of the workspace by the names that a test run is asked for them by: their folders', without
// what all of ours begin with.
import { execFileSync } from 'node:child_process';
import path from 'node:path';
import { root } from './binaries.mjs';

const shorten = (manifest) => path.basename(path.dirname(manifest)).replace(/^syncchat-/, '');

/** Short name to package and folder, of every crate that has tests to run. */
export function crates() {
  const args = ['metadata', '--no-deps', '--format-version=1', '--locked', '--offline'];
  const { packages } = JSON.parse(execFileSync('cargo', args, { cwd: root, maxBuffer: 64 << 20 }));
  return new Map(packages.map(({ name, manifest_path: manifest }) => [shorten(manifest), { package: name, folder: path.dirname(manifest) }]));
}
