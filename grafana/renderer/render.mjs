// Draws every dashboard, light and dark, as it was recorded: `node render.mjs RECORDED FOLDER`.

import { readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

import { build } from 'esbuild';
import { chromium } from 'playwright-core';

import { boards } from '../generator/main.mjs';

const [from, folder] = process.argv.slice(2);
if (!from || !folder) {
  console.error('usage: node render.mjs RECORDED FOLDER');
  process.exit(2);
}
const recorded = JSON.parse(readFileSync(from, 'utf8'));
for (const { expr } of Object.values(boards).flatMap(({ panels }) => panels.flatMap(({ targets = [] }) => targets))) {
  if (!(expr in recorded.queries)) {
    console.error(`${from} does not have \`${expr}\`: the dashboards have changed since, record again`);
    process.exit(2);
  }
}
const bundle = join(tmpdir(), `cueline-boards-${process.pid}`);
await build({
  entryPoints: [fileURLToPath(new URL('page.jsx', import.meta.url))],
  outfile: `${bundle}.js`,
  bundle: true,
  minify: true,
  jsx: 'automatic',
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.woff': 'dataurl', '.woff2': 'dataurl', '.ttf': 'dataurl' },
  logLevel: 'error',
});

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking', '--disable-sync'],
});
for (const [name, board] of Object.entries(boards)) {
  for (const mode of ['light', 'dark']) {
    const used = new Set(board.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)));
    const queries = Object.fromEntries(Object.entries(recorded.queries).filter(([expr]) => used.has(expr)));
    const drawn = JSON.stringify({ board, mode, recorded: { ...recorded, queries } }).replaceAll('<', '\\u003c');
    writeFileSync(
      `${bundle}.html`,
      `<!doctype html><meta charset="utf-8"><link rel="stylesheet" href="${bundle}.css"><body style="margin:0"><div id="board"></div>` +
        `<script>window.DRAWN=${drawn}</script><script src="${bundle}.js"></script>`,
    );
    const page = await browser.newPage({ viewport: { width: 1632, height: 900 } });
    page.on('pageerror', (error) => console.error(`${name}: ${error.message}`));
    await page.goto(pathToFileURL(`${bundle}.html`).href);
    await page.waitForSelector('body[data-drawn]', { state: 'attached' });
    await page.screenshot({ path: join(folder, `${name}-${mode}.png`), fullPage: true });
    await page.close();
    console.log(`${name}, ${mode}`);
  }
}
await browser.close();
