// Writes the dashboards: `node grafana/generator/main.mjs`, or with `--check`, says whether they are up to date.

import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

import overview from './overview.mjs';
import processors from './processors.mjs';
import queues from './queues.mjs';
import workflows from './workflows.mjs';

export const boards = { overview, processors, queues, workflows };
export const pathOf = (name) => new URL(`../dashboards/${name}.json`, import.meta.url);
export const text = (board) => `${JSON.stringify(board, null, 2)}\n`;

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const check = process.argv.includes('--check');
  for (const [name, board] of Object.entries(boards)) {
    const path = pathOf(name);
    const isThere = existsSync(path) && readFileSync(path, 'utf8') === text(board);
    if (check && !isThere) {
      console.error(`${path.pathname} is not what the generator makes: run \`node grafana/generator/main.mjs\``);
      process.exitCode = 1;
    }
    if (!check) writeFileSync(path, text(board));
  }
}
