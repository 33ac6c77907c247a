// The rules are well-formed, and each alert fires when it has to, is silent when all is well, and says what to do.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';

import { parse } from 'yaml';

import { alerts, read, root } from './project.mjs';

const rules = join(root, 'grafana/rules');
const promtool = (folder, ...args) => execFileSync('promtool', args, { cwd: folder, encoding: 'utf8', stdio: 'pipe' });
const cases = parse(read('grafana/rules/alerts.test.yml')).tests;

test('promtool finds nothing to say of them', () => {
  promtool(rules, 'check', 'rules', '--lint=all', '--lint-fatal', 'recording.yml', 'alerts.yml');
});

test('each fires when it has to, and a healthy system keeps all silent', () => {
  promtool(rules, 'test', 'rules', 'alerts.test.yml');
  const expected = (fires) =>
    new Set(cases.flatMap((one) => one.alert_rule_test).filter(({ exp_alerts }) => exp_alerts.length > 0 === fires).map(({ alertname }) => alertname));
  const all = alerts.map(({ alert }) => alert);
  assert.ok(all.length >= 12);
  assert.deepEqual([...expected(true)].sort(), [...all].sort(), 'each has a case in which it fires');
  assert.deepEqual([...expected(false)].sort(), [...all].sort(), 'each is looked for in the healthy system');
});

test('one that can never fire is found, whichever it is', () => {
  const folder = mkdtempSync(join(tmpdir(), 'cueline-rules-'));
  try {
    cpSync(rules, folder, { recursive: true });
    const never = (which) => {
      const all = parse(read('grafana/rules/alerts.yml'));
      const rule = all.groups.flatMap((group) => group.rules).find(({ alert }) => alert === which);
      // Valid, and without a match for ever: no series has such labels.
      rule.expr = `(${rule.expr}) and count by (job) (up)`;
      writeFileSync(join(folder, 'alerts.yml'), JSON.stringify(all)); // which is YAML
      promtool(folder, 'check', 'rules', 'alerts.yml');
      return () => promtool(folder, 'test', 'rules', 'alerts.test.yml');
    };
    for (const { alert } of alerts) assert.throws(never(alert), new RegExp(`alertname: ?${alert}`), alert);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test('each says how bad it is, what it is in words, and where it is written what to do', () => {
  const readme = read('grafana/README.md');
  for (const { alert, labels, annotations } of alerts) {
    assert.match(labels.severity, /^(critical|warning)$/, alert);
    assert.ok(annotations.summary.length > 20 && annotations.description.length > 40, alert);
    assert.equal(annotations.runbook, `grafana/README.md#${alert.toLowerCase()}`);
    const [, section] = readme.match(new RegExp(`^### ${alert}\\n([^#]+)`, 'm')) ?? [];
    for (const part of ['**Means**', '**Look at**', '**Do**']) assert.ok(section?.includes(part), `${alert}: ${part}`);
  }
});
