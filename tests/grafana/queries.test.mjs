// Every query has data, from a real Prometheus that scrapes a real program with troubles of all kinds.

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as wait } from 'node:timers/promises';

import { filled, PATIENCE, scraped } from './program.mjs';
import { queries, recordings } from './project.mjs';

let program;

before(async () => {
  program = await scraped('--speed', '8', '--panic-every', '50', '--fail-every', '40', '--slow', '30');
});
after(() => program?.stop());

/** Whether it has given any number since the beginning. */
const hasData = async (expr) => {
  const result = await program.range(filled(expr, '10s', '60s'), program.began, 1);
  return result.some(({ values }) => values.some(([, value]) => value !== 'NaN'));
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
  return left.map(({ where, expr }) => `${where}: ${expr}`);
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
