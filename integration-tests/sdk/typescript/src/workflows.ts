// SPDX-License-Identifier: Apache-2.0

// The test workflows. `Script` runs the list of steps it is given and is what the feature checks
// use; `Order` is the long one that scenarios hold in a phase; `Short` is the unit of load.

import {
  ActivityCancellationType,
  ApplicationFailure,
  CancellationScope,
  RetryPolicy,
  TemporalFailure,
  condition,
  continueAsNew,
  defineQuery,
  defineSignal,
  getExternalWorkflowHandle,
  isCancellation,
  patched,
  proxyActivities,
  proxyLocalActivities,
  setHandler,
  sleep,
  startChild,
  uuid4,
  workflowInfo,
} from '@temporalio/workflow';
import { describe } from './failures';

const BACKOFF_MS = 100;

export interface Opts {
  stc?: number;
  sts?: number;
  s2c?: number;
  hb?: number;
  max?: number;
  backoff?: number;
  coefficient?: number;
  nonRetryable?: string[];
  queue?: string;
}

export interface Step {
  op: string;
  name?: string;
  arg?: unknown;
  opts?: Opts;
  catch?: boolean;
  local?: boolean;
  ms?: number;
  n?: number;
  attempt?: number;
  id?: string;
  value?: unknown;
  steps?: Step[];
  close?: 'TERMINATE' | 'ABANDON' | 'REQUEST_CANCEL';
  detach?: boolean;
  type?: string;
  message?: string;
  details?: unknown[];
  nonRetryable?: boolean;
}

export interface State {
  notes: unknown[];
  results: unknown[];
}

type Run = (arg: unknown) => Promise<unknown>;

function startActivity(step: Pick<Step, 'name' | 'arg' | 'opts' | 'local'>): Promise<unknown> {
  const opts = step.opts ?? {};
  const retry: RetryPolicy = {
    initialInterval: opts.backoff ?? BACKOFF_MS,
    backoffCoefficient: opts.coefficient ?? 1,
    nonRetryableErrorTypes: opts.nonRetryable ?? [],
    ...(opts.max ? { maximumAttempts: opts.max } : {}),
  };
  const limits = {
    scheduleToCloseTimeout: opts.s2c,
    startToCloseTimeout: opts.stc ?? (opts.s2c ? undefined : 30_000),
    retry,
  };
  const proxy = step.local
    ? proxyLocalActivities<Record<string, Run>>(limits)
    : proxyActivities<Record<string, Run>>({
        ...limits,
        taskQueue: opts.queue,
        scheduleToStartTimeout: opts.sts,
        heartbeatTimeout: opts.hb,
        cancellationType: ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
      });
  return proxy[step.name!](step.arg);
}

async function run(state: State, step: Step): Promise<unknown> {
  switch (step.op) {
    case 'act':
      return await startActivity(step);
    case 'actCancel': {
      // Starts an activity, cancels it at the first note, and waits for what becomes of it.
      const scope = new CancellationScope();
      const ended = scope.run(() => startActivity(step));
      await condition(() => state.notes.length > 0);
      scope.cancel();
      return await ended;
    }
    case 'timer':
      await sleep(step.ms!);
      return { fired: step.ms };
    case 'timerCancel': {
      const scope = new CancellationScope();
      const timer = scope.run(() => sleep(step.ms!));
      await condition(() => state.notes.length > 0);
      scope.cancel();
      try {
        await timer;
      } catch (err) {
        return describe(err);
      }
      return { fired: step.ms };
    }
    case 'wait':
      await condition(() => state.notes.length >= step.n!);
      return state.notes.length;
    case 'untilCancel':
      // Waits to be cancelled, cleans up with an activity, then ends as cancelled.
      try {
        await condition(() => false);
      } catch (err) {
        if (isCancellation(err)) {
          const cleaning = { name: 'echo', arg: 'cleaned up' };
          state.results.push(await CancellationScope.nonCancellable(() => startActivity(cleaning)));
        }
        throw err;
      }
      return null;
    case 'fail':
      throw ApplicationFailure.create({
        type: step.type,
        message: step.message,
        details: step.details,
        nonRetryable: step.nonRetryable ?? false,
      });
    case 'failUntil': {
      const { attempt } = workflowInfo();
      if (attempt < step.attempt!) {
        throw ApplicationFailure.create({ type: 'Flaky', message: `attempt ${attempt} fails` });
      }
      return { attempt };
    }
    case 'continue':
      return await continueAsNew<typeof Script>({ steps: step.steps! });
    case 'child': {
      const child = await startChild(Script, {
        workflowId: step.id!,
        args: [{ steps: step.steps! }],
        parentClosePolicy: step.close ?? 'TERMINATE',
      });
      return step.detach ? { started: step.id } : await child.result();
    }
    case 'tell':
      await getExternalWorkflowHandle(step.id!).signal('note', step.value);
      return 'told';
    case 'patch':
      return patched(step.id!) ? 1 : 0;
    case 'side':
      return uuid4();
    default:
      throw ApplicationFailure.nonRetryable(`no op ${step.op}`);
  }
}

export async function Script(arg: { steps: Step[] }): Promise<State> {
  const state: State = { notes: [], results: [] };
  setHandler(defineSignal<[unknown]>('note'), (value) => void state.notes.push(value));
  setHandler(defineQuery<State>('state'), () => state);
  setHandler(defineQuery<unknown, [number]>('pick'), (index) => state.results[index]);
  setHandler(defineQuery<unknown>('explode'), () => {
    throw ApplicationFailure.create({ message: 'query exploded' });
  });
  for (const step of arg.steps) {
    let result: unknown;
    try {
      result = await run(state, step);
    } catch (err) {
      if (!step.catch || !(err instanceof TemporalFailure)) {
        throw err;
      }
      result = describe(err);
    }
    state.results.push(result);
  }
  return state;
}

export interface OrderArg {
  activityMs: number;
  heartbeatMs: number;
  timerMs: number;
  failures: number;
  backoffMs: number;
  approvals: number;
}

export interface OrderResult {
  values: number[];
  approvals: number;
  work: { slept?: number };
  flaky: { attempt: number };
}

export async function Order(arg: OrderArg): Promise<OrderResult> {
  let phase = 'activity';
  let approvals = 0;
  let told = false;
  const values: number[] = [];
  setHandler(defineSignal<[number]>('add'), (value) => void values.push(value));
  setHandler(defineSignal('approve'), () => void approvals++);
  setHandler(defineSignal('finish'), () => void (told = true));
  setHandler(defineQuery('state'), () => ({ phase, approvals, values }));

  const { nap } = proxyActivities<Record<string, Run>>({
    startToCloseTimeout: arg.activityMs + 60_000,
    heartbeatTimeout: arg.heartbeatMs,
    retry: { initialInterval: 200 },
  });
  const work = (await nap({ ms: arg.activityMs, beats: -1 })) as OrderResult['work'];
  phase = 'timer';
  await sleep(arg.timerMs);
  phase = 'retry';
  const { failUntil } = proxyActivities<Record<string, Run>>({
    startToCloseTimeout: 30_000,
    retry: { initialInterval: arg.backoffMs, backoffCoefficient: 1 },
  });
  const flaky = (await failUntil({ attempt: arg.failures + 1 })) as OrderResult['flaky'];
  phase = 'approval';
  await condition(() => approvals >= arg.approvals);
  phase = 'open';
  await condition(() => told);
  phase = 'done';
  return { values, approvals, work, flaky };
}

export interface ShortResult {
  n: number;
  square: number;
  timerMs: number;
}

export async function Short(arg: { n: number; timerMs: number }): Promise<ShortResult> {
  const { effect } = proxyActivities<Record<string, Run>>({
    startToCloseTimeout: 10_000,
    retry: { initialInterval: 200 },
  });
  const square = (await effect({ n: arg.n })) as number;
  await sleep(arg.timerMs);
  return { n: arg.n, square, timerMs: arg.timerMs };
}
