// SPDX-License-Identifier: Apache-2.0

// Journals: one JSON line per call, written only once its outcome is known.

import { openSync, readFileSync, writeSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { isGrpcServiceError, ServiceError } from '@temporalio/client';
import { status } from '@grpc/grpc-js';
import type { Options } from './main';

export interface Entry {
  id: string;
  run?: string;
  value?: number;
  n?: number;
  timerMs?: number;
  unknown?: boolean;
  error?: string;
}

export class Journal {
  private readonly file: number;

  constructor(path: string) {
    this.file = openSync(path, 'a');
  }

  write(line: Entry): void {
    writeSync(this.file, JSON.stringify(line) + '\n');
  }
}

/** All lines; a last one that is cut off (its writer was killed) does not count. */
export function readLines<T>(paths: string[]): T[] {
  return paths.flatMap((path) => {
    const lines = readFileSync(path, 'utf8').split('\n');
    lines.pop();
    return lines.map((line) => JSON.parse(line) as T);
  });
}

/** The gRPC status of an error, as in NOT_FOUND, else its name. */
export function errorClass(err: unknown): string {
  const at = err instanceof ServiceError ? err.cause : err;
  return isGrpcServiceError(at) ? status[at.code] : (err as Error).name;
}

/** Ticks at the rate until the time is over or SIGTERM comes. */
export async function* ticks(o: Options): AsyncGenerator<number> {
  const stop = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, () => stop.abort());
  }
  const begin = performance.now();
  for (let number = 0; !stop.signal.aborted; number++) {
    const due = (number / o.rate) * 1000;
    if (o.seconds !== undefined && due >= o.seconds * 1000) {
      return;
    }
    const left = begin + due - performance.now();
    if (left > 0) {
      await delay(left, undefined, { signal: stop.signal }).catch(() => undefined);
      if (stop.signal.aborted) {
        return;
      }
    } else if (number % 16 === 0) {
      await delay(0); // behind: let answers in
    }
    yield number;
  }
}

/** Runs fn for every item, so many at a time. */
export async function each<T>(jobs: number, items: T[], fn: (item: T) => Promise<void>): Promise<void> {
  const waiting = items.slice();
  const lane = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) {
      await fn(item);
    }
  };
  await Promise.all(Array.from({ length: jobs }, lane));
}

/** The promise, or an error once the time is over. */
export async function within<T>(ms: number, promise: Promise<T>): Promise<T> {
  const clock = new AbortController();
  const late = delay(ms, undefined, { signal: clock.signal }).then(() => {
    throw new Error(`not done after ${ms / 1000} s`);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clock.abort();
    late.catch(() => undefined);
  }
}
