// SPDX-License-Identifier: Apache-2.0

// `start`, `signal` and `finish`: the long workflows that outlive what a scenario does to them.

import { setTimeout as delay } from 'node:timers/promises';
import { Client, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { WorkflowExecutionAlreadyStartedError } from '@temporalio/common';
import { connect, identity } from './connection';
import { each, Entry, errorClass, Journal, readLines, ticks, within } from './journal';
import type { Options } from './main';
import type { OrderResult } from './workflows';

export const CALL_MS = 10_000;
export const AGAIN_MS = 200;
const SEED_SPAN = 1_000_000; // values of one `signal` run: seed * SEED_SPAN + 0, 1, 2, ...

export function payloads(...values: unknown[]) {
  const encoding = Buffer.from('json/plain');
  return {
    payloads: values.map((value) => ({
      metadata: { encoding },
      data: Buffer.from(JSON.stringify(value)),
    })),
  };
}

function ids(o: Options): string[] {
  return Array.from({ length: o.count }, (_, i) => `${o.prefix}-${i}`);
}

/** One signal; repeating it with the same request id, as the SDK does, is harmless. */
async function send(
  client: Client,
  o: Options,
  id: string,
  name: string,
  requestId: string,
  ...values: unknown[]
): Promise<void> {
  await client.withDeadline(Date.now() + CALL_MS, () =>
    client.workflowService.signalWorkflowExecution({
      namespace: o.namespace,
      workflowExecution: { workflowId: id },
      signalName: name,
      input: payloads(...values),
      requestId,
      identity,
    }),
  );
}

/** Starts the orders; each start is repeated until it is acknowledged or time is up. */
export async function start(o: Options): Promise<number> {
  const client = await connect(o);
  const out = o.journals.length > 0 ? new Journal(o.journals[0]) : undefined;
  const { activityMs, heartbeatMs, timerMs, failures, backoffMs, approvals } = o;
  const arg = { activityMs, heartbeatMs, timerMs, failures, backoffMs, approvals };
  const end = Date.now() + o.timeoutMs;
  const startOne = async (id: string): Promise<string> => {
    for (;;) {
      try {
        const options = { workflowId: id, taskQueue: o.queue, args: [arg] };
        const handle = await client.withDeadline(Math.min(end, Date.now() + CALL_MS), () =>
          client.workflow.start('Order', options),
        );
        return handle.firstExecutionRunId;
      } catch (err) {
        if (err instanceof WorkflowExecutionAlreadyStartedError) {
          return (await client.workflow.getHandle(id).describe()).runId;
        }
        if (Date.now() >= end) {
          throw err;
        }
        await delay(AGAIN_MS);
      }
    }
  };
  let started = 0;
  await each(o.jobs, ids(o), async (id) => {
    try {
      const run = await startOne(id);
      console.log(`started ${id} ${run}`);
      out?.write({ id, run });
      started++;
    } catch (err) {
      console.log(`FAIL start: ${id}: ${(err as Error).message}`);
    }
  });
  console.log(`start: ${started} started, ${o.count - started} not`);
  return started < o.count ? 1 : 0;
}

/** Sends unique values, one call at a time to each order, and journals every outcome. */
export async function signal(o: Options): Promise<number> {
  const client = await connect(o);
  const out = new Journal(o.journals[0]);
  const names = ids(o);
  const busy = new Map<string, Promise<void>>();
  const counts = { sent: 0, acknowledged: 0, unknown: 0 };
  const one = async (id: string, value: number): Promise<void> => {
    try {
      await send(client, o, id, 'add', `${id}/${value}`, value);
      out.write({ id, value });
      counts.acknowledged++;
    } catch (err) {
      out.write({ id, value, unknown: true, error: errorClass(err) });
      counts.unknown++;
    } finally {
      busy.delete(id);
    }
  };
  for await (const number of ticks(o)) {
    const free = names.map((_, i) => names[(number + i) % names.length]).find((id) => !busy.has(id));
    if (free) {
      // else every order is waiting for an answer: this tick sends nothing
      busy.set(free, one(free, o.seed * SEED_SPAN + counts.sent++));
    }
  }
  await Promise.all(busy.values());
  console.log(`signal: ${counts.acknowledged} acknowledged, ${counts.unknown} unknown`);
  return 0;
}

const TALLY = {
  acknowledged: 0,
  unknown: 0,
  unknown_applied: 0,
  lost: 0,
  doubled: 0,
  foreign: 0,
  reordered: 0,
};

/** Compares the values of one order with what the journals say of it. */
function judge(id: string, values: number[], lines: Entry[], tally: typeof TALLY): string[] {
  const problems: string[] = [];
  const seen = new Map<number, number>();
  // One call at a time per order and seed: its values ascend unless something reordered them.
  const last = new Map<number, number>();
  for (const value of values) {
    const times = (seen.get(value) ?? 0) + 1;
    seen.set(value, times);
    if (times === 2) {
      tally.doubled++;
      problems.push(`${id} doubled ${value}`);
    }
    const seed = Math.floor(value / SEED_SPAN);
    tally.reordered += value < (last.get(seed) ?? 0) ? 1 : 0;
    last.set(seed, value);
  }
  for (const line of lines) {
    const applied = seen.has(line.value!);
    if (line.unknown) {
      tally.unknown++;
      tally.unknown_applied += applied ? 1 : 0;
      continue;
    }
    tally.acknowledged++;
    if (!applied) {
      tally.lost++;
      problems.push(`${id} lost ${line.value}`);
    }
  }
  const known = new Set(lines.map((line) => line.value));
  tally.foreign += [...seen.keys()].filter((value) => !known.has(value)).length;
  return problems;
}

/** Approves and finishes every order, then compares its result with the journals. */
export async function finish(o: Options): Promise<number> {
  const client = await connect(o);
  const lines = new Map<string, Entry[]>();
  for (const line of readLines<Entry>(o.journals)) {
    if (line.value !== undefined) {
      lines.set(line.id, [...(lines.get(line.id) ?? []), line]);
    }
  }
  const tally = { ...TALLY };
  let good = 0;

  const finishOne = async (id: string, end: number): Promise<OrderResult> => {
    const persist = async <T>(call: () => Promise<T>): Promise<T> => {
      for (;;) {
        try {
          return await call();
        } catch (err) {
          const final = err instanceof WorkflowFailedError || err instanceof WorkflowNotFoundError;
          if (final || errorClass(err) === 'NOT_FOUND' || Date.now() >= end) {
            throw err;
          }
          await delay(AGAIN_MS);
        }
      }
    };
    const tell = async (name: string, number: number): Promise<void> => {
      try {
        await persist(() => send(client, o, id, name, `${id}/${name}/${number}`));
      } catch (err) {
        if (errorClass(err) !== 'NOT_FOUND') {
          throw err; // else already closed; what it came to is judged below
        }
      }
    };
    for (let number = 0; number < o.approvals; number++) {
      await tell('approve', number);
    }
    await tell('finish', 0);
    return await persist(async () => (await client.workflow.getHandle(id).result()) as OrderResult);
  };

  await each(o.jobs, ids(o), async (id) => {
    let problems: string[];
    try {
      const got = await within(o.timeoutMs, finishOne(id, Date.now() + o.timeoutMs));
      problems = judge(id, got.values, lines.get(id) ?? [], tally);
      if (got.work.slept === undefined || !(got.flaky.attempt > 0)) {
        problems.push(`${id} wrong result ${JSON.stringify(got)}`);
      }
      if (got.approvals !== o.approvals) {
        problems.push(`${id} has ${got.approvals} approvals, want ${o.approvals}`);
      }
    } catch (err) {
      problems = [`${id} ${(err as Error).name}: ${(err as Error).message}`];
    }
    for (const problem of problems) {
      console.log(`FAIL finish: ${problem}`);
    }
    good += problems.length === 0 ? 1 : 0;
  });
  for (const id of ids(o)) {
    lines.delete(id);
  }
  if (lines.size > 0) {
    console.log(`FAIL finish: journal names ${lines.size} orders beyond --count`);
  }
  const counts = Object.entries(tally).map(([name, number]) => `${name}=${number}`);
  console.log(`finish: orders=${o.count} good=${good} ${counts.join(' ')}`);
  return good < o.count || lines.size > 0 ? 1 : 0;
}
