// Do events flow, where do they wait, what fails?

import { dashboard, line, section } from './board.mjs';
import { from, INSTANCES, PROCESSORS, quantile, query, rate, series, stat, table } from './style.mjs';

const FAILED = rate('cueline_failure_causes_total');
const HANDLED = rate('cueline_events_handled_total', [], PROCESSORS);
const PARKED = `cueline_held_events{${PROCESSORS},state="parked"}`;
const UP = `up{${INSTANCES}}`;

const wrong = line(
  4,
  stat('Instances up', 'Processes that Prometheus reaches.', query(`sum(${UP})`)),
  stat('Instances down', 'Processes that Prometheus does not reach.', query(`count(${UP}) - sum(${UP})`), { thresholds: from([1, 'red']) }),
  stat('Processors down', 'Processors of which no instance is there: they failed and are not back yet, have ended, were stopped, or were given up.', query(`sum(cueline_processor_down{${PROCESSORS}})`), { thresholds: from([1, 'red']) }),
  stat('Failing', 'Of all deliveries, the share that failed: retried, parked, given up, or answered with the failure.', query(`${FAILED} / (${rate('cueline_events_handled_total')} + ${FAILED})`), { unit: 'percentunit', decimals: 2, thresholds: from([0.01, 'orange'], [0.05, 'red']) }),
  stat('Parked', 'Events that wait for a person now.', query(`sum(${PARKED})`), { thresholds: from([1, 'orange'], [100, 'red']) }),
);
const flow = line(
  4,
  stat('Handled', 'Deliveries that succeeded, a second.', query(HANDLED), { unit: 'eps', decimals: 1 }),
  stat('Backlog', 'Events that wait for their first delivery, or are in hand for it.', query(`sum(cueline_queue_events{${PROCESSORS}})`), { thresholds: from([10_000, 'orange'], [1_000_000, 'red']) }),
  stat('Oldest waiting', 'How long the oldest of these has been waiting. It says more than how many there are.', query(`max(cueline_queue_oldest_seconds{${PROCESSORS}})`), { unit: 's', decimals: 1, thresholds: from([10, 'orange'], [60, 'red']) }),
  stat('End to end, p99', 'From the publication of what began it to an outcome, at any processor: ninety-nine of a hundred were faster. To the millisecond, sampled.', query(quantile(0.99, 'cueline_end_to_end_seconds')), { unit: 's', thresholds: from([1, 'orange'], [10, 'red']) }),
);

const by = (metric, how = 'sum') => `${how} by (processor) (${metric}{${PROCESSORS}})`;

const trouble = table(
  'Where is the trouble?',
  'One line for each processor, the one that is furthest behind first. Red: look there first; the board "Processors" has more.',
  'processor',
  [
    { name: 'oldest waiting', expr: by('cueline_queue_oldest_seconds', 'max'), unit: 's', decimals: 1, steps: from([10, 'orange'], [60, 'red']) },
    { name: 'waiting', expr: by('cueline_queue_events'), steps: from([10_000, 'orange'], [1_000_000, 'red']) },
    { name: 'handled', expr: rate('cueline_events_handled_total', ['processor'], PROCESSORS), unit: 'eps', decimals: 1 },
    { name: 'failing', expr: `${rate('cueline_events_retried_total', ['processor'], PROCESSORS)} + ${rate('cueline_events_parked_total', ['processor'], PROCESSORS)}`, unit: 'eps', decimals: 2, steps: from([0.1, 'orange'], [1, 'red']) },
    { name: 'parked', expr: `sum by (processor) (${PARKED})`, steps: from([1, 'orange'], [100, 'red']) },
    { name: 'restarts', expr: `sum by (processor) (increase(cueline_processor_restarts_total{${PROCESSORS}}[$__range]))`, decimals: 0, steps: from([1, 'orange'], [10, 'red']) },
    { name: 'down', expr: by('cueline_processor_down', 'max'), steps: from([1, 'red']) },
    { name: 'takes nothing new', expr: by('cueline_subscription_stopped', 'max'), steps: from([1, 'red']) },
  ],
  'oldest waiting',
);

export default dashboard(
  'cueline-overview',
  'cueline: overview',
  'Whether events flow, where they wait, and what fails.',
  section('Now', wrong, flow),
  section('Processors, the worst first', line(11, trouble)),
  section(
    'Flow',
    line(
      8,
      series('Published and handled', 'Events that got their place in the order, and deliveries that succeeded: one event is delivered to each processor that wants it.', [
        query(rate('cueline_events_published_total'), 'published'),
        query(HANDLED, 'handled'),
      ], { unit: 'eps' }),
      series('What fails, by cause', 'Deliveries that were retried, parked, given up or answered with the failure, at any processor.', query(`${rate('cueline_failure_causes_total', ['cause'])}`, '{{cause}}'), { unit: 'eps', stack: true }),
    ),
    line(
      8,
      series('Backlog', 'The ten processors with the most events that wait.', query(`topk(10, ${by('cueline_queue_events')})`, '{{processor}}')),
      series('Oldest waiting', 'The ten processors that are furthest behind.', query(`topk(10, ${by('cueline_queue_oldest_seconds', 'max')})`, '{{processor}}'), { unit: 's', limit: 60 }),
    ),
    line(
      8,
      series('End to end', 'From the publication of what began it to an outcome, at any processor, to the millisecond; sampled.', [0.5, 0.9, 0.99].map((share) => query(quantile(share, 'cueline_end_to_end_seconds'), `p${share * 100}`)), { unit: 's' }),
      series('Restarts, by cause', 'Instances that were rebuilt.', query(rate('cueline_restart_causes_total', ['cause']), '{{cause}}'), { unit: 'cps', stack: true }),
    ),
  ),
);
