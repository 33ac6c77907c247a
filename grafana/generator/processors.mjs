// Each processor: what it does, how long that takes, how often it fails, whether it is there.

import { dashboard, line, section } from './board.mjs';
import { INSTANCES, longer, mean, PROCESSORS, query, rate, series, stat, timeline, from } from './style.mjs';

const each = (metric) => query(rate(metric, ['processor'], PROCESSORS), '{{processor}}');
const now = (metric) => query(`max by (processor) (${metric}{${PROCESSORS}})`, '{{processor}}');

export default dashboard(
  'cueline-processors',
  'cueline: processors',
  'What each processor does, how long it takes, how often it fails, and whether it is there.',
  section(
    'Work',
    line(
      8,
      series('Handled', 'Deliveries that succeeded.', each('cueline_events_handled_total'), { unit: 'eps' }),
      series('In hand', 'Events that are being handled: so many instances are at one now.', query(`sum by (processor) (cueline_in_hand_events{${PROCESSORS}})`, '{{processor}}')),
    ),
    line(
      8,
      series('Waiting', 'Events that wait for their first delivery, or are in hand for it.', query(`sum by (processor) (cueline_queue_events{${PROCESSORS}})`, '{{processor}}')),
      series('Left out by filters', 'Deliveries that a filter left out, at any processor.', query(rate('cueline_events_filtered_total'), 'left out'), { unit: 'eps' }),
    ),
  ),
  section(
    'Time',
    line(
      8,
      series('Handling, mean', 'From the start of a handler to its outcome; sampled.', query(mean('cueline_handling_seconds', ['processor'], PROCESSORS), '{{processor}}'), { unit: 's' }),
      series('Handled in more than 10 ms', 'The share of handlers that took longer than that; sampled.', query(longer('0.01', 'cueline_handling_seconds', ['processor'], PROCESSORS), '{{processor}}'), { unit: 'percentunit', max: 1 }),
    ),
    line(
      8,
      series('Waiting, mean', 'From an event\'s place in the order to the start of its handler; sampled.', query(mean('cueline_waiting_seconds', ['processor'], PROCESSORS), '{{processor}}'), { unit: 's' }),
      series('Waited more than a second', 'The share of events that waited longer than that; sampled.', query(longer('1', 'cueline_waiting_seconds', ['processor'], PROCESSORS), '{{processor}}'), { unit: 'percentunit', max: 1 }),
    ),
  ),
  section(
    'Failures',
    line(
      8,
      series('Retried', 'Deliveries that failed and are tried again.', each('cueline_events_retried_total'), { unit: 'eps' }),
      series('Parked', 'Events that failed for good, and wait for a person.', each('cueline_events_parked_total'), { unit: 'eps' }),
      series('Held', 'Events that failed: tried again later, parked, or waiting behind a parked one of their key.', query(`sum by (state) (cueline_held_events{${PROCESSORS}})`, '{{state}}'), { stack: true }),
    ),
    line(
      8,
      series('Failures of hooks', 'Of what runs by the clock, or when a processor stops.', query(rate('cueline_hook_failures_total', ['hook']), '{{hook}}'), { unit: 'cps' }),
      series('Panics outside of handlers', 'Panics of user code that were contained: in `Drop`, in observers, in keys.', query(rate('cueline_panics_contained_total', ['during']), '{{during}}'), { unit: 'cps' }),
      stat('Threads lost', 'Threads that were stuck in user code, and were given up, since the processes started.', query(`sum(cueline_threads_lost_total{${INSTANCES}})`), { thresholds: from([1, 'red']) }),
    ),
  ),
  section(
    'Supervision',
    line(
      8,
      series('Restarts, by processor', 'Instances that were rebuilt.', each('cueline_processor_restarts_total'), { unit: 'cps' }),
      series('Restarts, by cause', 'Instances that were rebuilt, at any processor.', query(rate('cueline_restart_causes_total', ['cause']), '{{cause}}'), { unit: 'cps', stack: true }),
      series('From a failure to a new instance', 'How long restarts took; the mean.', query(mean('cueline_restart_seconds', []), 'mean'), { unit: 's' }),
    ),
    line(
      9,
      timeline('Up and down', 'Red: in at least one process no instance of the processor is there.', now('cueline_processor_down'), ['up', 'down']),
      timeline('Takes nothing new', 'Red: in at least one process too many of its events are held; what comes waits at the door.', now('cueline_subscription_stopped'), ['takes events', 'takes nothing new']),
    ),
    line(
      8,
      series('Failures that supervisors were charged with', 'Children that were restarted by their supervisor.', query(rate('cueline_supervisor_restarts_total', ['supervisor']), '{{supervisor}}'), { unit: 'cps' }),
      series('Supervisors that gave up', 'They failed too often, and left the matter to the one above.', query(rate('cueline_supervisor_gave_up_total', ['supervisor']), '{{supervisor}}'), { unit: 'cps' }),
      series('Time until children ran again', 'Seconds a second that children were not there, back-off included.', query(rate('cueline_recovery_seconds_sum'), 'not there'), { unit: 'percentunit' }),
      series('Instances that could not be built', 'Their factory failed, or what they do when they start.', each('cueline_processor_start_failures_total'), { unit: 'cps' }),
    ),
  ),
);
