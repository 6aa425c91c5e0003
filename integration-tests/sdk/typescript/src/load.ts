// SPDX-License-Identifier: Apache-2.0

// `load` and `verify`: many short workflows, started open loop, and what became of them.

import { setTimeout as delay } from 'node:timers/promises';
import { Client, WorkflowFailedError, WorkflowNotFoundError } from '@temporalio/client';
import { connect } from './connection';
import { each, Entry, errorClass, Journal, readLines, ticks, within } from './journal';
import type { Options } from './main';
import { AGAIN_MS, CALL_MS } from './orders';
import type { ShortResult } from './workflows';

const TIMER_MS_MAX = 2000;

/** Pseudo-random numbers in [0, 1) from a seed (a 32 bit mixing function of a counter). */
function random(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x9e3779b9) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    mixed = Math.imul(mixed ^ (mixed >>> 15), 0x735a2d97);
    return ((mixed ^ (mixed >>> 15)) >>> 0) / 2 ** 32;
  };
}

/** Starts at the rate whatever the answers; the journal holds what was acknowledged. */
export async function load(o: Options): Promise<number> {
  const client = await connect(o);
  const out = new Journal(o.journals[0]);
  const next = random(o.seed);
  const flying = new Set<Promise<void>>();
  let acknowledged = 0;
  let unknown = 0;
  const one = async (n: number, timerMs: number): Promise<void> => {
    const id = `${o.prefix}-${n}`;
    const options = { workflowId: id, taskQueue: o.queue, args: [{ n, timerMs }] };
    try {
      const handle = await client.withDeadline(Date.now() + CALL_MS, () =>
        client.workflow.start('Short', options),
      );
      out.write({ id, n, timerMs, run: handle.firstExecutionRunId });
      acknowledged++;
    } catch (err) {
      out.write({ id, n, timerMs, unknown: true, error: errorClass(err) });
      unknown++;
    }
  };
  for await (const number of ticks(o)) {
    const call = one(number, 1 + Math.floor(next() * TIMER_MS_MAX));
    flying.add(call);
    void call.finally(() => flying.delete(call));
  }
  await Promise.all(flying);
  console.log(`load: ${acknowledged} acknowledged, ${unknown} unknown`);
  return 0;
}

/** The start has completed, in the run that was acknowledged, as it should. */
async function verifyOne(client: Client, line: Entry, end: number): Promise<void> {
  const persist = async <T>(call: () => Promise<T>): Promise<T> => {
    for (;;) {
      try {
        return await call();
      } catch (err) {
        const final = err instanceof WorkflowFailedError || err instanceof WorkflowNotFoundError;
        if (final || Date.now() >= end) {
          throw err;
        }
        await delay(AGAIN_MS);
      }
    }
  };
  const handle = client.workflow.getHandle(line.id, line.run, { followRuns: false });
  const got = (await persist(() => handle.result())) as ShortResult;
  if (got.n !== line.n || got.square !== line.n ** 2 || got.timerMs !== line.timerMs) {
    throw new Error(`returned ${JSON.stringify(got)}`);
  }
  const current = await persist(() => client.workflow.getHandle(line.id).describe());
  if (current.runId !== line.run) {
    throw new Error(`has another run, ${current.runId}`);
  }
}

interface Effect {
  id: string;
  run: string;
  attempt: number;
  n: number;
}

/**
 * Each workflow left an effect, and no attempt, which no server may hand out twice, left two.
 */
function verifyEffects(path: string, wanted: Set<string>): { problems: string[]; summary: string } {
  const executions = new Map<string, number>();
  const attempts = new Map<string, number>();
  const effects = readLines<Effect>([path]).filter((effect) => wanted.has(effect.id));
  for (const { id, run, attempt } of effects) {
    executions.set(id, (executions.get(id) ?? 0) + 1);
    const key = JSON.stringify([id, run, attempt]);
    attempts.set(key, (attempts.get(key) ?? 0) + 1);
  }
  const problems: string[] = [];
  for (const [key, times] of attempts) {
    const [id, , attempt] = JSON.parse(key) as [string, string, number];
    if (times > 1) {
      problems.push(`${id} attempt ${attempt} ran ${times} times`);
    }
  }
  for (const id of wanted) {
    if (!executions.has(id)) {
      problems.push(`${id} left no effect`);
    }
  }
  const repeated = [...executions.values()].filter((times) => times > 1).length;
  return { problems, summary: ` executions=${effects.length} repeated=${repeated}` };
}

export async function verify(o: Options): Promise<number> {
  const client = await connect(o);
  const lines = readLines<Entry>(o.journals).filter((line) => line.n !== undefined);
  const acknowledged = lines.filter((line) => !line.unknown);
  const problems: string[] = [];
  await each(o.jobs, acknowledged, async (line) => {
    try {
      await within(o.timeoutMs, verifyOne(client, line, Date.now() + o.timeoutMs));
    } catch (err) {
      problems.push(`${line.id}: ${(err as Error).message}`);
    }
  });
  const good = acknowledged.length - problems.length;
  let tail = '';
  if (o.effects) {
    const effects = verifyEffects(o.effects, new Set(acknowledged.map((line) => line.id)));
    problems.push(...effects.problems);
    tail = effects.summary;
  }
  for (const problem of problems) {
    console.log(`FAIL verify: ${problem}`);
  }
  const unknown = lines.length - acknowledged.length;
  console.log(`verify: acknowledged=${acknowledged.length} good=${good} unknown=${unknown}${tail}`);
  return problems.length > 0 ? 1 : 0;
}
