// Every query has data, from a real Prometheus that scrapes a real program with troubles of all kinds.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { queries, recordings, root } from './project.mjs';

/** So long a query may stay without data. */
const PATIENCE = 120_000;

const folder = mkdtempSync(join(tmpdir(), 'cueline-grafana-'));
const children = [];
let prometheus;
let began;

const start = (command, ...args) => {
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  const said = [];
  child.stderr.setEncoding('utf8').on('data', (text) => said.push(text));
  children.push(child);
  return { child, said };
};

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

/** Asks again until there is an answer. */
const until = async (what, ask) => {
  for (const end = Date.now() + PATIENCE; ; ) {
    const answer = await ask();
    if (answer) return answer;
    assert.ok(Date.now() < end, `waited in vain for ${what}`);
    await wait(100);
  }
};

const blizzard = () => {
  const target = process.env.CARGO_TARGET_DIR ?? join(root, 'target');
  const { child, said } = start(
    join(target, 'release/examples/blizzard'),
    ...['--serve', '127.0.0.1:0', '--data', join(folder, 'data'), '--speed', '8'],
    ...['--panic-every', '50', '--fail-every', '40', '--slow', '30'],
  );
  return until('an address', () => {
    assert.equal(child.exitCode, null, said.join(''));
    return said.join('').match(/http:\/\/([\d.:]+)\/metrics/)?.[1];
  });
};

before(async () => {
  const address = await blizzard();
  const port = await freePort();
  const config = {
    global: { scrape_interval: '1s', evaluation_interval: '1s' },
    rule_files: ['recording', 'alerts'].map((name) => join(root, `grafana/rules/${name}.yml`)),
    scrape_configs: [{ job_name: 'cueline', static_configs: [{ targets: [address] }] }],
  };
  writeFileSync(join(folder, 'prometheus.yml'), JSON.stringify(config)); // which is YAML
  prometheus = `http://127.0.0.1:${port}`;
  start('prometheus', `--config.file=${folder}/prometheus.yml`, `--storage.tsdb.path=${folder}/tsdb`, `--web.listen-address=127.0.0.1:${port}`, '--log.level=warn');
  await until('Prometheus', () => fetch(`${prometheus}/-/ready`).then(({ ok }) => ok, () => false));
  began = Date.now() / 1000;
});

after(() => {
  children.forEach((child) => child.kill('SIGKILL'));
  rmSync(folder, { recursive: true, force: true });
});

/** As Grafana fills it in, with everything chosen. */
const filled = (expr) =>
  expr
    .replaceAll('$__rate_interval', '10s')
    .replaceAll('$__range', '60s')
    .replaceAll(/\$(job|instance|processor)\b/g, '.*');

/** Whether it has given any number since the beginning. */
const hasData = async (expr) => {
  const asked = new URLSearchParams({ query: filled(expr), start: began, end: Date.now() / 1000, step: 1 });
  const answer = await (await fetch(`${prometheus}/api/v1/query_range`, { method: 'POST', body: asked })).json();
  assert.equal(answer.status, 'success', `${expr}: ${answer.error}`);
  return answer.data.result.some(({ values }) => values.some(([, value]) => value !== 'NaN'));
};

/** Those that stay without data, while the others get some. */
const withoutData = async (all, patience) => {
  let left = all;
  for (const end = Date.now() + patience; left.length > 0 && Date.now() < end; ) {
    const found = [];
    for (const query of left) found.push(await hasData(query.expr));
    left = left.filter((_, index) => !found[index]);
    if (left.length > 0) await wait(1_000);
  }
  return left.map(({ where, expr }) => `${where}: ${filled(expr)}`);
};

test('every query of every panel, variable and annotation has data', async () => {
  const all = queries();
  assert.ok(all.length > 100, `${all.length}`);
  assert.deepEqual(await withoutData(all, PATIENCE), []);
});

test('every recording rule has data', async () => {
  const all = recordings.map(({ record }) => ({ where: record, expr: record }));
  assert.deepEqual(await withoutData(all, PATIENCE), []);
});

test('a query that is broken is found', async () => {
  const [{ expr }] = queries().filter(({ where }) => where.startsWith('overview: Handled'));
  const broken = [
    expr.replace('events_handled', 'events_handed'),
    expr.replace('instance=~', 'instnce=~').replace('"$instance"', '".+"'),
    `${expr} / 0 * 0`,
  ];
  assert.equal(new Set([expr, ...broken]).size, 4, 'each is broken in another way');
  const all = broken.map((expr) => ({ where: 'broken', expr }));
  assert.equal((await withoutData(all, 3_000)).length, 3);
});
