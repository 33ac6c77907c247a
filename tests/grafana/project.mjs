// What is tested: the dashboards with their queries, the rules, the catalogue of metrics.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { parse } from 'yaml';

import { boards, pathOf } from '../../grafana/generator/main.mjs';

export const root = fileURLToPath(new URL('../..', import.meta.url));
export const read = (path) => readFileSync(new URL(`../../${path}`, import.meta.url), 'utf8');

/** The dashboards as they are in their files. */
export const dashboards = Object.fromEntries(Object.keys(boards).map((name) => [name, JSON.parse(readFileSync(pathOf(name), 'utf8'))]));

const rulesOf = (path) => parse(read(path)).groups.flatMap((group) => group.rules);
export const recordings = rulesOf('grafana/rules/recording.yml');
export const alerts = rulesOf('grafana/rules/alerts.yml');

/** The names of all metrics, from the one file that has them. */
export const catalogue = [...read('src/metrics/catalog.rs').matchAll(/= "(cueline_\w+)", (Counter|Gauge|Histogram),/g)].map(([, name]) => name);

/** Every query of every panel, variable and annotation: where it is, and what it asks. */
export const queries = () => {
  const all = [];
  for (const [board, { panels, templating, annotations }] of Object.entries(dashboards)) {
    for (const panel of panels) {
      for (const { refId, expr } of panel.targets ?? []) all.push({ where: `${board}: ${panel.title}: ${refId}`, expr });
    }
    for (const { name, definition } of templating.list.filter(({ type }) => type === 'query')) {
      const [, metric, label] = definition.match(/^label_values\((.*), (\w+)\)$/);
      all.push({ where: `${board}: $${name}`, expr: `count by (${label}) (${metric})` });
    }
    for (const { name, expr } of annotations.list.filter(({ expr }) => expr)) all.push({ where: `${board}: mark ${name}`, expr });
  }
  return all;
};
