// SPDX-License-Identifier: Apache-2.0

// Checks of what a workflow can do: timers, children, chains, versions, long histories.

import { temporal } from '@temporalio/proto';
import { Check, count, Ctx, decode, equal, Event, has, one, yes } from './features';
import { act } from './checks_activity';
import type { Step } from './workflows';

const RETRY = { initialInterval: 100, backoffCoefficient: 1, maximumAttempts: 3 };
const RetryState = temporal.api.enums.v1.RetryState;

async function status(k: Ctx, run: string): Promise<string> {
  return (await k.handle({ id: k.prefix, run }).describe()).status.name;
}

async function started(k: Ctx, id: string, run: string) {
  return one(await k.events({ id, run }), 'WorkflowExecutionStarted').workflowExecutionStartedEventAttributes!;
}

function millis(event: Event): number {
  return Number(event.eventTime!.seconds) * 1000 + event.eventTime!.nanos! / 1e6;
}

export const checks: Record<string, Check> = {
  async timer(k) {
    const run = await k.start({ op: 'timer', ms: 700 });
    equal('result', await k.results(run), [{ fired: 700 }]);
    const events = await k.events(run);
    const [begun, fired] = [one(events, 'TimerStarted'), one(events, 'TimerFired')];
    const { startToFireTimeout: duration, timerId } = begun.timerStartedEventAttributes!;
    equal('duration', Number(duration!.seconds) * 1000 + duration!.nanos! / 1e6, 700);
    equal('timer', fired.timerFiredEventAttributes!.timerId, timerId);
    const took = millis(fired) - millis(begun);
    yes(`fires after its time, took ${took} ms`, took >= 700 && took < 10_000);
  },

  async timer_cancel(k) {
    const run = await k.start({ op: 'timerCancel', ms: 600_000 });
    await k.until(async () => has(await k.events(run), 'TimerStarted'));
    await k.note(run, 'go');
    equal('result', await k.results(run), [{ kind: 'canceled', details: [] }]);
    const events = await k.events(run);
    const canceled = one(events, 'TimerCanceled').timerCanceledEventAttributes!;
    equal('timer', canceled.timerId, one(events, 'TimerStarted').timerStartedEventAttributes!.timerId);
    yes('never fired', !has(events, 'TimerFired'));
  },

  async workflow_failure(k) {
    const failing = { type: 'Broken', message: 'as told', details: [{ a: 1 }], nonRetryable: true };
    const run = await k.start({ op: 'fail', ...failing });
    equal('failure', await k.failure(run), { kind: 'application', ...failing });
    equal('status', await status(k, ''), 'FAILED');
  },

  async workflow_retry(k) {
    const { id, run: first } = await k.startWith('', { retry: RETRY }, { op: 'failUntil', attempt: 3 });
    equal('result', await k.results({ id, run: first }), [{ attempt: 3 }]);
    equal('status of the first run', await status(k, first), 'FAILED');
    const closed = one(await k.events({ id, run: first }), 'WorkflowExecutionFailed');
    const failed = closed.workflowExecutionFailedEventAttributes!;
    equal('retry state', failed.retryState, RetryState.RETRY_STATE_IN_PROGRESS);
    const begun = await started(k, id, failed.newExecutionRunId!);
    equal('attempt', begun.attempt, 2);
    equal('continued from', begun.continuedExecutionRunId, first);
    equal('first run', begun.firstExecutionRunId, first);
    equal('failure before', begun.continuedFailure?.message, 'attempt 1 fails');
  },

  async workflow_retries_exhausted(k) {
    const run = await k.startWith('', { retry: RETRY }, { op: 'failUntil', attempt: 9 });
    equal('message', (await k.failure(run)).message, 'attempt 3 fails');
    const closed = one(await k.events(k.get()), 'WorkflowExecutionFailed');
    const state = closed.workflowExecutionFailedEventAttributes!.retryState;
    equal('state', state, RetryState.RETRY_STATE_MAXIMUM_ATTEMPTS_REACHED);
  },

  async continue_as_new(k) {
    const middle = { op: 'continue', steps: [{ op: 'timer', ms: 1 }] };
    const handle = await k.startWith('', { memo: { kept: [1, 2] } }, { op: 'continue', steps: [middle] });
    const first = handle.run;
    equal('result', await k.results(handle), [{ fired: 1 }]);
    let run = first;
    const seen = new Set([first]);
    for (let i = 0; i < 2; i++) {
      equal('status', await status(k, run), 'CONTINUED_AS_NEW');
      const closed = one(await k.events({ id: k.prefix, run }), 'WorkflowExecutionContinuedAsNew');
      const next = closed.workflowExecutionContinuedAsNewEventAttributes!.newExecutionRunId!;
      const begun = await started(k, k.prefix, next);
      equal('continued from', begun.continuedExecutionRunId, run);
      equal('first run', begun.firstExecutionRunId, first);
      run = next;
      seen.add(next);
    }
    equal('runs of the chain', seen.size, 3);
    const now = await k.handle(k.get()).describe();
    equal('current run', [now.runId, now.status.name], [run, 'COMPLETED']);
    equal('memo', now.memo, { kept: [1, 2] });
  },

  async run_timeout(k) {
    const run = await k.startWith('', { workflowRunTimeout: 700 }, { op: 'wait', n: 1 });
    const got = await k.failure(run);
    equal('failure', [got.kind, got.timeout], ['timeout', 'StartToClose']);
    equal('status', await status(k, ''), 'TIMED_OUT');
    one(await k.events(run), 'WorkflowExecutionTimedOut');
  },

  // Ends a chain of runs, none of which lasts as long as the limit.
  async execution_timeout(k) {
    let steps: Step[] = [{ op: 'wait', n: 1 }];
    for (let i = 0; i < 3; i++) {
      steps = [{ op: 'timer', ms: 300 }, { op: 'continue', steps }];
    }
    const run = await k.startWith('', { workflowExecutionTimeout: 1500 }, ...steps);
    const got = await k.failure(run);
    equal('failure', [got.kind, got.timeout], ['timeout', 'StartToClose']);
    const now = await k.handle(k.get()).describe();
    equal('status', now.status.name, 'TIMED_OUT');
    yes('it was a later run', now.runId !== run.run);
  },

  async child_workflow(k) {
    const fails = { op: 'fail', type: 'Broken', message: 'child fails', nonRetryable: true };
    const run = await k.start(
      { op: 'child', id: k.prefix + '-good', steps: [act('echo', { from: 'child' })] },
      { op: 'child', id: k.prefix + '-bad', steps: [fails], catch: true },
    );
    const [good, bad] = await k.results(run);
    equal("child's result", good.results, [{ from: 'child' }]);
    equal('kind', [bad.kind, bad.workflow], ['child', 'Script']);
    equal('cause', [bad.cause.type, bad.cause.message], ['Broken', 'child fails']);
    const events = await k.events(run);
    one(events, 'ChildWorkflowExecutionFailed');
    const done = one(events, 'ChildWorkflowExecutionCompleted');
    const child = done.childWorkflowExecutionCompletedEventAttributes!.workflowExecution!.runId!;
    const { parentWorkflowExecution: parent } = await started(k, k.prefix + '-good', child);
    equal('parent', parent!.workflowId, run.id);
    equal("parent's run", parent!.runId, run.run);
  },

  async child_close_policy(k) {
    const detached = (tail: string, close: Step['close']): Step => ({
      op: 'child',
      id: k.prefix + tail,
      close,
      detach: true,
      steps: [{ op: 'wait', n: 1 }],
    });
    await k.run(
      detached('-terminate', 'TERMINATE'),
      detached('-abandon', 'ABANDON'),
      detached('-cancel', 'REQUEST_CANCEL'),
    );
    equal('kind', (await k.failure(k.get('-terminate'))).kind, 'terminated');
    equal('kind', (await k.failure(k.get('-cancel'))).kind, 'canceled');
    await k.note(k.get('-abandon'), 'bye');
    equal('notes', (await k.result(k.get('-abandon'))).notes, ['bye']);
  },

  async signal_external(k) {
    const listener = await k.startWith('-listener', {}, { op: 'wait', n: 1 });
    const tell = { op: 'tell', value: { hello: 1 }, catch: true };
    const run = await k.start({ ...tell, id: listener.id }, { ...tell, id: k.prefix + '-missing' });
    const [told, missed] = await k.results(run);
    equal('told', told, 'told');
    yes(`a failure, not ${JSON.stringify(missed)}`, missed !== 'told' && missed.kind);
    equal('notes', (await k.result(listener)).notes, [{ hello: 1 }]);
    const events = await k.events(run);
    one(events, 'ExternalWorkflowExecutionSignaled');
    one(events, 'SignalExternalWorkflowExecutionFailed');
  },

  // A version chosen once stays chosen in the replay for a query.
  async version_marker(k) {
    const better = { op: 'patch', id: 'better' };
    const run = await k.startWith('', { taskQueue: k.nocache }, better, act('echo', 'x'), better);
    equal('result', await k.results(run), [1, 'x', 1]);
    one(await k.events(run), 'MarkerRecorded');
    equal('replayed', (await k.query(run)).results, [1, 'x', 1]);
  },

  // A random value stays what it was in the replay for a query.
  async side_effect(k) {
    const side = { op: 'side' };
    const run = await k.startWith('', { taskQueue: k.nocache }, side, act('echo', 'x'), side);
    const got = await k.results(run);
    yes('two different values', got[0] !== got[2] && got[0].length === 36 && got[2].length === 36);
    equal('replayed', (await k.query(run)).results, got);
  },

  // Over 300 events without a cache: every workflow task replays everything, page by page.
  async long_history(k) {
    const want = Array.from({ length: 55 }, (_, i) => ({ i, pad: 'x'.repeat(500) }));
    const steps = want.map((arg) => act('echo', arg));
    const run = await k.startWith('', { taskQueue: k.nocache }, ...steps);
    equal('result', await k.results(run), want);
    const events = await k.events(run);
    yes(`over 300 events, not ${events.length}`, events.length > 300);
    equal('event ids', events.map((event) => Number(event.eventId)), events.map((_, i) => i + 1));
    const scheduled = events.flatMap((event) => event.activityTaskScheduledEventAttributes ?? []);
    equal('inputs', scheduled.map((at) => decode(at.input)), want);
    equal('failed workflow tasks', count(events, 'WorkflowTaskFailed'), 0);
    let paged = 0;
    let token: Uint8Array | undefined;
    do {
      const page = await k.service.getWorkflowExecutionHistory({
        namespace: k.o.namespace,
        execution: { workflowId: run.id, runId: run.run },
        maximumPageSize: 50,
        nextPageToken: token,
      });
      paged += page.history!.events!.length;
      token = page.nextPageToken;
    } while (token?.length);
    equal('events read in pages of 50', paged, events.length);
    equal('replayed', (await k.query(run)).results, want);
  },
};
