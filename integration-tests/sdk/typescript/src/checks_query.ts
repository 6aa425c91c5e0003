// SPDX-License-Identifier: Apache-2.0

// Checks of signals, queries and visibility.

import {
  isGrpcServiceError,
  QueryNotRegisteredError,
  QueryRejectCondition,
  QueryRejectedError,
  ServiceError,
  WorkflowClient,
  WorkflowExecutionInfo,
} from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { act } from './checks_activity';
import { Check, Ctx, decode, equal, fail, grpcCode, kinds, notFound, one, raised, Run, yes } from './features';
import type { State, Step } from './workflows';

const Status = temporal.api.enums.v1.WorkflowExecutionStatus;

export function wait(n: number): Step {
  return { op: 'wait', n };
}

async function list(k: Ctx, query: string, pageSize: number): Promise<WorkflowExecutionInfo[]> {
  const all = [];
  for await (const found of k.client.workflow.list({ query, pageSize })) {
    all.push(found);
  }
  return all;
}

/** The list once it is as long as wanted: visibility may be late. */
function listed(k: Ctx, query: string, want: number): Promise<WorkflowExecutionInfo[]> {
  return k.until(async () => {
    const found = await list(k, query, 2);
    return found.length === want ? found : undefined;
  });
}

async function counted(k: Ctx, query: string, want: number): Promise<void> {
  await k.until(async () => (await k.client.workflow.count(query)).count === want);
}

/** The SDK has one class for every failed query; the server's text is in its message. */
async function queryFails(k: Ctx, run: Run, type: string, text: string): Promise<void> {
  const err = await raised(QueryNotRegisteredError, k.handle(run).query(type));
  yes(`the message names ${text}: ${err.message}`, err.message.includes(text));
}

async function withStart(k: Ctx, value: string, ...steps: Step[]): Promise<Run> {
  const handle = await k.client.workflow.signalWithStart('Script', {
    taskQueue: k.queue,
    workflowId: k.prefix,
    args: [{ steps }],
    signal: 'note',
    signalArgs: [value],
  });
  return { id: k.prefix, run: handle.signaledRunId };
}

export const checks: Record<string, Check> = {
  async signals(k) {
    const values = [...Array(19).keys(), { last: 'ü' }];
    const run = await k.start(wait(values.length));
    for (const value of values) {
      await k.note(run, value);
    }
    equal('notes', (await k.result(run)).notes, values);
    const events = await k.events(run);
    const signaled = events.flatMap((event) => event.workflowExecutionSignaledEventAttributes ?? []);
    equal('in history', signaled.map((at) => decode(at.input)), values);
    equal('names', [...new Set(signaled.map((at) => at.signalName))], ['note']);
  },

  // Signals that arrive while a workflow task is in progress are kept, in order.
  async signal_buffered(k) {
    const run = await k.start(wait(1), act('nap', { ms: 1500 }, {}, { local: true }), wait(11));
    const values = [...Array(11).keys()];
    for (const value of values) {
      await k.note(run, value);
    }
    equal('notes', (await k.result(run)).notes, values);
  },

  async signal_with_start(k) {
    const first = await withStart(k, 'one', wait(2));
    const second = await withStart(k, 'two', wait(2));
    equal('run', second.run, first.run);
    equal('notes', (await k.result(first)).notes, ['one', 'two']);
    const names = kinds(await k.events(first));
    equal('start of history', names.slice(0, 2), ['WorkflowExecutionStarted', 'WorkflowExecutionSignaled']);
    const third = await withStart(k, 'three', wait(1));
    yes('a closed run makes way for a new one', third.run !== first.run);
    equal('notes', (await k.result(third)).notes, ['three']);
  },

  async signal_closed(k) {
    await k.run();
    await notFound('closed', k.note(k.get(), 1));
    await notFound('missing', k.note(k.get('-missing'), 1));
  },

  async query_running(k) {
    const run = await k.start(act('echo', { a: 1 }), wait(2));
    await k.note(run, 'x');
    await k.until(async () => {
      const { notes, results } = await k.query(run);
      return JSON.stringify([notes, results]) === JSON.stringify([['x'], [{ a: 1 }]]);
    });
    equal('query with an argument', await k.handle(run).query('pick', 0), { a: 1 });
    const before = (await k.events(run)).length;
    await k.query(run);
    equal('number of events', (await k.events(run)).length, before);
    await k.note(run, 'y');
    await k.result(run);
  },

  // A query sees what was acknowledged before it, also when a workflow task is in progress.
  async query_during_task(k) {
    const run = await k.start(wait(1), act('nap', { ms: 1500 }, {}, { local: true }), wait(3));
    await k.note(run, 1);
    equal('first', (await k.query(run)).notes, [1]);
    await k.note(run, 2);
    equal('second', (await k.query(run)).notes, [1, 2]);
    await k.note(run, 3);
    equal('notes', (await k.result(run)).notes, [1, 2, 3]);
    equal('afterwards', (await k.query(run)).notes, [1, 2, 3]);
  },

  async query_closed(k) {
    const run = await k.start(act('echo', 7));
    await k.result(run);
    equal('cached', await k.query(run), { notes: [], results: [7] });
    const other = await k.startWith('-replay', { taskQueue: k.nocache }, act('echo', 8));
    await k.result(other);
    equal('replayed', await k.query(other), { notes: [], results: [8] });
    equal('result', await k.handle(other).query('pick', 0), 8);
  },

  async query_failing(k) {
    const run = await k.start(wait(1));
    await queryFails(k, run, 'explode', 'query exploded');
    await queryFails(k, run, 'nothing-like-that', 'nothing-like-that');
    await notFound('missing', k.query(k.get('-missing')));
    await k.note(run, 'unharmed');
    equal('notes', (await k.result(run)).notes, ['unharmed']);
  },

  async query_rejected(k) {
    await k.run();
    const { connection } = k.client;
    const ask = (tail: string, queryRejectCondition: QueryRejectCondition): Promise<State> =>
      new WorkflowClient({ connection, namespace: k.o.namespace, queryRejectCondition })
        .getHandle(k.prefix + tail)
        .query('state');
    let err = await raised(QueryRejectedError, ask('', 'NOT_OPEN'));
    equal('status', err.status, Status.WORKFLOW_EXECUTION_STATUS_COMPLETED);
    await k.failure(await k.startWith('-failed', {}, { op: 'fail', type: 'X', message: 'x' }));
    err = await raised(QueryRejectedError, ask('-failed', 'NOT_COMPLETED_CLEANLY'));
    equal('status', err.status, Status.WORKFLOW_EXECUTION_STATUS_FAILED);
    equal('clean', (await ask('', 'NOT_COMPLETED_CLEANLY')).notes, []);
  },

  async list_count(k) {
    const mine = `WorkflowId STARTS_WITH '${k.prefix}-'`;
    const open: Run[] = [];
    for (let i = 0; i < 3; i++) {
      open.push(await k.startWith(`-open${i}`, {}, wait(1)));
    }
    for (let i = 0; i < 2; i++) {
      await k.result(await k.startWith(`-done${i}`, {}));
    }
    const ids = (await listed(k, mine, 5)).map((w) => w.workflowId.slice(k.prefix.length + 1));
    equal('ids', ids.sort(), ['done0', 'done1', 'open0', 'open1', 'open2']);
    const running = await listed(k, `${mine} AND ExecutionStatus='Running'`, 3);
    equal('runs', running.map((w) => w.runId).sort(), open.map((run) => run.run).sort());
    yes('open ones have no close time', running.every((w) => !w.closeTime));
    await counted(k, `${mine} AND ExecutionStatus='Completed'`, 2);
    await counted(k, `${mine} AND ExecutionStatus='Failed'`, 0);
    await counted(k, `WorkflowId='${k.prefix}-open1'`, 1);
    for (const run of open) {
      await k.note(run, 0);
      await k.result(run);
    }
    await counted(k, `${mine} AND ExecutionStatus='Running'`, 0);
    await counted(k, `${mine} AND ExecutionStatus='Completed'`, 5);
  },

  async search_type_status(k) {
    for (let i = 0; i < 2; i++) {
      const got = await k.client.workflow.execute('Short', {
        args: [{ n: i, timerMs: 1 }],
        workflowId: `${k.prefix}-${i}`,
        taskQueue: k.queue,
      });
      equal('result', got, { n: i, square: i * i, timerMs: 1 });
    }
    await k.result(await k.startWith('-other-type', {}));
    const mine = await k.until(async () => {
      const found = await list(k, "WorkflowType='Short' AND ExecutionStatus='Completed'", 1000);
      for (const w of found) {
        equal('type and status', [w.type, w.status.name], ['Short', 'COMPLETED']);
      }
      const ours = found.filter((w) => w.workflowId.startsWith(k.prefix));
      return ours.length === 2 ? ours : undefined;
    });
    for (const w of mine) {
      yes('close time after start time', w.closeTime && w.closeTime >= w.startTime);
      equal('task queue', w.taskQueue, k.queue);
      yes('history length', w.historyLength >= 10);
    }
  },

  async search_bad_query(k) {
    try {
      await k.client.workflow.count("Nonsense ==== 'x");
    } catch (err) {
      yes(`a service error, not ${err}`, err instanceof ServiceError || isGrpcServiceError(err));
      return equal('status', grpcCode(err), 3);
    }
    fail('got an answer, want InvalidArgument');
  },

  async memo(k) {
    const want = { text: 'ä', nested: { list: [1, null] }, number: 5 };
    const run = await k.startWith('', { memo: want }, wait(1));
    equal('described', (await k.handle(run).describe()).memo, want);
    const [found] = await listed(k, `WorkflowId='${run.id}'`, 1);
    equal('listed', found.memo, want);
    const started = one(await k.events(run), 'WorkflowExecutionStarted');
    const fields = started.workflowExecutionStartedEventAttributes!.memo!.fields!;
    equal('in history', Object.keys(fields).sort(), Object.keys(want).sort());
    await k.note(run, 0);
    await k.result(run);
  },
};
