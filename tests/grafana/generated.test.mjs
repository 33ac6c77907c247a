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

test('every panel says what it shows, and every number has a unit', () => {
  for (const [name, board] of Object.entries(boards)) {
    for (const panel of board.panels.filter(({ type }) => type !== 'row')) {
      assert.ok(panel.title && panel.description?.endsWith('.'), `${name}: ${panel.title}`);
      const fields = panel.fieldConfig;
      const units = panel.type === 'table' ? fields.overrides.every(({ properties }) => properties.some(({ id }) => id === 'unit')) : fields.defaults.unit;
      assert.ok(units, `${name}: ${panel.title} has no unit`);
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

test('what is counted over time is asked for by the interval that fits the scrapes', () => {
  for (const [name, board] of Object.entries(boards)) {
    for (const { title, targets = [] } of board.panels) {
      for (const { expr } of targets) assert.doesNotMatch(expr, /\[\d+\w\]/, `${name}: ${title}`);
    }
  }
});
