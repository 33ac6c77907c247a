// Every metric is watched, or it is said why not; and nothing is watched that does not exist.

import assert from 'node:assert/strict';
import test from 'node:test';

import { alerts, catalogue, queries, read, recordings } from './project.mjs';

/** Histograms are asked for by their parts. */
const metric = (series) => {
  const whole = series.replace(/_(bucket|sum|count)$/, '');
  return catalogue.includes(series) ? series : whole;
};
const metricsIn = (expr) => [...expr.matchAll(/(?<![\w:])cueline_\w+/g)].map(([name]) => metric(name));
const watched = new Set([...queries(), ...recordings, ...alerts].flatMap(({ expr }) => metricsIn(expr)));

/** As the README lists them: a metric, and the reason. */
const leftOut = [...read('grafana/README.md').matchAll(/^\| `(cueline_\w+)` \| (.+) \|$/gm)];

test('the catalogue is read whole', () => {
  const said = read('src/metrics/catalog.rs').match(/^    [A-Z_]+ = "/gm).length;
  assert.ok(catalogue.length > 50);
  assert.equal(catalogue.length, said);
});

test('every metric is on a dashboard or in a rule, or it is said why not', () => {
  const reasons = new Map(leftOut.map(([, name, reason]) => [name, reason]));
  for (const name of catalogue) {
    assert.ok(watched.has(name) !== reasons.has(name), `${name} is ${watched.has(name) ? 'left out and watched' : 'not watched'}`);
  }
  for (const [name, reason] of reasons) assert.ok(catalogue.includes(name) && reason.length > 20, name);
});

test('nothing is watched that does not exist', () => {
  for (const name of watched) assert.ok(catalogue.includes(name), name);
});
