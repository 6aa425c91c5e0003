// SPDX-License-Identifier: Apache-2.0

// The activities of the test workflows. Each takes one JSON value and returns one.

import { appendFileSync } from 'node:fs';
import { activityInfo, CompleteAsyncError, heartbeat, sleep } from '@temporalio/activity';
import { ApplicationFailure } from '@temporalio/common';

const BEAT_MS = 100;
let effectsPath: string | undefined; // where `effect` leaves its traces

export function setEffects(path: string | undefined): void {
  effectsPath = path;
}

async function echo(value: unknown): Promise<unknown> {
  return value;
}

interface FailArg {
  type: string;
  message: string;
  details?: unknown[];
  nonRetryable?: boolean;
}

/** Always fails, as told. */
async function fail(arg: FailArg): Promise<never> {
  throw ApplicationFailure.create(arg);
}

/** Fails every attempt before the given one. */
async function failUntil(arg: { attempt: number }): Promise<{ attempt: number }> {
  const { attempt } = activityInfo();
  if (attempt < arg.attempt) {
    throw ApplicationFailure.create({ type: 'Flaky', message: `attempt ${attempt} fails` });
  }
  return { attempt };
}

/** Attempt 1 heartbeats its progress and fails; attempt 2 continues from the details. */
async function resume(arg: { steps: number }): Promise<unknown> {
  const { heartbeatDetails, attempt } = activityInfo();
  if (!heartbeatDetails) {
    for (let step = 1; step <= arg.steps; step++) {
      heartbeat({ step });
    }
    throw ApplicationFailure.create({ type: 'Flaky', message: 'half way' });
  }
  return { resumed: heartbeatDetails.step, attempt };
}

/** Takes `ms`. `beats`: how many heartbeats to send on the way, -1 for all the time. */
async function nap(arg: { ms: number; beats?: number }): Promise<{ slept: number }> {
  const until = performance.now() + arg.ms;
  const beats = arg.beats ?? 0;
  for (let beat = 0; ; ) {
    let left = until - performance.now();
    if (left <= 0) {
      return { slept: arg.ms };
    }
    if (beats < 0 || beat < beats) {
      heartbeat({ beat: ++beat });
      left = Math.min(left, BEAT_MS);
    }
    await sleep(Math.ceil(left));
  }
}

/** Completed by somebody else; the heartbeat carries the task token out to the test client. */
async function later(): Promise<never> {
  const info = activityInfo();
  heartbeat({ token: info.base64TaskToken, activityId: info.activityId });
  throw new CompleteAsyncError();
}

/** Leaves one line per execution, in one write, so that executions can be counted. */
async function effect(arg: { n: number }): Promise<number> {
  const { workflowExecution, attempt } = activityInfo();
  if (effectsPath) {
    const { workflowId: id, runId: run } = workflowExecution!;
    appendFileSync(effectsPath, JSON.stringify({ id, run, attempt, n: arg.n }) + '\n');
  }
  return arg.n * arg.n;
}

export const activities = { echo, fail, failUntil, resume, nap, later, effect };
