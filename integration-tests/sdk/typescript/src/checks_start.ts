// SPDX-License-Identifier: Apache-2.0

// Checks of starting (id policies; request ids that make a repeated call harmless), of ending a
// workflow from outside, and of describing one.

import { randomUUID } from 'node:crypto';
import { isGrpcServiceError } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { google, temporal } from '@temporalio/proto';
import { wait } from './checks_query';
import { Check, count, Ctx, decode, equal, fail, has, kinds, notFound, one, raised, yes } from './features';
import { payloads } from './orders';
import type { Step } from './workflows';

const { WorkflowIdConflictPolicy: Conflict, WorkflowIdReusePolicy: Reuse } = temporal.api.enums.v1;
const { WorkflowExecutionAlreadyStartedFailure } = temporal.api.errordetails.v1;

type StartRequest = temporal.api.workflowservice.v1.IStartWorkflowExecutionRequest;

function request(k: Ctx, more: StartRequest, ...steps: Step[]): StartRequest {
  return {
    namespace: k.o.namespace,
    workflowId: k.prefix,
    workflowType: { name: 'Script' },
    taskQueue: { name: k.queue },
    input: payloads({ steps }),
    requestId: randomUUID(),
    identity: 'repeater',
    ...more,
  };
}

/** A start that must fail because the id is taken; gives the run that the error names, which the
 *  SDK's own error does not carry. */
async function refused(k: Ctx, more: StartRequest, ...steps: Step[]): Promise<string> {
  try {
    await k.service.startWorkflowExecution(request(k, more, ...steps));
  } catch (err) {
    if (!isGrpcServiceError(err)) {
      throw err;
    }
    equal('status', err.code, 6);
    const status = google.rpc.Status.decode(err.metadata.get('grpc-status-details-bin')[0] as Buffer);
    const name = status.details[0].type_url!.split('/')[1];
    equal('details', name, 'temporal.api.errordetails.v1.WorkflowExecutionAlreadyStartedFailure');
    return WorkflowExecutionAlreadyStartedFailure.decode(status.details[0].value!).runId;
  }
  return fail('started, want AlreadyExists');
}

export const checks: Record<string, Check> = {
  async id_conflict_fail(k) {
    const first = await k.start(wait(1));
    await raised(WorkflowExecutionAlreadyStartedError, k.start(wait(1)));
    for (const policy of [
      Conflict.WORKFLOW_ID_CONFLICT_POLICY_UNSPECIFIED,
      Conflict.WORKFLOW_ID_CONFLICT_POLICY_FAIL,
    ]) {
      const run = await refused(k, { workflowIdConflictPolicy: policy }, wait(1));
      equal('run in the error', run, first.run);
    }
    await k.note(first, 'still there');
    equal('notes', (await k.result(first)).notes, ['still there']);
  },

  async id_conflict_use_existing(k) {
    const first = await k.start(wait(1));
    const second = await k.startWith('', { workflowIdConflictPolicy: 'USE_EXISTING' }, wait(1));
    equal('run', second.run, first.run);
    await k.note(second, 1);
    equal('notes', (await k.result(first)).notes, [1]);
  },

  async id_conflict_terminate_existing(k) {
    const first = await k.start(wait(1));
    const second = await k.startWith('', { workflowIdConflictPolicy: 'TERMINATE_EXISTING' }, wait(1));
    yes('another run', second.run !== first.run);
    equal('kind', (await k.failure(first)).kind, 'terminated');
    await k.note(second, 2);
    equal('notes', (await k.result(second)).notes, [2]);
  },

  async id_reuse_allow(k) {
    const first = await k.start();
    await k.result(first);
    const second = await k.start();
    await k.result(second);
    yes('another run', second.run !== first.run);
    equal('the first is still there', (await k.handle(first).describe()).status.name, 'COMPLETED');
  },

  async id_reuse_reject(k) {
    const first = await k.start();
    await k.result(first);
    const policy = { workflowIdReusePolicy: Reuse.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE };
    equal('run in the error', await refused(k, policy), first.run);
    const again = k.startWith('', { workflowIdReusePolicy: 'REJECT_DUPLICATE' });
    await raised(WorkflowExecutionAlreadyStartedError, again);
  },

  async id_reuse_failed_only(k) {
    const first = await k.start({ op: 'fail', type: 'X', message: 'x' });
    await k.failure(first);
    const second = await k.startWith('', { workflowIdReusePolicy: 'ALLOW_DUPLICATE_FAILED_ONLY' });
    await k.result(second);
    yes('another run after a failure', second.run !== first.run);
    const policy = { workflowIdReusePolicy: Reuse.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE_FAILED_ONLY };
    equal('run in the error', await refused(k, policy), second.run);
  },

  // A start that is repeated with its request id answers with the run it made.
  async start_request_id(k) {
    const start = request(k, {}, wait(1));
    const first = await k.service.startWorkflowExecution(start);
    const again = await k.service.startWorkflowExecution(start);
    equal('run', again.runId, first.runId);
    await k.note(k.get(), 0);
    await k.result(k.get());
  },

  // A signal that is repeated with its request id arrives once.
  async signal_request_id(k) {
    const run = await k.start(wait(2));
    const signal = {
      namespace: k.o.namespace,
      workflowExecution: { workflowId: k.prefix },
      signalName: 'note',
      input: payloads('once'),
      requestId: randomUUID(),
      identity: 'repeater',
    };
    for (let i = 0; i < 3; i++) {
      await k.service.signalWorkflowExecution(signal);
    }
    await k.note(run, 'end');
    equal('notes', (await k.result(run)).notes, ['once', 'end']);
    equal('signals in history', count(await k.events(run), 'WorkflowExecutionSignaled'), 2);
  },

  // The workflow sees the request, cleans up with an activity, and ends as cancelled.
  async workflow_cancel(k) {
    const run = await k.start({ op: 'untilCancel' });
    await k.query(run);
    await k.handle(run).cancel();
    equal('kind', (await k.failure(run)).kind, 'canceled');
    equal('status', (await k.handle(run).describe()).status.name, 'CANCELLED');
    const events = await k.events(run);
    one(events, 'WorkflowExecutionCancelRequested');
    one(events, 'ActivityTaskCompleted');
    equal('last event', kinds(events).at(-1), 'WorkflowExecutionCanceled');
    equal('after the end', (await k.query(run)).results, ['cleaned up']);
  },

  // A workflow may take note of the request and complete nevertheless.
  async workflow_cancel_caught(k) {
    const run = await k.start({ op: 'timer', ms: 600_000, catch: true });
    await k.query(run);
    await k.handle(run).cancel();
    const [got] = await k.results(run);
    equal('kind', got.kind, 'canceled');
    const events = await k.events(run);
    one(events, 'TimerCanceled');
    one(events, 'WorkflowExecutionCompleted');
  },

  async cancel_closed(k) {
    await k.run();
    await k.handle(k.get()).cancel();
    equal('still', (await k.handle(k.get()).describe()).status.name, 'COMPLETED');
    await notFound('missing', k.handle(k.get('-missing')).cancel());
  },

  async terminate(k) {
    const run = await k.start(wait(1));
    await k.service.terminateWorkflowExecution({
      namespace: k.o.namespace,
      workflowExecution: { workflowId: k.prefix },
      reason: 'enough',
      details: payloads({ why: 'test' }),
    });
    equal('failure', (await k.failure(run)).kind, 'terminated');
    equal('status', (await k.handle(run).describe()).status.name, 'TERMINATED');
    const event = one(await k.events(run), 'WorkflowExecutionTerminated');
    const attributes = event.workflowExecutionTerminatedEventAttributes!;
    equal('reason', attributes.reason, 'enough');
    equal('details', decode(attributes.details), { why: 'test' });
    await notFound('second', k.handle(run).terminate());
  },

  async describe_workflow(k) {
    const run = await k.start(wait(1));
    let now = await k.handle(k.get()).describe();
    equal('status', now.status.name, 'RUNNING');
    equal('type', now.type, 'Script');
    equal('task queue', now.taskQueue, k.queue);
    equal('run', now.runId, run.run);
    yes('no close time', !now.closeTime);
    await k.note(run, 0);
    await k.result(run);
    now = await k.handle(k.get()).describe();
    equal('status', now.status.name, 'COMPLETED');
    equal('history length', now.historyLength, (await k.events(run)).length);
    yes('closed after it started', now.closeTime && now.closeTime >= now.startTime);
    await notFound('missing', k.handle(k.get('-missing')).describe());
  },

  // Somebody waiting for the result gets it when it is there, across runs of a chain.
  async result_long_poll(k) {
    const run = await k.start(wait(1), { op: 'continue', steps: [wait(1)] });
    let done = false;
    const waiting = k.result(run).finally(() => (done = true));
    await k.note(run, 'go on');
    await k.until(async () => has(await k.events(run), 'WorkflowExecutionContinuedAsNew'));
    yes('still waiting', !done);
    await k.note(k.get(), 'done');
    equal('notes', (await waiting).notes, ['done']);
  },
};
