// Runs a program with troubles for some minutes, and records what every panel shows: `node record.mjs FILE [SECONDS]`.

import { writeFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';

import { filled, scraped } from '../../tests/grafana/program.mjs';
import { boards } from '../generator/main.mjs';

const [file, seconds = '300'] = process.argv.slice(2);
if (!file || !(Number(seconds) >= 20)) {
  console.error('usage: node record.mjs FILE [SECONDS], 300 of them if nothing is said, and 20 at least');
  process.exit(2);
}
writeFileSync(file, ''); // what cannot be written is said now, and not when all is recorded
const STEP = 2;

// The hangar gets more flights than it can look up for most of the time.
const program = await scraped('--speed', '0.6', '--panic-every', '300', '--fail-every', '170', '--slow', '50');
const until = program.began + Number(seconds);
while (Date.now() / 1000 < until) {
  process.stderr.write(`\rrecording, ${Math.round(until - Date.now() / 1000)} seconds left  `);
  await wait(1_000);
}
process.stderr.write('\n');
const recorded = { from: program.began + 15, to: Date.now() / 1000, step: STEP, queries: {} };
for (const board of Object.values(boards)) {
  const marks = board.annotations.list.filter(({ expr }) => expr);
  for (const { expr } of [...board.panels.flatMap(({ targets = [] }) => targets), ...marks]) {
    recorded.queries[expr] ??= await program.range(filled(expr, '10s', `${seconds}s`), recorded.from, STEP);
  }
}
writeFileSync(file, JSON.stringify(recorded));
program.stop();
