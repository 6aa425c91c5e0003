// SPDX-License-Identifier: Apache-2.0

// Checks of activities, local activities and asynchronous completion.

import { ApplicationFailure } from '@temporalio/common';
import { temporal } from '@temporalio/proto';
import { Check, count, Ctx, decode, equal, has, kinds, one, yes } from './features';
import type { Plain } from './failures';
import type { Opts, Step } from './workflows';

type Pending = temporal.api.workflow.v1.IPendingActivityInfo;
const States = temporal.api.enums.v1.PendingActivityState;

const PAYLOAD = {
  text: 'zażółć 漢字 \u{1f642} "quoted" \\ \n\t',
  int: 2 ** 40,
  negative: -1,
  float: 1.5,
  yes: true,
  nothing: null,
  list: [1, [2, { x: 'y' }]],
  empty: {},
};

export function act(name: string, arg: unknown = null, opts: Opts = {}, more: Partial<Step> = {}): Step {
  return { op: 'act', name, arg, opts, ...more };
}

const CATCH = { catch: true };
const LOCAL = { local: true };

/** The one pending activity of the check's workflow. */
async function pending(k: Ctx): Promise<Pending | undefined> {
  return (await k.handle(k.get()).describe()).raw.pendingActivities?.[0];
}

function beat(activity: Pending | undefined): any {
  return activity?.heartbeatDetails?.payloads?.length ? decode(activity.heartbeatDetails) : undefined;
}

async function timedOut(k: Ctx, step: Step, tail = ''): Promise<Plain> {
  const [got] = await k.results(await k.startWith(tail, {}, { ...step, catch: true }));
  equal('kind', [got.kind, got.cause.kind], ['activity', 'timeout']);
  return got;
}

/** What the `later` activity told about itself, once the server knows it. */
function waitingToken(k: Ctx): Promise<{ token: string; activityId: string }> {
  return k.until(async () => beat(await pending(k)));
}

export const checks: Record<string, Check> = {
  async activity_payload(k) {
    const run = await k.start(act('echo', PAYLOAD));
    equal('result', await k.results(run), [PAYLOAD]);
    const events = await k.events(run);
    const scheduled = one(events, 'ActivityTaskScheduled').activityTaskScheduledEventAttributes!;
    equal('activity type', scheduled.activityType!.name, 'echo');
    const encoding = scheduled.input!.payloads![0].metadata!.encoding;
    equal('encoding', Buffer.from(encoding).toString(), 'json/plain');
    equal('input in history', decode(scheduled.input), PAYLOAD);
    const done = one(events, 'ActivityTaskCompleted').activityTaskCompletedEventAttributes!;
    equal('result in history', decode(done.result), PAYLOAD);
    equal('scheduled event', kinds(events)[Number(done.scheduledEventId) - 1], 'ActivityTaskScheduled');
    equal('started event', kinds(events)[Number(done.startedEventId) - 1], 'ActivityTaskStarted');
  },

  async activity_retry(k) {
    const run = await k.start(act('failUntil', { attempt: 3 }));
    equal('result', await k.results(run), [{ attempt: 3 }]);
    const started = one(await k.events(run), 'ActivityTaskStarted').activityTaskStartedEventAttributes!;
    equal('attempt', started.attempt, 3);
    equal('last failure', started.lastFailure?.message, 'attempt 2 fails');
  },

  async activity_retries_exhausted(k) {
    const [got] = await k.run(act('failUntil', { attempt: 99 }, { max: 2 }, CATCH));
    equal('kind', [got.kind, got.retry], ['activity', 'MaximumAttemptsReached']);
    equal('cause', [got.cause.kind, got.cause.type], ['application', 'Flaky']);
    equal('message', got.cause.message, 'attempt 2 fails');
  },

  async activity_nonretryable(k) {
    const failing = { type: 'Fatal', message: 'never', details: [1, 'two'], nonRetryable: true };
    const [got] = await k.run(act('fail', failing, {}, CATCH));
    equal('kind', [got.kind, got.retry], ['activity', 'NonRetryableFailure']);
    equal('activity', got.activity, 'fail');
    equal('cause', got.cause, { kind: 'application', ...failing });
  },

  async activity_nonretryable_type(k) {
    const failing = { type: 'Typed', message: 'by type', details: [] };
    const run = await k.start(act('fail', failing, { nonRetryable: ['Typed'] }, CATCH));
    const [got] = await k.results(run);
    equal('kind', [got.kind, got.retry], ['activity', 'NonRetryableFailure']);
    equal('cause', [got.cause.type, got.cause.message], ['Typed', 'by type']);
    const started = one(await k.events(run), 'ActivityTaskStarted');
    equal('attempt', started.activityTaskStartedEventAttributes!.attempt, 1);
  },

  async activity_heartbeat_resume(k) {
    const [got] = await k.run(act('resume', { steps: 3 }, { hb: 5000 }));
    equal('result', got, { resumed: 3, attempt: 2 });
  },

  async activity_timeout_start_to_close(k) {
    const got = await timedOut(k, act('nap', { ms: 3000 }, { stc: 300, max: 1 }));
    equal('timeout', got.cause.timeout, 'StartToClose');
    equal('retry', got.retry, 'MaximumAttemptsReached');
  },

  async activity_timeout_heartbeat(k) {
    const got = await timedOut(k, act('nap', { ms: 3000, beats: 1 }, { hb: 500, max: 1 }));
    equal('timeout', got.cause.timeout, 'Heartbeat');
    equal('details', got.cause.details, [{ beat: 1 }]);
  },

  async activity_timeout_schedule_to_start(k) {
    const got = await timedOut(k, act('echo', 1, { sts: 300, queue: k.nobody }));
    equal('timeout', got.cause.timeout, 'ScheduleToStart');
  },

  // No retry that would begin after the deadline: it ends at once, with the last failure.
  async activity_timeout_schedule_to_close(k) {
    const failing = act('failUntil', { attempt: 9 }, { s2c: 2000, backoff: 60_000 }, CATCH);
    const [got] = await k.run(failing);
    equal('kind', [got.kind, got.retry], ['activity', 'Timeout']);
    equal('cause', got.cause.message, 'attempt 1 fails');
    const napping = await timedOut(k, act('nap', { ms: 3000 }, { s2c: 300 }), '-nap');
    equal('timeout', napping.cause.timeout, 'ScheduleToClose');
  },

  async activity_cancel(k) {
    const opts = { stc: 90_000, hb: 5000 };
    const napping = act('nap', { ms: 60_000, beats: -1 }, opts, { ...CATCH, op: 'actCancel' });
    const run = await k.start(napping);
    await k.until(async () => beat(await pending(k)));
    await k.note(run, 'go');
    const [got] = await k.results(run);
    equal('kind', [got.kind, got.cause.kind], ['activity', 'canceled']);
    const events = await k.events(run);
    const asked = one(events, 'ActivityTaskCancelRequested').activityTaskCancelRequestedEventAttributes!;
    const ended = one(events, 'ActivityTaskCanceled').activityTaskCanceledEventAttributes!;
    equal('scheduled event', Number(asked.scheduledEventId), Number(ended.scheduledEventId));
    yes('the activity had started', has(events, 'ActivityTaskStarted'));
  },

  async activity_cancel_unstarted(k) {
    const waiting = act('echo', 1, { queue: k.nobody }, { ...CATCH, op: 'actCancel' });
    const run = await k.start(waiting);
    await k.until(() => pending(k));
    await k.note(run, 'go');
    const [got] = await k.results(run);
    equal('kind', [got.kind, got.cause.kind], ['activity', 'canceled']);
    const events = await k.events(run);
    one(events, 'ActivityTaskCanceled');
    yes('the activity never started', !has(events, 'ActivityTaskStarted'));
  },

  async async_complete_token(k) {
    const run = await k.start(act('later', null, { hb: 30_000 }));
    const token = Buffer.from((await waitingToken(k)).token, 'base64');
    await k.client.activity.heartbeat(token, { from: 'outside' });
    equal('details', beat(await pending(k)), { from: 'outside' });
    await k.client.activity.complete(token, { by: 'token' });
    equal('result', await k.results(run), [{ by: 'token' }]);
  },

  async async_complete_id(k) {
    const run = await k.start(act('later', null, { hb: 30_000 }));
    const at = { workflowId: run.id, activityId: (await waitingToken(k)).activityId };
    await k.client.activity.heartbeat(at, { from: 'id' });
    equal('details', beat(await pending(k)), { from: 'id' });
    await k.client.activity.complete(at, { by: 'id' });
    equal('result', await k.results(run), [{ by: 'id' }]);
  },

  async async_fail_id(k) {
    const run = await k.start(act('later', null, {}, CATCH));
    const { activityId } = await waitingToken(k);
    const at = { workflowId: run.id, runId: run.run, activityId };
    await k.client.activity.fail(at, ApplicationFailure.nonRetryable('from outside', 'Remote'));
    const [got] = await k.results(run);
    equal('kind', [got.kind, got.retry], ['activity', 'NonRetryableFailure']);
    equal('cause', [got.cause.type, got.cause.message], ['Remote', 'from outside']);
  },

  async local_activity(k) {
    const run = await k.start(act('echo', PAYLOAD, {}, LOCAL));
    equal('result', await k.results(run), [PAYLOAD]);
    const events = await k.events(run);
    one(events, 'MarkerRecorded');
    yes('nothing was scheduled', !has(events, 'ActivityTaskScheduled'));
  },

  async local_activity_retry(k) {
    const run = await k.start(act('failUntil', { attempt: 3 }, {}, LOCAL));
    equal('result', await k.results(run), [{ attempt: 3 }]);
    one(await k.events(run), 'MarkerRecorded');
  },

  // Longer than the workflow task's timeout: the worker keeps the task alive.
  async local_activity_long(k) {
    const opts = { workflowTaskTimeout: 2000 };
    const run = await k.startWith('', opts, act('nap', { ms: 5000 }, {}, LOCAL));
    equal('result', await k.results(run), [{ slept: 5000 }]);
    const events = await k.events(run);
    yes('no workflow task timed out', !has(events, 'WorkflowTaskTimedOut'));
    yes('several workflow tasks', count(events, 'WorkflowTaskCompleted') >= 2);
  },

  async large_payload(k) {
    const text = Array.from({ length: 1_000_000 }, (_, i) => String.fromCharCode(97 + ((i * 7) % 26))).join('');
    const [got] = await k.run(act('echo', text));
    yes('1 MB comes back unchanged', got === text);
  },

  async describe_pending_activity(k) {
    const failing = act('failUntil', { attempt: 9 }, { backoff: 60_000, max: 7 });
    let run = await k.start(failing);
    const retrying = await k.until(async () => {
      const activity = await pending(k);
      return activity?.attempt === 2 ? activity : undefined;
    });
    equal('state', retrying.state, States.PENDING_ACTIVITY_STATE_SCHEDULED);
    equal('type', retrying.activityType!.name, 'failUntil');
    equal('maximum attempts', retrying.maximumAttempts, 7);
    equal('last failure', retrying.lastFailure?.message, 'attempt 1 fails');
    const seconds = (time: typeof retrying.nextAttemptScheduleTime): number =>
      Number(time!.seconds) + time!.nanos! / 1e9;
    const wait = seconds(retrying.nextAttemptScheduleTime) - seconds(retrying.lastAttemptCompleteTime);
    yes(`next attempt in a minute, not ${wait}`, wait > 59 && wait < 61);
    await k.handle(run).terminate('checked');

    run = await k.start(act('nap', { ms: 60_000, beats: -1 }, { stc: 90_000, hb: 5000 }));
    const beating = await k.until(async () => {
      const activity = await pending(k);
      return beat(activity) ? activity : undefined;
    });
    equal('state', beating.state, States.PENDING_ACTIVITY_STATE_STARTED);
    equal('attempt', beating.attempt, 1);
    yes('heartbeat details', beat(beating).beat >= 1);
    yes('heartbeat time', Number(beating.lastHeartbeatTime!.seconds) > 0);
    await k.handle(run).terminate('checked');
  },
};
