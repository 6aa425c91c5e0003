// SPDX-License-Identifier: Apache-2.0

import {
  ActivityFailure,
  ApplicationFailure,
  CancelledFailure,
  ChildWorkflowFailure,
  TemporalFailure,
  TerminatedFailure,
  TimeoutFailure,
} from '@temporalio/common';

export type Plain = Record<string, any>;

/** START_TO_CLOSE becomes StartToClose. */
export function camel(name: string | undefined): string {
  const parts = (name ?? '').split('_').filter((part) => part !== '');
  return parts.map((part) => part[0] + part.slice(1).toLowerCase()).join('');
}

function list(details: unknown): unknown[] {
  return details === undefined || details === null ? [] : Array.isArray(details) ? details : [details];
}

/**
 * The one plain form of a failure that all three languages share: workflows return it as a part of
 * their result, checks compare it.
 */
export function describe(err: unknown): Plain {
  let out: Plain;
  if (err instanceof ActivityFailure) {
    out = { kind: 'activity', activity: err.activityType, retry: camel(err.retryState) };
  } else if (err instanceof ChildWorkflowFailure) {
    out = { kind: 'child', workflow: err.workflowType, retry: camel(err.retryState) };
  } else if (err instanceof ApplicationFailure) {
    out = { kind: 'application', type: err.type ?? '', message: err.message };
    out.nonRetryable = err.nonRetryable ?? false;
    out.details = list(err.details);
  } else if (err instanceof TimeoutFailure) {
    out = { kind: 'timeout', timeout: camel(err.timeoutType), details: list(err.lastHeartbeatDetails) };
  } else if (err instanceof CancelledFailure) {
    out = { kind: 'canceled', details: list(err.details) };
  } else if (err instanceof TerminatedFailure) {
    out = { kind: 'terminated', message: err.message };
  } else {
    const error = err as Error;
    out = { kind: 'other', type: error?.name ?? '', message: error?.message ?? String(err) };
  }
  if (err instanceof TemporalFailure && err.cause) {
    out.cause = describe(err.cause);
  }
  return out;
}
