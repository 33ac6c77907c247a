// The files are what the generator makes.

import assert from 'node:assert/strict';
import test from 'node:test';

import { boards, text } from '../../grafana/generator/main.mjs';
import { read } from './project.mjs';

for (const [name, board] of Object.entries(boards)) {
  test(`${name} is up to date`, () => {
    assert.equal(read(`grafana/dashboards/${name}.json`), text(board), 'run `node grafana/generator/main.mjs`');
  });
}

/** The units that what is asked for may have. */
const unitsOf = (expr) => {
  if (/histogram_quantile|_seconds_sum.* \/ |^\w+( by \(\w+\))? ?\((topk\(10, )?.*_seconds\{[^[]*$/.test(expr)) return ['s'];
  if (expr.includes(' / ') || /^\w* ?\(rate\(cueline_\w+_seconds_sum/.test(expr)) return ['percentunit', 'short'];
  if (expr.includes('_bytes_total')) return ['Bps'];
  if (expr.includes('_bytes')) return ['bytes'];
  return expr.includes('rate(') ? ['eps', 'cps', 'reqps', 'iops'] : ['short'];
};

test('every panel says what it shows, and in which unit', () => {
  for (const [name, board] of Object.entries(boards)) {
    for (const panel of board.panels.filter(({ type }) => type !== 'row')) {
      assert.ok(panel.title && panel.description?.endsWith('.'), `${name}: ${panel.title}`);
      const fields = panel.fieldConfig;
      panel.targets.forEach(({ expr }, index) => {
        const unit = panel.type === 'table' ? fields.overrides[index].properties.find(({ id }) => id === 'unit').value : fields.defaults.unit;
        const fitting = panel.type === 'table' && expr.includes('increase(') ? ['short'] : unitsOf(expr);
        assert.ok(fitting.includes(unit), `${name}: ${panel.title} is in ${unit}, of ${expr}`);
      });
      assert.ok(fields.defaults.thresholds.steps.length > 0);
    }
  }
});

test('panels do not overlap, and leave no holes', () => {
  for (const [name, board] of Object.entries(boards)) {
    const taken = new Set();
    for (const { title, gridPos: { x, y, w, h } } of board.panels) {
      assert.ok(x + w <= 24, `${name}: ${title}`);
      for (let row = y; row < y + h; row++) {
        for (let column = x; column < x + w; column++) {
          assert.ok(!taken.has(`${row} ${column}`), `${name}: ${title} lies on another`);
          taken.add(`${row} ${column}`);
        }
      }
    }
    const rows = Math.max(...board.panels.map(({ gridPos: { y, h } }) => y + h));
    assert.equal(taken.size, 24 * rows, name);
  }
});

test('all means all, also what is not there any more, and bounds are found in every Prometheus', () => {
  for (const [name, board] of Object.entries(boards)) {
    for (const variable of board.templating.list.filter(({ name }) => name === 'instance' || name === 'processor')) {
      assert.equal(variable.allValue, '.*', `${name}: ${variable.name}`);
    }
    // Prometheus 3 writes whole numbers with a point.
    for (const { title, targets = [] } of board.panels) {
      for (const { expr } of targets) assert.doesNotMatch(expr, /le="\d+"/, `${name}: ${title}`);
    }
  }
});

test('what is counted over time is asked for by the interval that fits the scrapes', () => {
  for (const [name, board] of Object.entries(boards)) {
    for (const { title, targets = [] } of board.panels) {
      for (const { expr } of targets) assert.doesNotMatch(expr, /\[\d+\w\]/, `${name}: ${title}`);
    }
  }
});
