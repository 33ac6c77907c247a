// What `docker compose up` starts is pinned, mounts what is there, and listens on the loopback address only.
// It is not started here: that takes a Docker engine, and two images.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import test from 'node:test';

import { parse } from 'yaml';

import { dashboards, read, root } from './project.mjs';

const { services, volumes } = parse(read('grafana/compose.yaml'));
const yaml = (path) => parse(read(`grafana/${path}`));

test('images are pinned, and what they mount is there', () => {
  for (const [name, { image, volumes: mounts }] of Object.entries(services)) {
    assert.match(image, /:v?\d+\.\d+\.\d+$/, name);
    for (const [from] of mounts.map((mount) => mount.split(':'))) {
      assert.ok(from in volumes || existsSync(join(root, 'grafana', from)), `${name}: ${from}`);
    }
  }
});

test('both listen on the loopback address', () => {
  assert.ok(services.prometheus.command.includes('--web.listen-address=127.0.0.1:9090'));
  assert.equal(services.grafana.environment.GF_SERVER_HTTP_ADDR, '127.0.0.1');
});

test('Prometheus takes its configuration, and scrapes where blizzard serves', () => {
  execFileSync('promtool', ['check', 'config', join(root, 'grafana/prometheus.yml')], { stdio: 'pipe' });
  const [{ job_name, static_configs }] = yaml('prometheus.yml').scrape_configs;
  assert.equal(job_name, 'cueline');
  assert.deepEqual(static_configs, [{ targets: ['127.0.0.1:9600'] }]);
});

test('Grafana finds Prometheus and the dashboards', () => {
  const [source] = yaml('provisioning/datasources/prometheus.yml').datasources;
  assert.deepEqual([source.type, source.url, source.isDefault], ['prometheus', 'http://127.0.0.1:9090', true]);
  const [provider] = yaml('provisioning/dashboards/cueline.yml').providers;
  const mounted = services.grafana.volumes.map((mount) => mount.split(':')).find(([from]) => from === './dashboards');
  assert.equal(provider.options.path, mounted[1]);
  assert.equal(services.grafana.environment.GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH, `${mounted[1]}/overview.json`);
  assert.ok(dashboards.overview);
});
