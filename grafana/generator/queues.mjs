// What lies in queues and in the log, what goes in and out, what the disk does.

import { dashboard, line, section } from './board.mjs';
import { from, INSTANCES, PROCESSORS, quantile, query, rate, series, stat } from './style.mjs';

const of = (metric, how = 'sum') => query(`${how} by (processor) (${metric}{${PROCESSORS}})`, '{{processor}}');
const all = (metric, how = 'sum') => query(`${how}(${metric}{${INSTANCES}})`);
const subscription = (metric) => query(`max by (subscription) (${metric}{${INSTANCES},subscription=~"$processor"})`, '{{subscription}}');

export default dashboard(
  'cueline-queues',
  'cueline: queues and log',
  'How much waits and for how long, what goes in and out, and what the log and its disk do.',
  section(
    'Queues',
    line(
      8,
      series('Depth', 'Events that wait for their first delivery, or are in hand for it.', of('cueline_queue_events')),
      series('Age', 'How long the oldest of them has been waiting.', of('cueline_queue_oldest_seconds', 'max'), { unit: 's', limit: 60 }),
      series('Weight', 'What they weigh in memory.', of('cueline_queue_bytes'), { unit: 'bytes' }),
    ),
    line(
      11,
      series('In', 'Events that got their place in the order.', query(rate('cueline_events_published_total', ['topic']), '{{topic}}'), { unit: 'eps' }),
      series('Out', 'Deliveries that succeeded.', query(rate('cueline_events_handled_total', ['processor'], PROCESSORS), '{{processor}}'), { unit: 'eps' }),
    ),
    line(
      8,
      series('Refused', 'Events that found no room at the door.', query(rate('cueline_events_refused_total', ['topic']), '{{topic}}'), { unit: 'eps' }),
      series('Refused, by how', 'Dropped: `tell` does not say so to whoever called it. Returned: `try_publish` does.', query(rate('cueline_refusals_total', ['how']), '{{how}}'), { unit: 'eps' }),
      series('Wanted by nobody', 'Events that no subscription wants.', query(rate('cueline_events_unrouted_total', ['topic']), '{{topic}}'), { unit: 'eps' }),
    ),
    line(
      8,
      series('Dropped', 'Events that nobody has any more: dropped by a rule, missed, lost, or discarded by a person.', query(rate('cueline_events_dropped_total', ['processor'], PROCESSORS), '{{processor}}'), { unit: 'eps' }),
      series('Dropped, by reason', 'The same events, at any processor.', query(rate('cueline_drop_reasons_total', ['reason']), '{{reason}}'), { unit: 'eps' }),
      series('Published twice', 'Events that had been published under their key before, and were not again.', query(rate('cueline_events_duplicate_total'), 'known already'), { unit: 'eps' }),
    ),
  ),
  section(
    'Log',
    line(
      4,
      stat('On disk', 'What the log takes.', all('cueline_log_disk_bytes'), { unit: 'bytes' }),
      stat('Segments', 'Files of the log.', all('cueline_log_segments')),
      stat('Short of space', 'Instances that take in nothing new because the disk is full, or the log at its limit.', all('cueline_log_short_of_space'), { thresholds: from([1, 'red']) }),
      stat('Being written for', 'How long what is being written now has taken so far: a disk that is slow, or stands still.', all('cueline_log_writing_seconds', 'max'), { unit: 's', thresholds: from([1, 'orange'], [5, 'red']) }),
      stat('Damaged frames', 'Frames that were found damaged while the log was read: what they held is not delivered.', all('cueline_log_damaged_frames_total'), { thresholds: from([1, 'red']) }),
      stat('Recovery', 'How long it took to open the log.', all('cueline_log_recovery_seconds', 'max'), { unit: 's', thresholds: from([10, 'orange'], [60, 'red']) }),
    ),
    line(
      8,
      series('Commits and writes', 'A write takes along all commits that wait.', [
        query(rate('cueline_log_commits_total'), 'commits'),
        query(rate('cueline_log_writes_total'), 'writes'),
      ], { unit: 'iops' }),
      series('Commits in one write', 'How many go to disk together: more when there is more to do, and the cheaper each.', query(`${rate('cueline_log_commits_total')} / ${rate('cueline_log_writes_total')}`, 'commits'), {}),
      series('Written', 'Bytes a second: what is published and handled, and what is written anew to drop what nobody needs.', [
        query(rate('cueline_log_bytes_total'), 'log'),
        query(rate('cueline_log_compacted_bytes_total'), 'compaction'),
      ], { unit: 'Bps' }),
    ),
    line(
      8,
      series('Until it is on disk', 'How long it took to write what waited and to have it on disk.', [0.5, 0.9, 0.99].map((share) => query(quantile(share, 'cueline_log_sync_seconds'), `p${share * 100}`)), { unit: 's' }),
      series('Checkpoints', 'Seconds a second that checkpoints were being written, pauses included.', query(rate('cueline_log_checkpoint_seconds_sum'), 'busy'), { unit: 'percentunit' }),
      series('Failures', 'Times that the log could not be written or synced, and was written anew in another segment.', query(rate('cueline_log_failures_total'), 'failures'), { unit: 'cps' }),
    ),
    line(
      8,
      series('Lag', 'Events of all channels behind the first one that a subscription still needs; also of those whose processor is not there any more.', subscription('cueline_log_lag_events')),
      series('Kept for', 'Bytes of the log that are kept for a subscription, and perhaps for others.', subscription('cueline_log_held_bytes'), { unit: 'bytes' }),
    ),
  ),
);
