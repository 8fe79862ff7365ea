// Turns the results of many runs into docs/proof.md.
import { createHash } from 'node:crypto';
import { FAULTS } from './faults.mjs';
import { KINDS } from './view.mjs';

const ZERO = { message: 0, edit: 0, deletion: 0, membership: 0, title: 0, creation: 0, receipt: 0, refresh: 0 };
const HEADS = { lost: 'lost', doubled: 'doubled', misplaced: 'misplaced', stale: 'stale', resurrected: 'resurrected', deaf: 'deaf', leaked: 'seen after removal', signedOut: 'signed out' };

const group = (number) => String(number).replace(/\B(?=(\d{3})+$)/g, ',');
const row = (cells) => `| ${cells.join(' | ')} |`;
const table = (heads, rows) => [row(heads), row(heads.map((_, i) => (i === 0 ? '---' : '---:'))), ...rows.map(row)].join('\n');

/** What came of all runs of one fault. */
function sum(results) {
  const counts = { ...ZERO };
  const faults = Object.fromEntries(KINDS.map((kind) => [kind, 0]));
  for (const result of results) {
    for (const kind of Object.keys(counts)) counts[kind] += result.counts[kind];
    for (const { kind } of result.faults) faults[kind] += 1;
  }
  const waits = results.map(({ wholeMs }) => wholeMs).sort((a, b) => a - b);
  return { counts, faults, total: Object.values(counts).reduce((a, b) => a + b, 0), runs: results.length, median: waits[Math.floor(waits.length / 2)], longest: waits.at(-1) };
}

/** The page. */
export function report({ results, commit, machine, first, seconds, date }) {
  const by = Object.keys(FAULTS).map((fault) => [fault, results.filter((result) => result.fault === fault)]).filter(([, of]) => of.length > 0);
  const all = sum(results);
  const outcome = by.map(([fault, of]) => {
    const { faults, total, runs, median, longest } = sum(of);
    return [fault, runs, group(total), ...KINDS.map((kind) => faults[kind]), `${group(median)} / ${group(longest)}`];
  });
  const kinds = Object.keys(ZERO);
  const facts = by.map(([fault, of]) => [fault, ...kinds.map((kind) => group(sum(of).counts[kind]))]);
  const repeat = by.map(([fault, of]) => [fault, of.map(({ seed }) => seed).join(', '), createHash('sha256').update(of.map(({ checksum }) => checksum).join('\n')).digest('hex').slice(0, 32)]);
  return `# Proof

${group(all.total)} acknowledged facts in ${results.length} runs on ${date}, commit ${commit}; ${machine}. Written by \`make proof\`.

Three gateways behind HAProxy, one real Redis, a MongoDB of three members; one gateway reaches Redis by a proxy. Thirty
people in six groups on all transports (polling, WebSocket, upgrade) talk, edit, delete, read, add and remove members,
rename, make groups and renew their log-ins, six things at once each, and repeat each request until its outcome is
known. Meanwhile something breaks and is mended. In the end a judge reads the whole store and holds it against what
was acknowledged, and against what each of twelve devices that only listen was told.

## What was broken, and what came of it

A fact is *lost* if it was acknowledged and is not stored, *doubled* if it is there twice, *misplaced* if it has another
place than was acknowledged or came in another order, *stale* if another version is shown or stored than the last one
acknowledged, *resurrected* if a deleted text is shown, *deaf* if a connected device never heard of it, *seen after
removal* if it was shown to a person who may not see it; *signed out* is a log-in that ended although it was used as
it may be. The last column is the time from the last request until every device showed what is stored, in
milliseconds, median and longest.

${table(['while', 'runs', 'facts', ...KINDS.map((kind) => HEADS[kind]), 'whole after'], [...outcome, ['**all**', all.runs, `**${group(all.total)}**`, ...KINDS.map((kind) => `**${all.faults[kind]}**`), `${group(all.median)} / ${group(all.longest)}`]])}

## Which facts

${table(['while', ...kinds.map((kind) => `${kind}s`)], facts)}

## Repeat it

\`make proof\` runs all of it (\`FACTS=\`, \`SECONDS=\`, \`MINUTES=\`, \`SEED=${first}\`); one line alone is
\`make proof FAULT="redis is killed" SEED=… SECONDS=${seconds}\`. A seed decides what people do, not how a real network and
real servers interleave it. The checksums are SHA-256 of what was acknowledged.

${table(['while', 'seeds', 'checksum of the histories'], repeat)}
`;
}
