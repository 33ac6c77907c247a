// Mediators and their workflows, requests, and what waits for a person.

import { dashboard, line, section } from './board.mjs';
import { from, INSTANCES, longer, mean, PROCESSORS, quantile, query, rate, series, stat } from './style.mjs';

const STOPPED = 'stuck|diverged|foreign_wait|no_code|too_long|panicked|damaged';
const workflows = (state) => `sum(cueline_workflows{${INSTANCES},state=~"${state}"})`;
const oldest = (metric) => query(`max by (mediator) (${metric}{${INSTANCES}})`, '{{mediator}}');

export default dashboard(
  'cueline-workflows',
  'cueline: workflows, requests and repair',
  'How workflows come along, how requests end, and what waits for a person.',
  section(
    'Workflows',
    line(
      4,
      stat('Running', 'Workflows that have not ended, and can go on.', query(workflows('running'))),
      stat('Compensating', 'Workflows that make up for what they did.', query(workflows('compensating')), { thresholds: from([1, 'orange']) }),
      stat('Cannot go on', 'Workflows that wait for a person: stuck, or their code does not fit to their history.', query(workflows(STOPPED)), { thresholds: from([1, 'red']) }),
      stat('Oldest', 'How long ago the oldest of these began.', query(`max(cueline_workflow_oldest_seconds{${INSTANCES}})`), { unit: 's' }),
      stat('Oldest step', 'How long the oldest command that a workflow waits for has been under way.', query(`max(cueline_workflow_step_oldest_seconds{${INSTANCES}})`), { unit: 's', thresholds: from([60, 'orange'], [600, 'red']) }),
    ),
    line(
      8,
      series('Started', 'Workflows that began.', query(rate('cueline_workflows_started_total', ['workflow']), '{{workflow}}'), { unit: 'cps' }),
      series('Ended, by outcome', 'Those that failed or were cancelled have made up for what they did.', query(rate('cueline_workflows_ended_total', ['workflow', 'outcome']), '{{workflow}}: {{outcome}}'), { unit: 'cps' }),
      series('There, by state', 'Workflows that have not ended.', query(`sum by (state) (cueline_workflows{${INSTANCES}})`, '{{state}}'), { stack: true }),
    ),
    line(
      8,
      series('From begin to end, mean', 'The time while no process ran included; to the millisecond.', query(mean('cueline_workflow_seconds', ['workflow']), '{{workflow}}'), { unit: 's' }),
      series('Took more than ten seconds', 'The share of the workflows that ended.', query(longer('10', 'cueline_workflow_seconds', ['workflow']), '{{workflow}}'), { unit: 'percentunit', max: 1 }),
    ),
    line(
      8,
      series('Steps', 'From sending a command to its result reaching the workflow; sampled.', [0.5, 0.9, 0.99].map((share) => query(quantile(share, 'cueline_workflow_step_seconds'), `p${share * 100}`)), { unit: 's' }),
      series('Oldest, by mediator', 'How long ago the oldest workflow began.', oldest('cueline_workflow_oldest_seconds'), { unit: 's' }),
      series('Oldest step, by mediator', 'How long the oldest command that a workflow waits for has been under way.', oldest('cueline_workflow_step_oldest_seconds'), { unit: 's', limit: 600 }),
    ),
    line(
      8,
      series('Came into a state', 'Workflows that began to compensate, got stuck, diverged, or run again.', query(rate('cueline_workflow_state_changes_total', ['workflow', 'state']), '{{workflow}}: {{state}}'), { unit: 'cps' }),
      series('Came for nobody', 'Results of abandoned steps, events that no workflow expects, events that one had not taken when it ended.', query(rate('cueline_workflow_missed_total', ['what']), '{{what}}'), { unit: 'eps' }),
    ),
  ),
  section(
    'Requests',
    line(
      8,
      series('Ended, by outcome', 'Requests that are over.', query(rate('cueline_requests_total', ['outcome']), '{{outcome}}'), { unit: 'reqps' }),
      series('Mean', 'From a request to its end; sampled.', query(mean('cueline_request_seconds', ['command']), '{{command}}'), { unit: 's' }),
      series('Took more than 100 ms', 'The share of requests that took longer than that; sampled.', query(longer('0.1', 'cueline_request_seconds', ['command']), '{{command}}'), { unit: 'percentunit', max: 1 }),
    ),
    line(
      8,
      series('Commands that failed for good', 'Whoever asked was told.', query(rate('cueline_commands_failed_total', ['command']), '{{command}}'), { unit: 'eps' }),
      series('Replies that came too late', 'Nobody waited for them any more.', query(rate('cueline_replies_dropped_total', ['command']), '{{command}}'), { unit: 'eps' }),
    ),
  ),
  section(
    'Repair',
    line(
      8,
      series('Parked now', 'Events that wait for a person.', query(`sum by (processor) (cueline_held_events{${PROCESSORS},state="parked"})`, '{{processor}}')),
      series('Waiting behind parked ones', 'Events of the same key, which follow in order.', query(`sum by (processor) (cueline_held_events{${PROCESSORS},state="waiting_behind"})`, '{{processor}}')),
      series('Handed back and discarded', 'What persons, or code, did about parked events.', [
        query(rate('cueline_events_resubmitted_total'), 'handed back'),
        query(rate('cueline_drop_reasons_total', [], `${INSTANCES},reason="discarded"`), 'discarded'),
      ], { unit: 'eps' }),
    ),
  ),
);
