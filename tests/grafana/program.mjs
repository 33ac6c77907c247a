// A real program with troubles of all kinds, and a real Prometheus that scrapes it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));

/** So long something may take. */
export const PATIENCE = 120_000;

/** Asks again until there is an answer. */
const until = async (what, ask) => {
  for (const end = Date.now() + PATIENCE; ; ) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await wait(100);
  }
};

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Both, until `stop` is called. `options` are blizzard's. */
export const scraped = async (...options) => {
  const folder = mkdtempSync(join(tmpdir(), 'cueline-grafana-'));
  const children = [];
  const stop = () => {
    children.forEach((child) => child.kill('SIGKILL'));
    rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  process.once('exit', stop);
  const start = (command, ...args) => {
    const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
    const said = [];
    child.stderr.setEncoding('utf8').on('data', (text) => said.push(text));
    children.push(child);
    return { child, said };
  };
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const { child, said } = start(join(target, 'release/examples/blizzard'), '--serve', '127.0.0.1:0', '--data', join(folder, 'data'), ...options);
  const address = await until('an address', () => {
    assert.equal(child.exitCode, null, said.join(''));
    return said.join('').match(/http:\/\/([\d.:]+)\/metrics/)?.[1];
  });
  const port = await freePort();
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['recording', 'alerts'].map((name) => join(root, `grafana/rules/${name}.yml`)),
    scrape_configs: [{ job_name: 'cueline', static_configs: [{ targets: [address] }] }],
  };
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config)); // which is YAML
  const files = [`--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/tsdb`];
  start('prometheus', ...files, `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn');
  const url = `http://127.0.0.1:${port}`;
  await until('Prometheus', () => fetch(`${url}/-/ready`).then(({ ok }) => ok, () => false));
  /** What a query gives, from then until now. */
  const range = async (expr, since, step) => {
    const asked = new URLSearchParams({ query: expr, start: since, end: Date.now() / 1000, step });
    const answer = await (await fetch(`${url}/api/v1/query_range`, { method: 'POST', body: asked })).json();
    assert.equal(answer.status, 'success', `${expr}: ${answer.error}`);
    return answer.data.result;
  };
  return { began: Date.now() / 1000, range, stop };
};

/** An expression as Grafana fills it in, with everything chosen. */
export const filled = (expr, rateInterval, range) =>
  expr
    .replaceAll('$__rate_interval', rateInterval)
    .replaceAll('$__range', range)
    .replaceAll('$job', 'cueline')
    .replaceAll(/\$(instance|processor)\b/g, '.*');
