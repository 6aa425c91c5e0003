// SPDX-License-Identifier: Apache-2.0

// `features`: runs the checks, several at a time, each with a time limit of its own.

import { randomBytes } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  Client,
  isGrpcServiceError,
  ServiceError,
  WorkflowFailedError,
  WorkflowHandle,
  WorkflowNotFoundError,
} from '@temporalio/client';
import { temporal } from '@temporalio/proto';
import { connect } from './connection';
import { camel, describe, Plain } from './failures';
import type { Options } from './main';
import type { State, Step } from './workflows';

export type Event = temporal.api.history.v1.IHistoryEvent;
export type Check = (k: Ctx) => Promise<void>;

class Mismatch extends Error {}

export function fail(text: string): never {
  throw new Mismatch(text);
}

export function short(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length <= 600 ? text : text.slice(0, 600) + '...';
}

/** Compares what the values are in JSON. */
export function equal(what: string, got: unknown, want: unknown): void {
  const plain = (value: unknown): unknown => JSON.parse(JSON.stringify(value) ?? 'null');
  if (!isDeepStrictEqual(plain(got), plain(want))) {
    fail(`${what}: got ${short(got)}, want ${short(want)}`);
  }
}

export function yes(what: string, holds: unknown): void {
  if (!holds) {
    fail(`not so: ${what}`);
  }
}

/** The error of the given class that a call must end with. */
export async function raised<E>(kind: abstract new (...a: any[]) => E, call: Promise<unknown>): Promise<E> {
  let value: unknown;
  try {
    value = await call;
  } catch (err) {
    if (err instanceof kind) {
      return err;
    }
    throw err;
  }
  return fail(`got ${short(value)}, want ${kind.name}`);
}

export function grpcCode(err: unknown): number | undefined {
  const at = err instanceof ServiceError ? err.cause : err;
  return isGrpcServiceError(at) ? at.code : undefined;
}

export async function notFound(what: string, call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (err) {
    if (err instanceof WorkflowNotFoundError || grpcCode(err) === 5) {
      return;
    }
    throw err;
  }
  fail(`${what}: succeeded, want NotFound`);
}

/** A workflow that was started, with the run that the start made. */
export interface Run {
  id: string;
  run: string;
}

type StartOptions = Partial<Parameters<Client['workflow']['start']>[1]>;

/** What a check has at hand. Workflow ids are the prefix, the check's name and a tail. */
export class Ctx {
  readonly queue: string;
  readonly nobody: string;
  readonly nocache: string;
  readonly prefix: string;
  stopped = false;

  constructor(readonly client: Client, readonly o: Options, name: string) {
    this.queue = o.queue;
    this.nobody = o.queue + '-nobody';
    this.nocache = o.queue + '-nocache';
    this.prefix = `${o.prefix}-${name}`;
  }

  get service(): Client['workflowService'] {
    return this.client.workflowService;
  }

  async startWith(tail: string, options: StartOptions, ...steps: Step[]): Promise<Run> {
    const handle = await this.client.workflow.start('Script', {
      taskQueue: this.queue,
      ...options,
      workflowId: this.prefix + tail,
      args: [{ steps }],
    } as any);
    return { id: handle.workflowId, run: handle.firstExecutionRunId };
  }

  start(...steps: Step[]): Promise<Run> {
    return this.startWith('', {}, ...steps);
  }

  handle(run: Run): WorkflowHandle {
    return this.client.workflow.getHandle(run.id, run.run || undefined);
  }

  get(tail = ''): Run {
    return { id: this.prefix + tail, run: '' };
  }

  async result(run: Run): Promise<State> {
    return (await this.handle(run).result()) as State;
  }

  async results(run: Run): Promise<any[]> {
    return (await this.result(run)).results;
  }

  /** Runs the steps and returns their results. */
  async run(...steps: Step[]): Promise<any[]> {
    return await this.results(await this.start(...steps));
  }

  /** The failure a workflow must end with, in the plain form. */
  async failure(run: Run): Promise<Plain> {
    return describe((await raised(WorkflowFailedError, this.result(run))).cause);
  }

  async events(run: Run): Promise<Event[]> {
    return (await this.handle(run).fetchHistory()).events ?? [];
  }

  async note(run: Run, value: unknown): Promise<void> {
    await this.handle(run).signal('note', value);
  }

  async query(run: Run): Promise<State> {
    return await this.handle(run).query<State>('state');
  }

  /** The first answer of `probe` that is not undefined or false; the check's time limit bounds it. */
  async until<T>(probe: () => Promise<T>): Promise<NonNullable<T>> {
    for (;;) {
      const got = await probe();
      if (got !== undefined && got !== null && (got as unknown) !== false) {
        return got;
      }
      if (this.stopped) {
        fail('out of time');
      }
      await delay(50);
    }
  }
}

/** Event types as in the API's JSON, without prefix: ActivityTaskScheduled, ... */
export function kinds(events: Event[]): string[] {
  const names = temporal.api.enums.v1.EventType;
  return events.map((event) => camel(names[event.eventType!].replace('EVENT_TYPE_', '')));
}

export function has(events: Event[], kind: string): boolean {
  return kinds(events).includes(kind);
}

export function count(events: Event[], kind: string): number {
  return kinds(events).filter((name) => name === kind).length;
}

/** The one event of that kind. */
export function one(events: Event[], kind: string): Event {
  equal(`number of ${kind} events`, count(events, kind), 1);
  return events[kinds(events).indexOf(kind)];
}

/** The first value of some payloads. */
export function decode(payloads: temporal.api.common.v1.IPayloads | null | undefined): any {
  return JSON.parse(Buffer.from(payloads!.payloads![0].data!).toString());
}

async function runOne(client: Client, o: Options, name: string, check: Check): Promise<boolean> {
  const k = new Ctx(client, o, name);
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Mismatch(`not done after ${o.timeoutMs / 1000} s`)), o.timeoutMs);
  });
  try {
    await Promise.race([check(k), late]);
    console.log(`ok ${name}`);
    return true;
  } catch (err) {
    const error = err as Error;
    const cause = error.cause instanceof Error ? ` (${error.cause.message})` : '';
    const detail = err instanceof Mismatch ? '' : `${error.name}: `;
    console.log(`FAIL ${name}: ${detail}${error.message}${cause}`.replace(/\n/g, ' '));
    return false;
  } finally {
    k.stopped = true;
    clearTimeout(timer);
  }
}

export async function features(o: Options): Promise<number> {
  const checks: Record<string, Check> = {
    ...(await import('./checks_activity')).checks,
    ...(await import('./checks_workflow')).checks,
    ...(await import('./checks_query')).checks,
    ...(await import('./checks_start')).checks,
  };
  const unknown = [...o.only, ...o.skip].filter((name) => !checks[name]);
  if (unknown.length > 0) {
    console.error(`sdk: no such check: ${unknown.join(', ')}`);
    return 2;
  }
  const all = o.only.length > 0 ? o.only : Object.keys(checks).sort();
  const picked = all.filter((name) => !o.skip.includes(name));
  if (o.list) {
    console.log(picked.join('\n'));
    return 0;
  }
  o.prefix ||= 'f-' + randomBytes(4).toString('hex');
  const client = await connect(o);
  let bad = 0;
  const waiting = picked.slice();
  const lane = async (): Promise<void> => {
    for (let name = waiting.shift(); name; name = waiting.shift()) {
      const ok = await runOne(client, o, name, checks[name]);
      bad += ok ? 0 : 1; // not in one expression: += would read `bad` before the await
    }
  };
  await Promise.all(Array.from({ length: o.jobs }, lane));
  console.log(`features: ${picked.length - bad} ok, ${bad} failed`);
  return bad > 0 ? 1 : 0;
}
